"""What every status store must do. Subclass it, and say with fixtures what to open."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from shared.domain.admission import Request
from shared.domain.errors import PreconditionFailedError, StaleWorkerError, SubmissionNotFoundError
from shared.domain.submission import EntryKind, Failure, OutboxEntry, Requester, State, Submission, TaskRecord
from shared.ports.status import StatusStore
from shared.records.documents import Document
from tests.contracts.racing import (
    N_RACERS,
    StatusDoor,
    count_attempts,
    count_attempts_in_transactions,
    put_first_tasks,
    resolve_as,
)
from tests.contracts.records_made import ASKED, OWED, REFUSED, finished_task, full, owing, plain, task
from tests.contracts.status_machine import StatusMachine
from tests.contracts.unreadable_contract import UnreadableRecordsContract

FreshDoors = Callable[[], Sequence[StatusDoor]]

SEQUENCES = settings(
    max_examples=15, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


class StatusStoreContract(UnreadableRecordsContract):
    """Fixtures to give: ``door`` (to one empty store), ``raw`` (id to the document kept), ``rewrite``, ``racers``,
    ``fresh``.

    Or, instead of ``fresh``, ``fresh_doors``: several ways to open one empty store.
    """

    @pytest.fixture
    def store(self, door: StatusDoor) -> StatusStore:
        return door()

    @pytest.fixture
    def fresh_doors(self, fresh: StatusDoor) -> FreshDoors:
        def make() -> list[StatusDoor]:
            store = fresh()
            return [lambda: store]

        return make

    # --- Events ---

    @pytest.mark.parametrize("request_", [ASKED, REFUSED], ids=["asked", "refused"])
    def test_what_an_event_asks_for_is_read_back_as_it_was_kept(self, store: StatusStore, request_: Request) -> None:
        assert store.resolved("e1") is None
        assert store.resolve("e1", request_) == request_
        assert store.resolved("e1") == request_
        assert store.resolved("e2") is None

    def test_what_an_event_asks_for_is_what_it_asked_for_first(self, store: StatusStore) -> None:
        store.resolve("e1", ASKED)
        assert store.resolve("e1", REFUSED) == ASKED
        assert store.resolved("e1") == ASKED

    def test_racing_deliveries_agree_on_what_is_asked_for(self, door: StatusDoor, racers: Executor) -> None:
        runs = [racers.submit(resolve_as, door, "e1", number) for number in range(N_RACERS)]
        assert {run.result() for run in runs} == {resolve_as(door, "e1", N_RACERS)}

    def test_a_page_of_requesters_is_kept_and_may_be_kept_again(self, store: StatusStore) -> None:
        pages = [tuple(Requester(f"{page}-{n} größe \udcff", "lims") for n in range(64)) for page in range(2)]
        assert store.page("s1", 0) == ()
        for _ in range(2):
            for number, requesters in enumerate(pages):
                store.put_page("s1", number, requesters)
        assert [store.page("s1", number) for number in range(3)] == [*pages, ()]
        assert store.page("s2", 0) == ()

    # --- Records ---

    @pytest.mark.parametrize("record", [plain(), owing(), full()], ids=["plain", "owing", "full"])
    def test_a_record_is_read_back_as_it_was_created(self, store: StatusStore, record: Submission) -> None:
        created = store.create(record)
        found = store.get(record.id)
        assert (found.value, found.version) == (record, created.version)
        assert (found.created_at, found.updated_at) == (created.created_at, created.updated_at)

    def test_what_was_created_is_there_by_the_back_door(
        self, store: StatusStore, raw: Callable[[str], Document]
    ) -> None:
        store.create(owing("s1"))
        document = raw("s1")
        assert (document["id"], document["state"]) == ("s1", "QUEUED")
        assert document["outbox"][0]["id"] == "s1/job/1"

    def test_a_second_creation_is_refused(self, store: StatusStore) -> None:
        store.create(plain("s1"))
        with pytest.raises(PreconditionFailedError):
            store.create(replace(plain("s1"), epoch=9))
        assert store.get("s1").value == plain("s1")

    def test_an_unknown_submission_is_said_to_be_unknown(self, store: StatusStore) -> None:
        with pytest.raises(SubmissionNotFoundError):
            store.get("nobody")
        with pytest.raises(SubmissionNotFoundError):
            store.replace(plain("nobody"), if_version="1")
        with pytest.raises(SubmissionNotFoundError):
            store.transact("nobody", _one_more_attempt)

    def test_a_record_is_replaced_over_the_version_read(self, store: StatusStore) -> None:
        created = store.create(plain())
        after = replace(full(), id="s1")
        replaced = store.replace(after, if_version=created.version)
        found = store.get("s1")
        assert (found.value, found.version) == (after, replaced.version)

    def test_a_second_claim_over_the_same_version_is_refused(self, store: StatusStore) -> None:
        created = store.create(plain())
        first = replace(plain(), attempts=1)
        store.replace(first, if_version=created.version)
        with pytest.raises(PreconditionFailedError):
            store.replace(replace(plain(), state=State.CANCELLED), if_version=created.version)
        assert store.get("s1").value == first
        assert [entry.state for entry in store.history("s1")] == [State.QUEUED]

    def test_every_write_makes_another_version(self, store: StatusStore) -> None:
        versions = [store.create(plain()).version]
        for _ in range(4):
            versions.append(store.replace(plain(), if_version=versions[-1]).version)
        versions.append(store.transact("s1", lambda record, _tasks, _now: record).version)
        assert len(set(versions)) == len(versions)

    def test_times_are_the_stores_own_and_aware(self, store: StatusStore) -> None:
        created = store.create(plain())
        replaced = store.replace(plain(), if_version=created.version)
        found = store.get("s1")
        assert created.created_at == created.updated_at == found.created_at
        assert created.updated_at <= replaced.updated_at == found.updated_at <= found.read_at
        assert all(moment.utcoffset() is not None for moment in (found.created_at, found.updated_at, found.read_at))

    # --- History ---

    def test_history_begins_with_the_creation(self, store: StatusStore) -> None:
        created = store.create(plain())
        (entry,) = store.history("s1")
        assert (entry.n, entry.state, entry.epoch, entry.note) == (1, State.QUEUED, 0, "")
        assert entry.at.utcoffset() is not None
        assert abs((entry.at - created.created_at).total_seconds()) < 5

    def test_history_has_every_change_of_state_or_epoch_and_no_other_write(self, store: StatusStore) -> None:
        _write_in_turn(
            store,
            plain(),
            replace(plain(), attempts=1),
            replace(plain(), state=State.DISPATCHING, epoch=1),
            replace(plain(), state=State.DISPATCHING, epoch=1, owner="x"),
            replace(plain(), state=State.DISPATCHING, epoch=2),
        )
        found = [(entry.n, entry.state, entry.epoch) for entry in store.history("s1")]
        assert found == [(1, State.QUEUED, 0), (2, State.DISPATCHING, 1), (3, State.DISPATCHING, 2)]

    def test_history_says_why_a_run_was_lost_and_does_not_repeat_it(self, store: StatusStore) -> None:
        lost = replace(plain(), epoch=1, last_problem="out of memory")
        _write_in_turn(
            store,
            replace(plain(state=State.RUNNING), epoch=1),
            lost,
            replace(lost, state=State.DISPATCHING, epoch=2),
            replace(lost, state=State.FINALIZING, epoch=2),
            replace(lost, state=State.RUNNING, epoch=2, last_problem="its lease ran out"),
        )
        assert [entry.note for entry in store.history("s1")] == ["", "out of memory", "", "", "its lease ran out"]

    def test_history_says_why_it_ended(self, store: StatusStore) -> None:
        store.create(replace(plain(state=State.REJECTED), failure=Failure("NOT_HDF5", "The bytes are not HDF5.")))
        assert [entry.note for entry in store.history("s1")] == ["The bytes are not HDF5."]

    def test_history_of_an_unknown_submission_is_empty(self, store: StatusStore) -> None:
        assert store.history("nobody") == []

    def test_histories_are_apart(self, store: StatusStore) -> None:
        _write_in_turn(store, plain("a"), plain("a", State.CANCELLED))
        _write_in_turn(store, plain("b"), replace(plain("b", State.DISPATCHING), epoch=1))
        assert [(entry.n, entry.state) for entry in store.history("a")] == [(1, State.QUEUED), (2, State.CANCELLED)]
        assert [(entry.n, entry.state) for entry in store.history("b")] == [(1, State.QUEUED), (2, State.DISPATCHING)]

    def test_history_has_what_a_transaction_changed_and_when(self, store: StatusStore) -> None:
        created = store.create(plain())
        changed = store.transact("s1", lambda record, _tasks, _now: replace(record, state=State.CANCELLED))
        first, second = store.history("s1")
        assert (second.n, second.state) == (2, State.CANCELLED)
        assert created.created_at <= first.at <= second.at <= changed.read_at

    # --- Transactions ---

    def test_a_transaction_sees_the_record_and_the_tasks_of_its_epoch(self, store: StatusStore) -> None:
        store.create(replace(plain(state=State.RUNNING), epoch=2))
        for document in (task(0, epoch=1), finished_task(1, epoch=2), task(0, epoch=2)):
            store.put_task("s1", document, if_version=None)
        store.put_task("s2", task(5, epoch=2), if_version=None)
        seen: list[TaskRecord] = []

        def change(record: Submission, tasks: Sequence[TaskRecord], now: datetime) -> Submission:
            seen[:] = tasks
            return replace(record, state=State.FINALIZING, changed_at=now)

        after = store.transact("s1", change)
        assert seen == [task(0, epoch=2), finished_task(1, epoch=2)]
        found = store.get("s1")
        assert (found.value, found.version) == (after.value, after.version)
        assert found.value.changed_at is not None
        assert [entry.state for entry in store.history("s1")] == [State.RUNNING, State.FINALIZING]

    def test_a_transaction_that_raises_writes_nothing(self, store: StatusStore) -> None:
        created = store.create(plain())

        def refuse(_record: Submission, _tasks: Sequence[TaskRecord], _now: datetime) -> Submission:
            raise StaleWorkerError("another finalizer holds the lease")

        with pytest.raises(StaleWorkerError):
            store.transact("s1", refuse)
        assert store.get("s1").version == created.version
        store.transact("s1", _one_more_attempt)
        assert store.get("s1").value.attempts == 1

    # --- Finding ---

    def test_the_latest_are_found_first(self, store: StatusStore) -> None:
        first = store.create(plain("a"))
        store.create(plain("c"))
        store.create(plain("b"))
        store.replace(plain("a"), if_version=first.version)
        assert [stored.value.id for stored in store.find()] == ["b", "c", "a"]
        assert [stored.value.id for stored in store.find(limit=2)] == ["b", "c"]
        assert [stored.value.id for stored in store.find(limit=2, oldest_first=True)] == ["a", "c"]

    def test_a_bounded_look_from_the_oldest_on_comes_to_everyone_in_turn(self, store: StatusStore) -> None:
        names = ["c", "a", "d", "b"]
        versions = {name: store.create(owing(name)).version for name in names}
        looked: list[str] = []
        while found := store.find([State.QUEUED], limit=1, with_outbox=True, oldest_first=True):
            (stored,) = found
            looked.append(stored.value.id)
            store.replace(plain(stored.value.id), if_version=versions[stored.value.id])
        assert looked == names

    def test_what_is_found_is_as_it_would_be_got(self, store: StatusStore) -> None:
        store.create(full())
        (found,) = store.find()
        got = store.get("full")
        assert (found.value, found.version) == (got.value, got.version)
        assert (found.created_at, found.updated_at) == (got.created_at, got.updated_at)

    def test_submissions_are_found_by_their_present_state(self, store: StatusStore) -> None:
        moved = store.create(plain("moved"))
        for state in (State.QUEUED, State.RUNNING, State.FAILED):
            store.create(plain(state.lower(), state))
        store.replace(plain("moved", State.RUNNING), if_version=moved.version)
        found = [stored.value.id for stored in store.find([State.QUEUED, State.RUNNING])]
        assert found == ["running", "queued", "moved"]
        assert [stored.value.id for stored in store.find({State.RUNNING}, limit=1)] == ["running"]
        assert store.find([State.SUCCEEDED]) == []

    def test_what_owes_a_message_is_found_until_it_is_paid(self, store: StatusStore) -> None:
        store.create(plain("paid"))
        owed = store.create(owing("owing"))
        store.create(owing("running", State.RUNNING))
        assert [stored.value.id for stored in store.find(with_outbox=True)] == ["running", "owing"]
        assert [stored.value.id for stored in store.find([State.QUEUED], with_outbox=True)] == ["owing"]
        store.replace(plain("owing"), if_version=owed.version)
        assert [stored.value.id for stored in store.find(with_outbox=True)] == ["running"]

    def test_messages_that_are_due_are_found_apart_from_upkeep(self, store: StatusStore) -> None:
        message, sweep = OWED, OutboxEntry("s/sweep", EntryKind.SWEEP)
        later = replace(message, not_before=datetime(2999, 1, 1, tzinfo=UTC))
        for name, entries in {
            "both": (sweep, message),
            "sweep": (sweep,),
            "none": (),
            "later": (later,),
            "message": (message,),
            "sweep, message later": (later, sweep),
        }.items():
            store.create(replace(plain(name.replace(", ", "-").replace(" ", "-")), outbox=entries))

        def found(*, messages: bool) -> set[str]:
            return {stored.value.id for stored in store.find_owing(messages=messages)}

        assert found(messages=True) == {"both", "message"}
        assert found(messages=False) == {"both", "sweep", "sweep-message-later"}

    def test_what_was_put_off_comes_behind_what_was_never_tried(self, store: StatusStore) -> None:
        now = store.create(plain("clock")).read_at
        for number in range(4):
            put_off = now - timedelta(minutes=10 - number)
            store.create(replace(plain(f"old{number}"), outbox=(replace(OWED, not_before=put_off, tries=1),)))
        fresh = store.create(owing("fresh"))
        assert [stored.value.id for stored in store.find_owing(messages=True, limit=3)] == ["fresh", "old0", "old1"]
        store.replace(plain("fresh"), if_version=fresh.version)
        assert [stored.value.id for stored in store.find_owing(messages=True, limit=2)] == ["old0", "old1"]

    # --- Tasks ---

    def test_a_task_is_read_back_as_it_was_put(self, store: StatusStore) -> None:
        put = store.put_task("s1", finished_task(3, epoch=2), if_version=None)
        found = store.get_task("s1", 2, 3)
        assert found is not None
        assert (found.value, found.version) == (finished_task(3, epoch=2), put.version)
        assert found.created_at == found.updated_at == put.updated_at <= found.read_at

    def test_a_task_without_a_document_is_none(self, store: StatusStore) -> None:
        store.put_task("s1", task(1, epoch=1), if_version=None)
        assert store.get_task("s1", 1, 0) is None
        assert store.get_task("s1", 2, 1) is None
        assert store.get_task("s2", 1, 1) is None

    def test_a_tasks_first_document_is_written_once(self, store: StatusStore) -> None:
        store.put_task("s1", task(0), if_version=None)
        with pytest.raises(PreconditionFailedError):
            store.put_task("s1", task(0, rows_done=9), if_version=None)
        assert [stored.value for stored in store.tasks("s1", 1)] == [task(0)]

    def test_a_task_is_written_over_the_version_read(self, store: StatusStore) -> None:
        first = store.put_task("s1", task(0), if_version=None)
        second = store.put_task("s1", task(0, rows_done=100), if_version=first.version)
        with pytest.raises(PreconditionFailedError):
            store.put_task("s1", task(0, rows_done=50), if_version=first.version)
        found = store.get_task("s1", 1, 0)
        assert found is not None
        assert (found.value.rows_done, found.version) == (100, second.version)
        assert (found.created_at, first.version != second.version) == (first.created_at, True)

    def test_a_task_that_is_not_there_has_no_version_to_write_over(self, store: StatusStore) -> None:
        with pytest.raises(PreconditionFailedError):
            store.put_task("s1", task(0), if_version="1")
        assert store.tasks("s1", 1) == []

    def test_the_tasks_of_an_epoch_come_by_index(self, store: StatusStore) -> None:
        for index in (10, 2, 0):
            store.put_task("s1", task(index, epoch=3), if_version=None)
        store.put_task("s1", task(1, epoch=2), if_version=None)
        assert [stored.value.index for stored in store.tasks("s1", 3)] == [0, 2, 10]
        assert store.tasks("s1", 4) == []

    # --- Side by side ---

    def test_racing_conditional_writers_lose_no_count(self, door: StatusDoor, racers: Executor) -> None:
        door().create(plain())
        runs = [racers.submit(count_attempts, door, "s1", 8) for _ in range(N_RACERS)]
        assert all(run.result() >= 0 for run in runs)
        assert door().get("s1").value.attempts == 8 * N_RACERS

    def test_racing_transactions_lose_no_count(self, door: StatusDoor, racers: Executor) -> None:
        door().create(plain())
        runs = [racers.submit(count_attempts_in_transactions, door, "s1", 8) for _ in range(N_RACERS)]
        assert sum(run.result() for run in runs) == 8 * N_RACERS
        assert door().get("s1").value.attempts == 8 * N_RACERS

    def test_of_racing_tasks_one_writes_each_first_document(self, door: StatusDoor, racers: Executor) -> None:
        door().create(plain())
        wanted = [task(index) for index in range(10)]
        runs = [racers.submit(put_first_tasks, door, "s1", wanted) for _ in range(N_RACERS)]
        assert sorted(index for run in runs for index in run.result()) == list(range(10))

    def test_any_sequence_of_calls_does_as_a_dictionary_would(self, fresh_doors: FreshDoors) -> None:
        machine = cast("type[StatusMachine]", lambda: StatusMachine(fresh_doors()))
        run_state_machine_as_test(machine, settings=SEQUENCES)


def _one_more_attempt(record: Submission, _tasks: Sequence[TaskRecord], _now: datetime) -> Submission:
    return replace(record, attempts=record.attempts + 1)


def _write_in_turn(store: StatusStore, first: Submission, *later: Submission) -> None:
    version = store.create(first).version
    for record in later:
        version = store.replace(record, if_version=version).version
