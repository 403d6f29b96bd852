"""A write to Firestore whose answer was lost is known as ours, and happens once; over real sockets."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from google.cloud.firestore import Client

from shared.adapters.gcp.status import FirestoreStatusStore
from shared.domain.errors import PreconditionFailedError
from shared.domain.submission import State, Submission, TaskRecord
from shared.ports.status import Stored
from tests.cloud.emulators_cut import Relay, relay
from tests.cloud.emulators_doors import firestore_at
from tests.contracts.records_made import plain, task

pytest_plugins = ["tests.cloud.emulators_session"]


@pytest.fixture
def database(new_database: Callable[[], Client]) -> Client:
    return new_database()


@pytest.fixture
def store(database: Client) -> FirestoreStatusStore:
    return FirestoreStatusStore(database)


@pytest.fixture
def between(firestore_host: str) -> Iterator[Relay]:
    with relay(firestore_host) as between:
        yield between


@pytest.fixture
def far(between: Relay, database: Client) -> Iterator[Client]:
    """The same database, by a way that can lose answers; connected, as no request passes before the greetings."""
    with firestore_at(between.host, database.project) as client:
        assert FirestoreStatusStore(client).find() == []
        yield client


@pytest.fixture
def threads() -> Iterator[Executor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


def test_a_creation_whose_answer_was_lost_is_known_as_ours(
    store: FirestoreStatusStore, far: Client, between: Relay, threads: Executor
) -> None:
    between.hold_answers()
    created = _losing(between, threads, lambda: FirestoreStatusStore(far).create(plain()), lambda: bool(store.find()))
    assert (created.value, created.version) == (plain(), store.get("s1").version)
    assert len(store.history("s1")) == 1


def test_a_replacement_whose_answer_was_lost_is_known_as_ours(
    store: FirestoreStatusStore, far: Client, between: Relay, threads: Executor
) -> None:
    created = store.create(plain())
    losing = FirestoreStatusStore(far, new_token=_holding(between))
    after = plain(state=State.RUNNING)
    replaced = _losing(
        between,
        threads,
        lambda: losing.replace(after, if_version=created.version),
        lambda: store.get("s1").version != created.version,
    )
    assert (replaced.value, replaced.version) == (after, store.get("s1").version)
    assert replaced.created_at == created.created_at
    assert [entry.state for entry in store.history("s1")] == [State.QUEUED, State.RUNNING]


def test_a_task_whose_answer_was_lost_is_known_as_ours(
    store: FirestoreStatusStore, far: Client, between: Relay, threads: Executor
) -> None:
    first = store.put_task("s1", task(0), if_version=None)
    losing = FirestoreStatusStore(far, new_token=_holding(between))
    second = _losing(
        between,
        threads,
        lambda: losing.put_task("s1", task(0, rows_done=9), if_version=first.version),
        lambda: store.tasks("s1", 1)[0].version != first.version,
    )
    assert (second.value, second.version) == (task(0, rows_done=9), store.tasks("s1", 1)[0].version)


def test_a_transaction_whose_answer_was_lost_happens_once(
    store: FirestoreStatusStore, far: Client, between: Relay, threads: Executor
) -> None:
    created = store.create(plain())

    def change(record: Submission, _tasks: Sequence[TaskRecord], _now: datetime) -> Submission:
        if record.attempts == 0:
            between.hold_answers()
        return replace(record, attempts=record.attempts + 1)

    after = _losing(
        between,
        threads,
        lambda: FirestoreStatusStore(far).transact("s1", change),
        lambda: store.get("s1").version != created.version,
    )
    assert (after.value.attempts, after.version) == (1, store.get("s1").version)


def test_what_another_wrote_meanwhile_is_not_taken_for_ours(
    store: FirestoreStatusStore, far: Client, between: Relay, threads: Executor
) -> None:
    between.hold_answers()
    calling = threads.submit(FirestoreStatusStore(far).create, plain())
    _until(lambda: bool(store.find()))
    store.replace(plain(state=State.CANCELLED), if_version=store.get("s1").version)
    between.cut()
    with pytest.raises(PreconditionFailedError):
        calling.result()


def _losing(
    between: Relay, threads: Executor, call: Callable[[], Stored[Any]], has_happened: Callable[[], bool]
) -> Stored[Any]:
    """Lose the answer to a call that has happened; the call must notice, by asking again."""
    calling = threads.submit(call)
    _until(has_happened)
    between.cut()
    return calling.result()


def _holding(between: Relay) -> Callable[[], str]:
    """A token is asked for right before the write."""

    def token() -> str:
        between.hold_answers()
        return "ours"

    return token


def _until(condition: Callable[[], bool]) -> None:
    pause = threading.Event()
    while not condition():
        pause.wait(0.01)
