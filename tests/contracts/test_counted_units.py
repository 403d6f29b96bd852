"""What is counted as Firestore's units is what the real adapter asks of Firestore, call by call, on the emulator."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from google.cloud.firestore import Client

from shared.adapters.gcp.status import FirestoreStatusStore
from shared.domain.submission import State
from shared.ports.status import StatusStore
from shared.records.updates import update
from tests.contracts.records_made import owing, plain, task
from tests.contracts.test_memory_status_contract import TICK
from tests.fakes.clock import SettableClock
from tests.fakes.counted_status import CountedStatusStore
from tests.fakes.status import MemoryStatusStore

pytest_plugins = ["tests.cloud.emulators_session"]


class _Listening:
    """Stands before the client's API and counts the documents that pass."""

    def __init__(self, api: Any) -> None:
        self._api = api
        self.passed: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._api, name)

    def batch_get_documents(self, **request: Any) -> Iterator[Any]:
        for answer in self._api.batch_get_documents(**request):
            self.passed["reads"] += "found" in answer or "missing" in answer
            yield answer

    def run_query(self, **request: Any) -> Iterator[Any]:
        found = list(self._api.run_query(**request))
        self.passed["reads"] += max(1, sum("document" in answer for answer in found))
        return iter(found)

    def commit(self, **request: Any) -> Any:
        self.passed["writes"] += len(request["request"]["writes"])
        return self._api.commit(**request)


def _records(store: StatusStore) -> None:
    store.create(plain("s1"))
    store.create(owing("s2"))
    update(store, "s1", lambda record, _: replace(record, attempts=1))
    update(store, "s1", lambda record, _: replace(record, state=State.DISPATCHING, epoch=1))
    update(store, "s1", lambda record, _: record)


def _tasks(store: StatusStore) -> None:
    _records(store)
    for index in range(4):
        assert store.get_task("s1", 1, index) is None
        stored = store.put_task("s1", task(index=index, epoch=1), if_version=None)
        store.put_task("s1", replace(stored.value, rows_done=7), if_version=stored.version)
    assert len(store.tasks("s1", 1)) == 4
    assert store.tasks("s2", 1) == []


def _transactions(store: StatusStore) -> None:
    _tasks(store)
    store.transact("s1", lambda record, _tasks, _now: replace(record, state=State.RUNNING))
    store.transact("s1", lambda record, _tasks, _now: replace(record, attempts=2))
    store.transact("s2", lambda record, _tasks, _now: replace(record, attempts=1))
    with pytest.raises(ZeroDivisionError):
        store.transact("s1", lambda record, _tasks, _now: replace(record, attempts=1 // 0))


def _questions(store: StatusStore) -> None:
    _records(store)
    assert len(store.find()) == 2
    assert len(store.find([State.QUEUED], oldest_first=True)) == 1
    assert len(store.find(with_outbox=True)) == 1
    assert store.find([State.FAILED]) == []
    assert len(store.history("s1")) == 2


@pytest.mark.parametrize("script", [_records, _tasks, _transactions, _questions])
def test_the_count_is_what_the_adapter_asks(
    script: Callable[[StatusStore], None], new_database: Callable[[], Client]
) -> None:
    client = new_database()
    listening = _Listening(client._firestore_api)
    client._firestore_api_internal = listening
    script(FirestoreStatusStore(client))
    counted = CountedStatusStore(MemoryStatusStore(SettableClock(tick=TICK)))
    script(counted)
    assert listening.passed == {"reads": counted.reads, "writes": counted.writes}
