"""The proxy that crashes come through: it hears everything, and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from shared.domain.errors import BlobNotFoundError, PreconditionFailedError
from shared.domain.submission import ObjectRef, Topic
from shared.ports.events import Message
from shared.wiring.ports import MadePorts
from tests.contracts.records_made import plain
from tests.crashes.watched import watched_ports
from tests.fakes.blobs import MemoryBlobStore
from tests.fakes.bus import MemoryBus
from tests.fakes.clock import SettableClock
from tests.fakes.jobs import RecordedJobRunner
from tests.fakes.status import MemoryStatusStore


class World:
    def __init__(self) -> None:
        self.heard: list[str] = []
        self.blobs = MemoryBlobStore()
        self.bus = MemoryBus()
        store = MemoryStatusStore(SettableClock())
        self.ports = watched_ports(MadePorts(self.blobs, self.bus, store, RecordedJobRunner()), self.heard.append)


@pytest.fixture
def world() -> World:
    return World()


def test_a_call_is_heard_of_before_and_after(world: World) -> None:
    world.ports.bus.publish(Topic.EVENTS, Message("1", b"x"))
    world.ports.store.create(plain())
    assert world.heard == ["bus.publish", "bus.publish.done", "status.create", "status.create.done"]
    assert world.bus.messages(Topic.EVENTS) == [Message("1", b"x")]
    assert world.ports.store.get("s1").value == plain()


def test_a_call_that_fails_is_not_heard_of_as_done(world: World) -> None:
    with pytest.raises(BlobNotFoundError):
        world.ports.blobs.read(ObjectRef("b", "x", 1))
    assert world.heard == ["blobs.read"]


def test_a_stream_is_heard_of_at_each_piece(world: World) -> None:
    info = world.ports.blobs.write("b", "x", (chunk for chunk in [b"1", b"2"]))
    assert world.heard == ["blobs.write", "blobs.write.item", "blobs.write.item", "blobs.write.done"]
    assert world.blobs.read(info.ref) == b"12"


def test_what_ends_a_stream_ends_the_call(world: World) -> None:
    def broken() -> Iterator[bytes]:
        yield b"1"
        raise KeyError

    with pytest.raises(KeyError):
        world.ports.blobs.write("b", "x", broken())
    assert world.heard == ["blobs.write", "blobs.write.item"]
    assert world.blobs.objects == {}


def test_a_list_is_done_when_its_last_name_was_taken(world: World) -> None:
    for name in ("x", "y"):
        world.blobs.write("b", name, [b""])
    names = [info.ref.name for info in world.ports.blobs.list("b")]
    assert names == ["x", "y"]
    assert world.heard == ["blobs.list", "blobs.list.item", "blobs.list.item", "blobs.list.done"]


def test_a_change_is_heard_of_inside_its_transaction(world: World) -> None:
    created = world.ports.store.create(plain())
    world.heard.clear()
    changed = world.ports.store.transact("s1", lambda record, _tasks, _now: replace(record, attempts=7))
    assert world.heard == ["status.transact", "status.transact.inside", "status.transact.done"]
    assert changed.value.attempts == 7
    with pytest.raises(PreconditionFailedError):
        world.ports.store.replace(plain(), if_version=created.version)
