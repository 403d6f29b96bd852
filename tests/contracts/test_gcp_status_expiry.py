"""When Firestore may remove what a submission has left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from google.cloud.firestore import Client

from shared.adapters.gcp.documents import expiry_after
from shared.adapters.gcp.status import FirestoreStatusStore
from shared.domain.submission import State
from tests.contracts.records_made import plain, task

pytest_plugins = ["tests.cloud.emulators_session"]

START = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def database(new_database: Callable[[], Client]) -> Client:
    return new_database()


@pytest.fixture
def days() -> Iterator[datetime]:
    """A day later each time."""
    return (START + timedelta(days=n) for n in count())


def expires_at(database: Client, path: str) -> datetime | None:
    found: datetime | None = database.document(path).get().get("expires_at")
    return found


def test_every_write_of_a_record_puts_its_end_off(database: Client, days: Iterator[datetime]) -> None:
    store = FirestoreStatusStore(database, expiry=lambda: next(days))
    created = store.create(plain())
    assert expires_at(database, "submissions/s1") == START
    replaced = store.replace(replace(created.value, state=State.CANCELLED), if_version=created.version)
    assert expires_at(database, "submissions/s1") == START + timedelta(days=1)
    store.transact("s1", lambda record, _tasks, _now: replace(record, attempts=record.attempts + 1))
    assert replaced.value.attempts == 0
    assert expires_at(database, "submissions/s1") == START + timedelta(days=2)


def test_history_entries_and_tasks_have_an_end_of_their_own(database: Client, days: Iterator[datetime]) -> None:
    store = FirestoreStatusStore(database, expiry=lambda: next(days))
    created = store.create(plain())
    store.replace(plain(state=State.CANCELLED), if_version=created.version)
    first = store.put_task("s1", task(0), if_version=None)
    assert [expires_at(database, f"submissions/s1/history/00000{n}") for n in (1, 2)] == [
        START,
        START + timedelta(days=1),
    ]
    assert expires_at(database, "submissions/s1/tasks/000001-000000") == START + timedelta(days=2)
    store.put_task("s1", task(0, rows_done=9), if_version=first.version)
    assert expires_at(database, "submissions/s1/tasks/000001-000000") == START + timedelta(days=3)


def test_without_a_limit_nothing_ends(database: Client) -> None:
    store = FirestoreStatusStore(database, expiry=expiry_after(0))
    created = store.create(plain())
    store.put_task("s1", task(0), if_version=None)
    for path in ("submissions/s1", "submissions/s1/history/000001", "submissions/s1/tasks/000001-000000"):
        assert expires_at(database, path) is None
    assert created.value == store.get("s1").value


def test_a_limit_that_is_lifted_is_lifted_at_the_next_write(database: Client) -> None:
    created = FirestoreStatusStore(database, expiry=lambda: START).create(plain())
    FirestoreStatusStore(database).replace(plain(), if_version=created.version)
    assert expires_at(database, "submissions/s1") is None


def test_the_limit_is_counted_from_now() -> None:
    before = datetime.now(UTC)
    found = expiry_after(30)()
    assert found is not None
    assert before + timedelta(days=30) <= found <= datetime.now(UTC) + timedelta(days=30)
