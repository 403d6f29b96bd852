"""What the Firestore store promises beyond the contract: races, odd words, sizes, indexes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor, wait
from dataclasses import replace
from datetime import datetime
from itertools import product
from typing import Any

import pytest
from google.api_core.exceptions import ServiceUnavailable
from google.cloud.firestore import Client, Transaction

from shared.adapters.gcp import status
from shared.adapters.gcp.documents import MAX_RECORD_BYTES, indexes, submissions_where
from shared.adapters.gcp.status import FirestoreStatusStore
from shared.domain.errors import (
    InternalError,
    PreconditionFailedError,
    StaleWorkerError,
    SubmissionNotFoundError,
    UnavailableError,
)
from shared.domain.submission import State, Submission, TaskRecord
from tests.cloud.emulators_doors import firestore_at
from tests.cloud.local_cloud_programs import free_port
from tests.contracts.racing import count_attempts, count_attempts_in_transactions
from tests.contracts.records_made import full, owing, plain, task

pytest_plugins = ["tests.cloud.emulators_session"]

N_THREADS = 8
ODD_IDS = ["", ".", "..", "__id__", "a/b", "a b", "ä", "x" * 2000, "\udcff"]


@pytest.fixture
def database(new_database: Callable[[], Client]) -> Client:
    return new_database()


@pytest.fixture
def store(database: Client) -> FirestoreStatusStore:
    return FirestoreStatusStore(database)


@pytest.fixture
def threads() -> Iterator[Executor]:
    with ThreadPoolExecutor(N_THREADS) as pool:
        yield pool


def _one_more(record: Submission, _tasks: Sequence[TaskRecord], _now: datetime) -> Submission:
    return replace(record, attempts=record.attempts + 1)


def test_a_database_that_is_not_there_is_unavailable() -> None:
    with firestore_at(f"127.0.0.1:{free_port()}", "nowhere") as client:
        store = FirestoreStatusStore(client, retry_s=0.2)
        with pytest.raises(UnavailableError):
            store.get("s1")
        with pytest.raises(UnavailableError):
            store.create(plain())


# --- Races ---


def test_eight_threads_lose_no_update_between_them(
    store: FirestoreStatusStore, database: Client, threads: Executor
) -> None:
    store.create(plain())

    def door() -> FirestoreStatusStore:
        return FirestoreStatusStore(database)

    replacing = [threads.submit(count_attempts, door, "s1", 5) for _ in range(N_THREADS // 2)]
    transacting = [threads.submit(count_attempts_in_transactions, door, "s1", 5) for _ in range(N_THREADS // 2)]
    assert [run.result() for run in transacting] == [5] * (N_THREADS // 2)
    assert all(run.result() >= 0 for run in replacing)
    assert store.get("s1").value.attempts == 5 * N_THREADS


def test_a_replacement_that_is_overtaken_right_before_its_commit_is_refused(
    store: FirestoreStatusStore, database: Client
) -> None:
    created = store.create(plain())

    def overtake() -> str:
        store.replace(plain(state=State.CANCELLED), if_version=created.version)
        return "ours"

    with pytest.raises(PreconditionFailedError):
        FirestoreStatusStore(database, new_token=overtake).replace(plain(), if_version=created.version)
    assert store.get("s1").value.state is State.CANCELLED
    assert len(store.history("s1")) == 2


def test_a_task_that_is_overtaken_right_before_its_commit_is_refused(
    store: FirestoreStatusStore, database: Client
) -> None:
    first = store.put_task("s1", task(0), if_version=None)

    def overtake() -> str:
        store.put_task("s1", task(0, rows_done=9), if_version=first.version)
        return "ours"

    with pytest.raises(PreconditionFailedError):
        FirestoreStatusStore(database, new_token=overtake).put_task("s1", task(0), if_version=first.version)
    assert [stored.value.rows_done for stored in store.tasks("s1", 1)] == [9]


def test_a_change_is_asked_again_where_the_record_moved_under_it(store: FirestoreStatusStore) -> None:
    store.create(plain())
    seen: list[int] = []

    def change(record: Submission, _tasks: Sequence[TaskRecord], _now: datetime) -> Submission:
        seen.append(record.attempts)
        if len(seen) == 1:
            store.replace(replace(record, attempts=10), if_version=store.get("s1").version)
        return replace(record, attempts=record.attempts + 1)

    assert store.transact("s1", change).value.attempts == 11
    assert seen == [0, 10]


def test_a_record_that_moves_under_every_try_is_given_up(database: Client) -> None:
    pauses: list[float] = []
    store = FirestoreStatusStore(database, sleep=pauses.append)
    store.create(plain())

    def change(record: Submission, _tasks: Sequence[TaskRecord], _now: datetime) -> Submission:
        store.replace(record, if_version=store.get("s1").version)
        return record

    with pytest.raises(UnavailableError, match="changed during each"):
        store.transact("s1", change)
    assert len(pauses) == status.MAX_TRIES


def test_a_task_cannot_change_between_its_reading_and_the_commit(store: FirestoreStatusStore) -> None:
    store.create(replace(plain(state=State.RUNNING), epoch=1))
    first = store.put_task("s1", task(0), if_version=None)
    with ThreadPoolExecutor(1) as pool:
        writing: list[Any] = []

        def change(record: Submission, tasks: Sequence[TaskRecord], now: datetime) -> Submission:
            assert tasks[0].rows_done == 0
            beat = task(0, rows_done=100)
            writing.append(pool.submit(store.put_task, "s1", beat, if_version=first.version))
            # It would be through by then, if it could be.
            wait(writing, timeout=0.5)
            return _one_more(record, tasks, now)

        committed = store.transact("s1", change)
        assert committed.updated_at < writing[0].result().updated_at


@pytest.mark.parametrize("error", [StaleWorkerError("stale"), KeyError("x"), ValueError("y"), OSError("z")])
def test_what_a_change_raises_passes_through_as_it_is(store: FirestoreStatusStore, error: Exception) -> None:
    created = store.create(plain())

    def refuse(_record: Submission, _tasks: Sequence[TaskRecord], _now: datetime) -> Submission:
        raise error

    with pytest.raises(type(error)) as caught:
        store.transact("s1", refuse)
    assert caught.value is error
    assert store.get("s1").version == created.version


def test_what_a_change_raises_outdoes_a_failure_to_undo(
    store: FirestoreStatusStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create(plain())

    def refuse(_record: Submission, _tasks: Sequence[TaskRecord], _now: datetime) -> Submission:
        raise StaleWorkerError("stale")

    def fail(_transaction: Transaction) -> None:
        raise ServiceUnavailable("no answer to the rollback")

    monkeypatch.setattr(Transaction, "_rollback", fail)
    with pytest.raises(StaleWorkerError):
        store.transact("s1", refuse)


def test_a_change_of_the_id_is_a_fault(store: FirestoreStatusStore) -> None:
    store.create(plain())
    with pytest.raises(InternalError):
        store.transact("s1", lambda record, _tasks, _now: replace(record, id="s2"))
    assert [stored.value for stored in store.find()] == [plain()]


# --- Documents ---


def test_a_version_is_the_documents_update_time_to_the_last_digit(
    store: FirestoreStatusStore, database: Client
) -> None:
    created = store.create(plain())
    snapshot = database.document("submissions/s1").get()
    assert created.version == snapshot.update_time.rfc3339()
    assert created.created_at == store.get("s1").created_at == created.updated_at


def test_times_stay_with_the_record(store: FirestoreStatusStore) -> None:
    created = store.create(plain())
    replaced = store.replace(plain(), if_version=created.version)
    committed = store.transact("s1", _one_more)
    assert created.created_at == replaced.created_at == committed.created_at
    assert created.updated_at < replaced.updated_at < committed.updated_at == committed.read_at
    (entry,) = store.history("s1")
    assert entry.at == created.created_at


def test_what_is_searched_for_are_fields(store: FirestoreStatusStore, database: Client) -> None:
    store.create(owing())
    found = database.document("submissions/s1").get()
    assert (found.get("state"), found.get("owes")) == ("QUEUED", True)
    assert abs((found.get("created_at") - store.get("s1").created_at).total_seconds()) < 5


def test_of_two_made_in_one_millisecond_the_later_is_found_first(store: FirestoreStatusStore, database: Client) -> None:
    created = store.create(plain("b"))
    store.create(plain("a"))
    for name in ("a", "b"):
        database.document(f"submissions/{name}").update({"created_at": created.created_at})
    assert [stored.value.id for stored in store.find()] == ["a", "b"]
    assert [stored.value.id for stored in store.find(oldest_first=True)] == ["b", "a"]


@pytest.mark.parametrize("word", ["__reserved__", "", "a.b", "`", "\0", "x" * 2000])
def test_people_may_use_any_word_for_a_label(store: FirestoreStatusStore, word: str) -> None:
    found = full()
    assert found.result is not None
    record = replace(
        found, requested={word: word}, last_problem=word, result=replace(found.result, summary={"labels": {word: 1}})
    )
    created = store.create(record)
    store.replace(replace(record, state=State.QUEUED, failure=None), if_version=created.version)
    assert store.get("full").value.requested == {word: word}
    assert store.history("full")[-1].note == word


def test_words_that_utf8_cannot_say_are_kept(store: FirestoreStatusStore) -> None:
    record = replace(plain(), last_problem="no column \udcff")
    store.create(record)
    assert store.get("s1").value == record


@pytest.mark.parametrize("submission_id", ODD_IDS)
def test_an_id_that_no_document_can_have_is_unknown(store: FirestoreStatusStore, submission_id: str) -> None:
    with pytest.raises(SubmissionNotFoundError):
        store.get(submission_id)


def test_a_record_that_outgrows_a_document_is_refused_and_stays_as_it_was(store: FirestoreStatusStore) -> None:
    created = store.create(plain())
    with pytest.raises(InternalError, match="bytes"):
        store.replace(replace(plain(), last_problem="x" * MAX_RECORD_BYTES), if_version=created.version)
    largest = replace(plain(), last_problem="x" * (MAX_RECORD_BYTES - 2000))
    assert store.replace(largest, if_version=created.version).value == largest
    assert store.get("s1").value == largest


def test_a_record_can_be_made_again_after_somebody_removed_it_by_hand(
    store: FirestoreStatusStore, database: Client
) -> None:
    store.create(plain())
    database.document("submissions/s1").delete()
    with pytest.raises(SubmissionNotFoundError):
        store.get("s1")
    assert store.create(plain()).value == store.get("s1").value


def test_fields_of_a_newer_version_are_let_be(store: FirestoreStatusStore, database: Client) -> None:
    created = store.create(plain())
    text = database.document("submissions/s1").get().get("record")
    database.document("submissions/s1").update({"record": json.dumps({**json.loads(text), "newer": 1}), "also": 2})
    assert store.get("s1").value == created.value


# --- Indexes ---


@pytest.mark.parametrize("with_outbox", [False, True])
@pytest.mark.parametrize("oldest_first", [False, True])
@pytest.mark.parametrize("states", [(), (State.QUEUED,), (State.QUEUED, State.RUNNING)])
def test_every_search_has_its_index(
    database: Client, states: tuple[State, ...], with_outbox: bool, oldest_first: bool
) -> None:
    submissions = database.collection("submissions")
    query = submissions_where(submissions, states, with_outbox=with_outbox, oldest_first=oldest_first)._to_protobuf()
    equal = [query.where.field_filter] if query.where.field_filter.field.field_path else []
    equal += [part.field_filter for part in query.where.composite_filter.filters]
    (order,) = query.order_by
    needed = {(part.field.field_path, "ASCENDING") for part in equal}
    if not needed:
        return  # A single field is indexed without being told.
    needed |= {(order.field.field_path, order.direction.name)}
    there = [
        {(field["fieldPath"], field["order"]) for field in index["fields"]}
        for index in indexes()["indexes"]
        if (index["collectionGroup"], index["queryScope"]) == ("submissions", "COLLECTION")
    ]
    assert needed in there


def test_no_field_that_is_not_searched_is_indexed(store: FirestoreStatusStore, database: Client) -> None:
    store.create(owing())
    store.put_task("s1", task(), if_version=None)
    exempt = {(field["collectionGroup"], field["fieldPath"]) for field in indexes()["fieldOverrides"]}
    assert exempt == set(
        product(("submissions", "tasks", "history", "requesters", "events"), ("record", "written_by", "expires_at"))
    )
    (kept,) = database.collection("submissions/s1/tasks").stream()
    assert {("tasks", field) for field in kept.to_dict() or {}} == {pair for pair in exempt if pair[0] == "tasks"}
