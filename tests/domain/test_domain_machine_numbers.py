"""Leases, pauses, epochs and counts of the state machine, each to the second and to the number."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.domain import machine, owed
from shared.domain.errors import StaleWorkerError
from shared.domain.limits import LONGEST_BACKOFF, Limits
from shared.domain.submission import EntryKind, OutboxEntry, State, Submission
from shared.domain.verdict import Finding, OtherModel, Severity, Verdict
from tests.domain.records import FULL, LIMITS, MAY_NOT, NOW, PLAN, RESULT, claimed, finalizing, new, receipts, running

LATER = NOW + timedelta(minutes=3)
PATIENT = Limits(max_attempts=50, max_finalize_attempts=50)


def the(kind: EntryKind, record: Submission) -> OutboxEntry:
    (found,) = (entry for entry in record.outbox if entry.kind is kind)
    return found


def lost(record: Submission, *, limits: Limits = PATIENT, interrupted: bool = False) -> Submission:
    return machine.requeue(record, problem="lost", now=NOW, limits=limits, interrupted=interrupted)


def released(record: Submission, limits: Limits = PATIENT) -> Submission:
    return machine.release_finalizer(record, problem="silent", now=NOW, limits=limits)


def asked_for() -> Submission:
    """A finalizer was lost, and another is asked for; dispatch has claimed the request."""
    return machine.claim_finalize(released(finalizing()), epoch=1, number=1, now=NOW)


# --- Leases -------------------------------------------------------------------------------------------------------


def test_a_lease_ends_its_time_after_it_was_taken_or_renewed() -> None:
    dispatch, taken = claimed().lease, finalizing().lease
    renewed = machine.renew(finalizing(), epoch=1, token="t", now=LATER, limits=LIMITS).lease
    assert dispatch is not None
    assert taken is not None
    assert renewed is not None
    assert dispatch.expires_at == NOW + LIMITS.dispatch_lease
    assert (taken.token, taken.expires_at) == ("t", NOW + LIMITS.finalize_lease)
    assert (renewed.token, renewed.expires_at) == ("t", LATER + LIMITS.finalize_lease)


@pytest.mark.parametrize(("epoch", "token"), [(0, "t"), (2, "t"), (1, "s"), (1, "u")])
def test_a_lease_is_renewed_and_given_up_by_its_holder_alone(epoch: int, token: str) -> None:
    record = finalizing()
    with pytest.raises(StaleWorkerError):
        machine.renew(record, epoch=epoch, token=token, now=NOW, limits=LIMITS)
    with pytest.raises(StaleWorkerError):
        machine.give_up_finalizing(record, epoch=epoch, token=token, problem="", now=NOW)


def test_nobody_renews_a_lease_of_what_is_not_finalized() -> None:
    with pytest.raises(StaleWorkerError):
        machine.renew(replace(finalizing(), state=State.RUNNING), epoch=1, token="t", now=NOW, limits=LIMITS)


# --- Epochs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("epoch", [0, 2])
def test_who_is_of_an_earlier_or_a_later_epoch_is_turned_away(epoch: int) -> None:
    with pytest.raises(StaleWorkerError):
        machine.note_execution(running(), epoch=epoch, execution="y")
    for record in (claimed(), running()):
        with pytest.raises(StaleWorkerError):
            machine.adopt(record, epoch=epoch, execution="x", now=NOW)
    with pytest.raises(StaleWorkerError):
        machine.claim_finalize(released(finalizing()), epoch=epoch, number=1, now=NOW)
    with pytest.raises(StaleWorkerError):
        machine.return_finalize(asked_for(), FULL, epoch=epoch, number=1, now=NOW)
    record = running()
    with pytest.raises(StaleWorkerError):
        machine.begin_finalizing(record, receipts(record), epoch=epoch, token="t", now=NOW, limits=LIMITS)


@pytest.mark.parametrize("state", [State.QUEUED, State.WAITING_CAPACITY, State.CANCELLED, State.FAILED])
def test_a_task_that_comes_after_its_epoch_ended_is_stale_though_nobody_owns_it(state: State) -> None:
    with pytest.raises(StaleWorkerError):
        machine.adopt(replace(claimed(), state=state), epoch=1, execution="x", now=NOW)


@pytest.mark.parametrize("state", [State.FINALIZING, State.SUCCEEDED, State.CANCELLED])
def test_a_merge_that_comes_after_another_is_stale_though_every_receipt_is_in(state: State) -> None:
    record = replace(running(), state=state)
    with pytest.raises(StaleWorkerError):
        machine.begin_finalizing(record, receipts(record), epoch=1, token="t", now=NOW, limits=LIMITS)


def test_tokens_and_executions_that_were_read_again_are_the_same() -> None:
    record = machine.note_execution(finalizing("token-1"), epoch=1, execution="job-2")
    token, execution = b"token-1".decode(), b"job-2".decode()  # Equal, though not the same objects.
    assert machine.renew(record, epoch=1, token=token, now=LATER, limits=LIMITS).lease is not None
    stopped = machine.stop_others(record, execution=execution).outbox
    assert [entry.execution for entry in stopped if entry.kind is EntryKind.STOP] == ["x"]


def test_an_execution_is_not_noted_where_nothing_works() -> None:
    record = lost(running())
    with pytest.raises(StaleWorkerError):
        machine.note_execution(record, epoch=record.epoch, execution="y")


def test_a_job_is_asked_for_under_the_next_epoch() -> None:
    assert the(EntryKind.JOB, lost(running())).epoch == 2
    twice = lost(machine.claim(lost(running()), now=NOW, token="d", plan=PLAN, limits=LIMITS))
    assert the(EntryKind.JOB, twice).epoch == 3
    reminded = machine.remind(replace(twice, outbox=()), now=LATER)
    assert (the(EntryKind.JOB, reminded).epoch, reminded.changed_at) == (3, LATER)


# --- Finalizers ---------------------------------------------------------------------------------------------------


def test_a_request_that_was_not_started_may_be_claimed_again() -> None:
    back = machine.return_finalize(asked_for(), FULL, epoch=1, number=1, now=NOW)
    assert (back.finalize_started, back.not_started) == (0, FULL)
    assert machine.claim_finalize(back, epoch=1, number=1, now=NOW).finalize_started == 1
    with pytest.raises(StaleWorkerError):
        machine.return_finalize(back, FULL, epoch=1, number=1, now=NOW)


@pytest.mark.parametrize("number", [0, 1])
def test_a_request_that_was_claimed_before_is_not_claimed_again(number: int) -> None:
    with pytest.raises(StaleWorkerError):
        machine.claim_finalize(asked_for(), epoch=1, number=number, now=NOW)


@pytest.mark.parametrize("state", [State.FINALIZING, State.QUEUED, State.SUCCEEDED])
def test_what_is_not_running_has_no_request_to_return(state: State) -> None:
    with pytest.raises(StaleWorkerError):
        machine.return_finalize(replace(asked_for(), state=state), FULL, epoch=1, number=1, now=NOW)


def test_a_crash_stays_the_last_problem_and_a_refusal_gives_way_to_the_next() -> None:
    crashed = asked_for()
    assert machine.return_finalize(crashed, FULL, epoch=1, number=1, now=NOW).last_problem == "silent"
    refused = machine.return_finalize(replace(crashed, last_problem=""), FULL, epoch=1, number=1, now=NOW)
    assert refused.last_problem == FULL.failure.message
    again = machine.claim_finalize(refused, epoch=1, number=1, now=NOW)
    assert machine.return_finalize(again, MAY_NOT, epoch=1, number=1, now=NOW).last_problem == MAY_NOT.failure.message


def test_a_finalizer_that_is_never_answered_is_waited_for_until_its_deadline() -> None:
    back = machine.return_finalize(asked_for(), FULL, epoch=1, number=1, now=NOW)
    waited = replace(back, waited_s=LIMITS.capacity.total_seconds())
    asked = machine.request_finalizer(waited, now=NOW, limits=LIMITS)
    assert (asked.state, asked.finalize_attempts) == (State.RUNNING, 1)
    over = machine.request_finalizer(waited, now=NOW + timedelta(seconds=1), limits=LIMITS)
    assert over.state is State.FAILED


def test_who_gives_up_writing_says_how_often_it_was_tried_and_why_it_failed() -> None:
    record = released(finalizing(), LIMITS)
    for number in (1, 2):
        claimed_ = machine.claim_finalize(record, epoch=1, number=number, now=NOW)
        taken = machine.begin_finalizing(claimed_, receipts(claimed_), epoch=1, token="t", now=NOW, limits=LIMITS)
        record = released(taken, LIMITS)
    assert record.failure is not None
    assert "could not be written in 2 more tries; the last problem: silent" in record.failure.message
    nameless = machine.request_finalizer(
        replace(running(), finalize_attempts=2, finalize_started=2), now=NOW, limits=LIMITS
    )
    assert nameless.failure is not None
    assert "in 2 more tries" in nameless.failure.message
    assert "the last problem" not in nameless.failure.message


@pytest.mark.parametrize(("tried", "pause"), [(0, None), (1, 1), (2, 2), (3, 4), (30, LONGEST_BACKOFF)])
def test_the_first_finalizer_is_asked_for_at_once_and_the_others_after_doubling_pauses(
    tried: int, pause: int | None
) -> None:
    record = replace(running(), finalize_attempts=tried, finalize_started=tried)
    entry = the(EntryKind.FINALIZE, machine.request_finalizer(record, now=NOW, limits=PATIENT))
    assert entry.not_before == (None if pause is None else NOW + pause * PATIENT.backoff)


# --- Lost runs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("starts", "pause"),
    [(1, None), (2, 1), (3, 2), (4, 4), (5, 8), (6, 16), (7, LONGEST_BACKOFF), (40, LONGEST_BACKOFF)],
)
def test_the_first_lost_run_is_repeated_at_once_and_the_others_after_doubling_pauses(
    starts: int, pause: int | None
) -> None:
    record = replace(running(), epoch=starts, attempts=starts)
    assert record.starts == starts
    entry = the(EntryKind.JOB, lost(record))
    assert entry.not_before == (None if pause is None else NOW + pause * PATIENT.backoff)


@pytest.mark.parametrize("attempts", [1, 2, 3])
def test_a_run_that_was_interrupted_costs_no_attempt_and_one_that_failed_does(attempts: int) -> None:
    record = replace(running(), attempts=attempts)
    assert lost(record).attempts == attempts
    assert lost(record, interrupted=True).attempts == attempts - 1


@pytest.mark.parametrize(("attempts", "interrupted", "ends"), [(2, False, False), (3, False, True), (3, True, False)])
def test_the_last_attempt_may_be_interrupted(attempts: int, interrupted: bool, ends: bool) -> None:
    after = lost(replace(running(), attempts=attempts), limits=LIMITS, interrupted=interrupted)
    assert (after.state is State.FAILED) is ends


@pytest.mark.parametrize(("epoch", "ends"), [(49, False), (50, True), (51, True)])
def test_interrupted_runs_are_not_repeated_forever(epoch: int, ends: bool) -> None:
    after = lost(replace(running(), epoch=epoch), limits=LIMITS, interrupted=True)
    assert (after.state is State.FAILED) is ends


# --- Starts that were refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_lost", [0, 1, 2, 3])
def test_a_refused_start_costs_no_attempt_however_many_were_lost(n_lost: int) -> None:
    record = new()
    for _ in range(n_lost):
        record = lost(claimed(record))
    assert record.attempts == n_lost
    assert machine.not_started(claimed(record), MAY_NOT, now=NOW, limits=PATIENT).attempts == n_lost


def test_a_refused_start_gives_the_attempt_back() -> None:
    second = replace(claimed(), epoch=4, attempts=3, refusals=1)
    back = machine.not_started(second, FULL, now=NOW, limits=LIMITS)
    assert (back.attempts, back.refusals) == (2, 2)


def test_an_execution_that_waits_to_begin_is_counted_and_stopped_at_the_deadline() -> None:
    record = claimed()
    counted = machine.still_waiting(record, now=LATER, limits=LIMITS)
    assert (counted.state, counted.waited_s) == (State.DISPATCHING, 180.0)
    assert counted.not_started is not None
    waited = replace(counted, waited_s=LIMITS.capacity.total_seconds())
    assert machine.still_waiting(waited, now=LATER, limits=LIMITS).state is State.DISPATCHING
    over = machine.still_waiting(waited, now=LATER + timedelta(seconds=1), limits=LIMITS)
    assert over.state is State.FAILED


def test_leftovers_are_swept_later_if_a_finalizer_was_asked_for_that_may_still_write() -> None:
    record = replace(running(), finalize_attempts=1, finalize_started=1)
    taken = machine.begin_finalizing(record, receipts(record), epoch=1, token="t", now=NOW, limits=LIMITS)
    done = machine.commit(taken, receipts(taken), epoch=1, token="t", result=RESULT, now=NOW)
    assert the(EntryKind.SWEEP, done).not_before == NOW + owed.SWEEP_DELAY


def test_a_commit_puts_findings_of_every_cell_in_the_place_of_those_of_the_sample() -> None:
    sampled, other, of_all = (
        Finding(code, Severity.WARNING, said) for code, said in (("A", "1"), ("B", ""), ("A", "2"))
    )
    further = tuple(OtherModel(name, findings=(sampled, other)) for name in ("two@1", "three@1"))
    record = replace(finalizing(), verdict=Verdict(findings=(sampled, other), others=further))
    result = replace(RESULT, findings=(of_all,), looked_for=("A",), of_others=((of_all,),))
    done = machine.commit(record, receipts(record), epoch=1, token="t", result=result, now=NOW)
    assert done.verdict is not None
    assert done.verdict.findings == (other, of_all)
    assert [one.findings for one in done.verdict.others] == [(other, of_all), (other,)]


# --- Ends ---------------------------------------------------------------------------------------------------------


def test_leftovers_of_what_was_cancelled_are_swept_when_nothing_writes_any_more() -> None:
    assert the(EntryKind.SWEEP, machine.cancel(running(), now=NOW)).not_before == NOW + owed.SWEEP_DELAY


def test_without_a_plan_or_an_owner_no_receipts_are_complete() -> None:
    record = running()
    assert machine.receipts_complete(record, receipts(record))
    assert not machine.receipts_complete(replace(record, plan=None), receipts(record))
    assert not machine.receipts_complete(replace(record, owner=None), receipts(record))
    assert not machine.receipts_complete(new(), ())
