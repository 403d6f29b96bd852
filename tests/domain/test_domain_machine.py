"""The state machine under every order of events that hypothesis can think of."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain import admission, machine, owed
from shared.domain.admission import Request
from shared.domain.errors import (
    IllegalTransitionError,
    StaleWorkerError,
    UnavailableError,
)
from shared.domain.limits import LONGEST_BACKOFF
from shared.domain.machine import ARROWS
from shared.domain.submission import (
    FINAL_STATES,
    EntryKind,
    Failure,
    Requester,
    State,
    Submission,
)
from shared.records.documents import submission_document
from tests.domain.records import (
    FULL,
    LIMITS,
    MAY_NOT,
    NOW,
    PLAN,
    RESULT,
    SOURCE,
    claimed,
    finalizing,
    new,
    receipts,
    running,
)


def kinds(record: Submission) -> list[EntryKind]:
    return [entry.kind for entry in record.outbox]


def test_a_drop_goes_all_the_way_and_owes_its_outcome() -> None:
    record = finalizing()
    done = machine.commit(record, receipts(record), epoch=1, token="t", result=RESULT, now=NOW)
    assert done.state is State.SUCCEEDED
    assert done.lease is None
    assert set(kinds(done)) == {EntryKind.ACCEPTED, EntryKind.OUTCOME, EntryKind.MANIFEST, EntryKind.SWEEP}


def test_leftovers_are_swept_later_if_a_finalizer_was_given_up_and_came_back() -> None:
    lost = machine.release_finalizer(finalizing(), problem="silent", now=NOW, limits=LIMITS)
    again = machine.retake_finalizing(lost, receipts(lost), epoch=1, token="t", now=NOW, limits=LIMITS)
    for record, at in ((finalizing(), None), (again, NOW + owed.SWEEP_DELAY)):
        done = machine.commit(record, receipts(record), epoch=1, token="t", result=RESULT, now=NOW)
        assert [entry.not_before for entry in done.outbox if entry.kind is EntryKind.SWEEP] == [at]


def test_a_commit_stops_the_other_executions_of_its_epoch() -> None:
    record = machine.note_execution(finalizing(), epoch=1, execution="waiting for room")
    done = machine.commit(record, receipts(record), epoch=1, token="t", result=RESULT, now=NOW)
    done = machine.stop_others(done, execution="x")
    assert [entry.execution for entry in done.outbox if entry.kind is EntryKind.STOP] == ["waiting for room"]


def test_a_new_submission_owes_its_job_and_its_event_in_the_same_write() -> None:
    job, event = new().outbox
    assert (job.kind, job.epoch) == (EntryKind.JOB, 1)
    assert (event.kind, event.id, event.n_requesters) == (EntryKind.ACCEPTED, f"{new().id}/accepted/1", 1)


def test_a_rejection_owes_its_outcome_in_the_same_write() -> None:
    record = admission.rejected(Request(SOURCE, {}), Failure("NOT_HDF5", "text"), None)
    assert record.state is State.REJECTED
    assert kinds(record) == [EntryKind.OUTCOME]


def test_a_second_claim_is_refused() -> None:
    with pytest.raises(IllegalTransitionError):
        claimed(claimed())


def test_a_claim_voids_the_message_that_led_to_it() -> None:
    assert kinds(claimed()) == [EntryKind.ACCEPTED]


def test_the_second_execution_of_an_epoch_is_turned_away() -> None:
    with pytest.raises(StaleWorkerError):
        machine.adopt(running(), epoch=1, execution="y", now=NOW)


def test_an_older_epoch_is_turned_away() -> None:
    second = claimed(machine.requeue(running(), problem="lost", now=NOW, limits=LIMITS))
    with pytest.raises(StaleWorkerError):
        machine.adopt(second, epoch=1, execution="x", now=NOW)


def test_every_task_of_the_owner_is_let_in() -> None:
    record = running()
    assert machine.adopt(record, epoch=1, execution="x", now=NOW) == record


def test_finalizing_waits_for_every_receipt() -> None:
    record = running()
    with pytest.raises(StaleWorkerError):
        machine.begin_finalizing(record, receipts(record)[:1], epoch=1, token="t", now=NOW, limits=LIMITS)


def test_receipts_of_another_execution_do_not_count() -> None:
    record = running()
    assert not machine.receipts_complete(record, receipts(record, execution="y"))


def test_receipts_of_another_epoch_do_not_count() -> None:
    record = running()
    assert not machine.receipts_complete(record, [replace(task, epoch=2) for task in receipts(record)])


def test_a_losing_finalizer_cannot_commit() -> None:
    lost = machine.release_finalizer(finalizing("slow"), problem="silent", now=NOW, limits=LIMITS)
    again = machine.begin_finalizing(lost, receipts(lost), epoch=1, token="quick", now=NOW, limits=LIMITS)
    with pytest.raises(StaleWorkerError):
        machine.commit(again, receipts(again), epoch=1, token="slow", result=RESULT, now=NOW)


def test_a_released_finalizer_leads_to_a_finalize_only_execution() -> None:
    lost = machine.release_finalizer(finalizing(), problem="silent", now=NOW, limits=LIMITS)
    assert lost.state is State.RUNNING
    assert [entry.number for entry in lost.outbox if entry.kind is EntryKind.FINALIZE] == [1]


def test_a_finalize_request_is_taken_on_once() -> None:
    lost = machine.release_finalizer(finalizing(), problem="silent", now=NOW, limits=LIMITS)
    taken = machine.claim_finalize(lost, epoch=1, number=1, now=NOW)
    with pytest.raises(StaleWorkerError):
        machine.claim_finalize(taken, epoch=1, number=1, now=NOW)


def test_an_unanswered_finalize_request_is_repeated_under_its_number() -> None:
    lost = machine.release_finalizer(finalizing(), problem="silent", now=NOW, limits=LIMITS)
    again = machine.request_finalizer(lost, now=NOW, limits=LIMITS)
    assert again.outbox == lost.outbox


def test_finalizers_are_not_asked_for_forever() -> None:
    record = running()
    for number in (1, 2):
        record = machine.claim_finalize(
            machine.request_finalizer(record, now=NOW, limits=LIMITS), epoch=1, number=number, now=NOW
        )
    ended = machine.request_finalizer(record, now=NOW, limits=LIMITS)
    assert ended.failure is not None
    assert ended.failure.code == "ATTEMPTS_EXHAUSTED"


def test_lost_attempts_are_capped() -> None:
    record = new()
    for _ in range(LIMITS.max_attempts):
        record = machine.requeue(claimed(record), problem="node died", now=NOW, limits=LIMITS)
    assert record.state is State.FAILED
    assert record.failure is not None
    assert "node died" in record.failure.message


def test_a_requeue_stops_what_was_started() -> None:
    back = machine.requeue(running(), problem="silent", now=NOW, limits=LIMITS)
    assert [(entry.kind, entry.execution) for entry in back.outbox if entry.kind is EntryKind.STOP] == [
        (EntryKind.STOP, "x")
    ]


def test_waiting_for_capacity_costs_no_attempt_but_has_a_deadline() -> None:
    waiting = machine.not_started(claimed(), FULL, now=NOW, limits=LIMITS)
    assert waiting.attempts == 0
    assert machine.resume(waiting, now=NOW + timedelta(hours=1)).state is State.QUEUED
    for minutes in range(10, 7 * 60, 10):
        now = NOW + timedelta(minutes=minutes)
        again = claimed(machine.resume(waiting, now=now))
        waiting = machine.not_started(again, FULL, now=now, limits=LIMITS)
        if waiting.state.final:
            break
    assert waiting.failure is not None
    assert waiting.failure.code == "CAPACITY_DEADLINE"
    assert "no GPU is free" in waiting.failure.message
    assert minutes > 6 * 60


def test_a_clock_that_jumps_uses_up_no_deadline() -> None:
    waiting = machine.not_started(claimed(), FULL, now=NOW, limits=LIMITS)
    for days in (1, 2, -1, 3):
        now = NOW + timedelta(days=days)
        waiting = machine.not_started(claimed(machine.resume(waiting, now=now)), FULL, now=now, limits=LIMITS)
    assert waiting.state is State.WAITING_CAPACITY


def test_a_start_that_is_refused_costs_no_attempt_but_has_a_deadline() -> None:
    record, now = new(), NOW
    pauses = []
    while True:
        record = machine.not_started(claimed(record), MAY_NOT, now=now, limits=LIMITS)
        if record.state.final:
            break
        assert (record.state, record.attempts, record.last_problem) == (State.QUEUED, 0, "may not.")
        (entry,) = [entry for entry in record.outbox if entry.kind is EntryKind.JOB]
        assert entry.not_before is not None
        pauses.append(entry.not_before - now)
        now = entry.not_before
    assert record.failure == MAY_NOT.failure
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (LIMITS.backoff, LIMITS.backoff * LONGEST_BACKOFF)
    assert LIMITS.refused < now - NOW < LIMITS.refused + 2 * pauses[-1]


def test_waiting_for_room_does_not_count_as_refusals() -> None:
    waiting, now = machine.not_started(claimed(), FULL, now=NOW, limits=LIMITS), NOW
    for _ in range(20):
        now += timedelta(minutes=14)
        waiting = machine.not_started(claimed(machine.resume(waiting, now=now)), FULL, now=now, limits=LIMITS)
    put_off = machine.not_started(claimed(machine.resume(waiting, now=now)), MAY_NOT, now=now, limits=LIMITS)
    assert put_off.state is State.QUEUED
    again = machine.not_started(claimed(put_off), FULL, now=now, limits=LIMITS)
    assert again.state is State.WAITING_CAPACITY


def test_obstacles_that_take_turns_have_a_deadline() -> None:
    record, now = new(), NOW
    while not record.state.final:
        why = MAY_NOT if record.refusals % 2 else FULL
        queued = machine.resume(record, now=now) if record.state is State.WAITING_CAPACITY else record
        record = machine.not_started(claimed(queued), why, now=now, limits=LIMITS)
        now += timedelta(minutes=10)
    assert record.failure == MAY_NOT.failure
    assert 2 * LIMITS.refused < now - NOW < 2 * LIMITS.refused + timedelta(hours=1)


def test_what_is_never_paid_is_put_off_by_an_hour_at_most() -> None:
    record, now = new(), NOW
    (entry, *_) = record.outbox
    for _ in range(100):
        record = owed.tried(record, [], {entry.id: UnavailableError("down")}, now)
        (left,) = (one for one in record.outbox if one.id == entry.id)
        assert left.not_before is not None
        assert left.not_before - now <= timedelta(hours=1)
        now = left.not_before
    assert left.tries == 100


def test_a_start_that_goes_well_ends_the_waiting() -> None:
    put_off = machine.not_started(claimed(), MAY_NOT, now=NOW, limits=LIMITS)
    begun = machine.adopt(claimed(put_off), epoch=2, execution="x", now=NOW)
    assert (begun.waiting_since, begun.refused_at, begun.waited_s, begun.not_started) == (None, None, 0.0, None)


def test_waiting_for_capacity_uses_up_no_starts() -> None:
    limits = replace(LIMITS, max_epochs=2)
    record = new()
    for _ in range(5):
        record = machine.resume(machine.not_started(claimed(record), FULL, now=NOW, limits=limits), now=NOW)
    interrupted = machine.requeue(claimed(record), problem="evicted", now=NOW, limits=limits, interrupted=True)
    assert (interrupted.state, interrupted.epoch) == (State.QUEUED, 6)


def test_waiting_is_counted_from_the_first_refusal() -> None:
    first, later = machine.not_started(claimed(), FULL, now=NOW, limits=LIMITS), NOW + timedelta(hours=1)
    again = machine.not_started(claimed(machine.resume(first, now=later)), FULL, now=later, limits=LIMITS)
    assert again.waiting_since == NOW


def test_a_requester_is_recorded_once() -> None:
    joined = admission.join(new(), Requester("second"))
    assert admission.join(joined, Requester("second")) == joined


def test_a_requester_who_comes_late_is_told_under_a_new_id() -> None:
    done = machine.cancel(new(), now=NOW)
    late = admission.join(done, Requester("late"))
    (first,) = [entry.id for entry in done.outbox if entry.kind is EntryKind.OUTCOME]
    (again,) = [entry.id for entry in late.outbox if entry.kind is EntryKind.OUTCOME]
    assert first != again
    assert kinds(late).count(EntryKind.ACCEPTED) == 1


@pytest.mark.parametrize("record", [new(), running(), finalizing()], ids=lambda record: str(record.state))
def test_a_requester_who_joins_is_told_that_it_is_accepted(record: Submission) -> None:
    joined = admission.join(record, Requester("second"))
    told = {entry.id: entry.n_requesters for entry in joined.outbox if entry.kind is EntryKind.ACCEPTED}
    assert told == {f"{record.id}/accepted/2": 2}, "who was not told yet is named by the same event"
    assert EntryKind.OUTCOME not in kinds(joined)


def test_that_it_was_accepted_is_told_whatever_makes_its_work_void() -> None:
    for ended in (
        machine.requeue(running(), problem="lost", now=NOW, limits=LIMITS),
        machine.release_finalizer(finalizing(), problem="silent", now=NOW, limits=LIMITS),
        machine.fail(running(), Failure("X", "y"), now=NOW),
        machine.cancel(new(), now=NOW),
    ):
        assert EntryKind.ACCEPTED in kinds(ended)


def test_cancelling_voids_queued_work_and_stops_what_runs() -> None:
    stopped = machine.cancel(running(), now=NOW)
    assert EntryKind.JOB not in kinds(stopped)
    assert EntryKind.STOP in kinds(stopped)


EVENTS = [
    "claim", "adopt", "foreign", "finalize", "commit", "stale_commit", "requeue", "release", "request",
    "claim_finalize", "return_finalize", "give_up", "capacity", "refused", "still_waiting", "resume", "fail", "cancel",
    "join", "remind", "renew",
]  # fmt: skip


def _apply(record: Submission, event: str, now: datetime) -> Submission:  # noqa: C901, PLR0911, PLR0912  # one arm an event
    tasks = receipts(record, record.owner or "x")
    epoch = record.epoch
    token = record.lease.token if record.lease else "t"
    match event:
        case "claim":
            return machine.claim(record, now=now, token="d", plan=PLAN, limits=LIMITS)
        case "adopt":
            return machine.adopt(record, epoch=epoch, execution="x", now=now)
        case "foreign":
            return machine.adopt(record, epoch=epoch - 1, execution="y", now=now)
        case "finalize":
            return machine.begin_finalizing(record, tasks, epoch=epoch, token="t", now=now, limits=LIMITS)
        case "commit":
            return machine.commit(record, tasks, epoch=epoch, token=token, result=RESULT, now=now)
        case "stale_commit":
            return machine.commit(record, tasks, epoch=epoch, token="lost", result=RESULT, now=now)
        case "requeue":
            return machine.requeue(record, problem="p", now=now, limits=LIMITS)
        case "release":
            return machine.release_finalizer(record, problem="p", now=now, limits=LIMITS)
        case "request":
            return machine.request_finalizer(record, now=now, limits=LIMITS)
        case "claim_finalize":
            return machine.claim_finalize(record, epoch=epoch, number=record.finalize_attempts, now=now)
        case "give_up":
            return machine.give_up_finalizing(record, epoch=epoch, token=token, problem="p", now=now)
        case "capacity":
            return machine.not_started(record, FULL, now=now, limits=LIMITS)
        case "refused":
            return machine.not_started(record, MAY_NOT, now=now, limits=LIMITS)
        case "return_finalize":
            return machine.return_finalize(
                record, MAY_NOT, epoch=epoch, number=max(record.finalize_started, 1), now=now
            )
        case "still_waiting":
            return machine.still_waiting(record, now=now, limits=LIMITS)
        case "resume":
            return machine.resume(record, now=now)
        case "fail":
            return machine.fail(record, Failure("X", "y"), now=now)
        case "cancel":
            return machine.cancel(record, now=now)
        case "renew":
            return machine.renew(record, epoch=epoch, token=token, now=now, limits=LIMITS)
        case "remind":
            return machine.remind(record, now=now)
        case _:
            return admission.join(record, Requester(f"r{now.timestamp()}"))


@given(st.lists(st.sampled_from(EVENTS), max_size=60))
def test_no_order_of_events_breaks_an_invariant(events: list[str]) -> None:
    record, now, ends = new(), NOW, 0
    for event in events:
        now += timedelta(minutes=3)
        before = record
        try:
            record = _apply(record, event, now)
        except (IllegalTransitionError, StaleWorkerError):
            continue
        if record.state is not before.state:
            assert record.state in ARROWS[before.state]
            assert before.state not in FINAL_STATES
            ends += record.state in FINAL_STATES
        assert record.epoch in {before.epoch, before.epoch + 1}
        assert record.attempts <= LIMITS.max_attempts
        assert (record.state is State.SUCCEEDED) == (record.result is not None)
        assert (record.lease is not None) == (record.state in {State.DISPATCHING, State.FINALIZING})
        assert len({entry.id for entry in record.outbox}) == len(record.outbox)
        if record.state is State.QUEUED:
            assert EntryKind.JOB in kinds(record)
    assert ends <= 1


@given(st.sampled_from(sorted(FINAL_STATES)), st.sampled_from([event for event in EVENTS if event != "join"]))
def test_final_states_are_final(state: State, event: str) -> None:
    record = replace(finalizing(), state=state, lease=None)
    with pytest.raises((IllegalTransitionError, StaleWorkerError)):
        _apply(record, event, NOW)


def test_every_state_has_its_arrows() -> None:
    assert set(ARROWS) == set(State)
    assert {state for state in State if not ARROWS[state]} == FINAL_STATES


@pytest.mark.parametrize("length", [1, 256])
def test_a_record_stays_small_however_many_ask(length: int) -> None:
    record, kept = new(), 0
    for number in range(2000):
        who = Requester(f"{number:x}".rjust(length, "\U0001f9ec"), "\U0001f9ec" * length)
        before = record.pages
        record = admission.join(record, who)
        kept += record.pages - before
        assert len(json.dumps(submission_document(record))) < 500_000
    assert kept == record.pages > 0
    (entry,) = [entry for entry in record.outbox if entry.kind is EntryKind.ACCEPTED]
    assert (entry.first_page, entry.page, entry.n_requesters) == (0, record.pages, len(record.requesters))


def test_who_is_told_of_the_end_is_everyone_on_every_page() -> None:
    record = new()
    for number in range(200):
        record = admission.join(record, Requester(str(number)))
    ended = machine.cancel(replace(record, outbox=()), now=NOW)
    (entry,) = [entry for entry in ended.outbox if entry.kind is EntryKind.OUTCOME]
    assert (entry.first_page, entry.page) == (0, 3)
    late = admission.join(replace(ended, outbox=()), Requester("late"))
    (entry,) = late.outbox
    assert (entry.first_page, entry.page) == (3, 3)
