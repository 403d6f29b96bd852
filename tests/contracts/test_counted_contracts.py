"""What counts keeps the contract of what it counts, and adds nothing and leaves nothing out."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace

import pytest

from shared.domain.submission import State, Topic
from shared.ports.blobs import BlobStore, ByteRange
from shared.ports.events import Message
from shared.records.documents import Document, submission_document
from tests.contracts.blob_contract import BlobStoreContract, RawBlobs
from tests.contracts.bus_contract import Arrivals, EventBusContract
from tests.contracts.racing import BlobDoor, StatusDoor
from tests.contracts.records_made import plain, task
from tests.contracts.status_contract import StatusStoreContract
from tests.contracts.test_memory_blob_contract import _Objects
from tests.contracts.test_memory_bus_and_job_contracts import _Published
from tests.contracts.test_memory_status_contract import TICK
from tests.contracts.unreadable_contract import Rewrite
from tests.fakes.blobs import MemoryBlobStore
from tests.fakes.bus import MemoryBus
from tests.fakes.clock import SettableClock
from tests.fakes.counted import CountedBlobStore
from tests.fakes.counted_bus import LEAST_BYTES, CountedBus
from tests.fakes.counted_status import CountedStatusStore
from tests.fakes.status import MemoryStatusStore


class TestCountedStatusStore(StatusStoreContract):
    @pytest.fixture
    def memory(self) -> MemoryStatusStore:
        return MemoryStatusStore(SettableClock(tick=TICK))

    @pytest.fixture
    def door(self, memory: MemoryStatusStore) -> StatusDoor:
        return lambda: CountedStatusStore(memory)

    @pytest.fixture
    def raw(self, memory: MemoryStatusStore) -> Callable[[str], Document]:
        return lambda submission_id: submission_document(memory.records[submission_id].value)

    @pytest.fixture
    def rewrite(self, memory: MemoryStatusStore) -> Rewrite:
        return lambda submission_id, _text: memory.unreadable.add(submission_id)

    @pytest.fixture
    def racers(self, threads: Executor) -> Executor:
        return threads

    @pytest.fixture
    def fresh(self) -> StatusDoor:
        return lambda: CountedStatusStore(MemoryStatusStore(SettableClock(tick=TICK)))


class TestCountedBlobStore(BlobStoreContract):
    @pytest.fixture
    def bucket(self) -> str:
        return "results"

    @pytest.fixture
    def other_bucket(self) -> str:
        return "work"

    @pytest.fixture
    def memory(self, bucket: str, other_bucket: str) -> MemoryBlobStore:
        return MemoryBlobStore(buckets={bucket, other_bucket})

    @pytest.fixture
    def door(self, memory: MemoryBlobStore) -> BlobDoor:
        return lambda: CountedBlobStore(memory)

    @pytest.fixture
    def raw(self, memory: MemoryBlobStore) -> RawBlobs:
        return _Objects(memory)

    @pytest.fixture
    def racers(self, threads: Executor) -> Executor:
        return threads

    @pytest.fixture
    def fresh(self) -> Callable[[], tuple[BlobStore, str]]:
        return lambda: (CountedBlobStore(MemoryBlobStore()), "b")


class TestCountedBus(EventBusContract):
    @pytest.fixture
    def memory(self) -> MemoryBus:
        return MemoryBus()

    @pytest.fixture
    def bus(self, memory: MemoryBus) -> CountedBus:
        return CountedBus(memory)

    @pytest.fixture
    def arrivals(self, memory: MemoryBus) -> Arrivals:
        return _Published(memory)


def test_documents_are_counted() -> None:
    store = CountedStatusStore(MemoryStatusStore(SettableClock(tick=TICK)))
    stored = store.create(plain("s1"))
    assert (store.reads, store.writes, store.record_writes) == (0, 2, 1)
    stored = store.replace(replace(stored.value, attempts=1), if_version=stored.version)
    assert (store.reads, store.writes) == (1, 3)
    store.replace(replace(stored.value, state=State.CANCELLED), if_version=stored.version)
    assert (store.reads, store.writes, store.record_writes) == (2, 5, 3)
    for index in range(3):
        store.put_task("s1", task(index=index, epoch=0), if_version=None)
    assert (store.reads, store.writes) == (2, 8)
    store.transact("s1", lambda record, _tasks, _now: replace(record, attempts=2))
    assert (store.reads, store.writes) == (6, 9)
    store.find(with_outbox=True)
    assert store.reads == 7


def test_requests_and_bytes_are_counted_by_kind() -> None:
    store = CountedBlobStore(MemoryBlobStore())
    info = store.write("b", "n", [b"abc"])
    store.read_many(info.ref, [ByteRange(0, 1), ByteRange(1, 2)])
    store.stat("b", "n")
    list(store.list("b"))
    store.delete("b", "n")
    assert store.asked == {"write": 1, "read": 2, "stat": 1, "list": 1, "delete": 1}
    assert (store.requests, store.bytes_read, store.written) == (6, 3, {"b/n": 3})


def test_a_small_message_counts_as_a_kilobyte() -> None:
    bus = CountedBus(MemoryBus())
    bus.publish(Topic.JOBS, Message("m", b"x" * 10, {"k": "v"}))
    bus.publish(Topic.EVENTS, Message("n", b"x" * 3000))
    assert (bus.bytes_published, bus.largest_bytes) == (LEAST_BYTES + 3000, 3000)
    assert bus.messages == {Topic.JOBS: 1, Topic.EVENTS: 1}
