"""The state machine: every change of a record, as pure functions of the record, the event and the server time.

(new) ──► QUEUED | REJECTED
QUEUED ──claim──► DISPATCHING ──adopt──► RUNNING ──begin_finalizing──► FINALIZING ──commit──► SUCCEEDED
DISPATCHING | RUNNING ──requeue──► QUEUED, or FAILED if no attempt is left
FINALIZING ──release_finalizer──► RUNNING, or FAILED likewise
DISPATCHING ──not_started──► WAITING_CAPACITY ──resume──► QUEUED, or FAILED after the deadline for capacity
DISPATCHING ──not_started──► QUEUED if the start is refused, or FAILED after the deadline for refusals
DISPATCHING ──still_waiting──► DISPATCHING, or FAILED after the deadline for capacity
RUNNING ──return_finalize, request_finalizer──► RUNNING, or FAILED after either deadline, or if no attempt is left
any non-final ──fail | cancel──► FAILED | CANCELLED
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeAlias, assert_never

from shared.domain import owed, reasons, waiting
from shared.domain.errors import IllegalTransitionError, NoCapacityError, StaleWorkerError
from shared.domain.limits import LONGEST_BACKOFF, Limits
from shared.domain.plan import Plan
from shared.domain.submission import (
    EntryKind,
    Failure,
    Lease,
    NotStarted,
    Obstacle,
    Result,
    State,
    Submission,
    TaskRecord,
)

ARROWS: Mapping[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.DISPATCHING, State.FAILED, State.CANCELLED}),
    State.DISPATCHING: frozenset(
        {State.RUNNING, State.QUEUED, State.WAITING_CAPACITY, State.FAILED, State.CANCELLED},
    ),
    State.RUNNING: frozenset({State.FINALIZING, State.QUEUED, State.FAILED, State.CANCELLED}),
    State.FINALIZING: frozenset({State.SUCCEEDED, State.RUNNING, State.FAILED, State.CANCELLED}),
    State.WAITING_CAPACITY: frozenset({State.QUEUED, State.FAILED, State.CANCELLED}),
    State.SUCCEEDED: frozenset(),
    State.FAILED: frozenset(),
    State.CANCELLED: frozenset(),
    State.REJECTED: frozenset(),
}


AT_WORK = frozenset({State.DISPATCHING, State.RUNNING, State.FINALIZING})
"""States in which an execution works on the submission."""

Change: TypeAlias = Callable[[Submission, datetime], Submission]
"""Makes the new record from the current one and the server time. Raises if nothing should be written."""


# --- The normal course --------------------------------------------------------------------------------------------


def claim(record: Submission, *, now: datetime, token: str, plan: Plan, limits: Limits) -> Submission:
    """Claim a queued submission for dispatch, and open the next epoch."""
    moved = _move(record, State.DISPATCHING, now)
    return replace(
        moved,
        epoch=record.epoch + 1,
        attempts=record.attempts + 1,
        finalize_attempts=0,
        finalize_started=0,
        plan=plan,
        dispatched_at=now,
        lease=Lease(token, now + limits.dispatch_lease),
        owner=None,
        executions=(),
        outbox=owed.without(record, EntryKind.JOB),
    )


def note_execution(record: Submission, *, epoch: int, execution: str) -> Submission:
    """Record an execution that was started for this epoch.

    Raises:
        StaleWorkerError: The epoch has ended.
    """
    if record.state not in AT_WORK or record.epoch != epoch:
        raise StaleWorkerError(f"{record.id} is {record.state} in epoch {record.epoch}", expected=f"epoch {epoch}")
    if execution in record.executions:
        return record
    return replace(record, executions=(*record.executions, execution))


def adopt(record: Submission, *, epoch: int, execution: str, now: datetime) -> Submission:
    """A task's first write: its execution becomes the epoch's owner, unless it already is.

    Raises:
        StaleWorkerError: The record is in another epoch, the epoch has ended, or it has another owner.
    """
    if record.epoch == epoch and record.owner == execution and record.state in {State.RUNNING, State.FINALIZING}:
        return record
    if record.epoch != epoch or record.owner is not None or record.state is not State.DISPATCHING:
        raise StaleWorkerError(
            f"{record.id} is {record.state} in epoch {record.epoch}, owned by {record.owner}",
            expected=f"epoch {epoch} waiting for {execution}",
        )
    running = waiting.started(replace(_move(record, State.RUNNING, now), owner=execution, lease=None))
    return note_execution(running, epoch=epoch, execution=execution)


def claim_finalize(record: Submission, *, epoch: int, number: int, now: datetime) -> Submission:
    """Claim a request for a finalize-only execution, once.

    Raises:
        StaleWorkerError: It was claimed before, or there is nothing left to finalize.
    """
    if record.state is not State.RUNNING or record.epoch != epoch or record.finalize_started >= number:
        raise StaleWorkerError(f"{record.id} is {record.state} in epoch {record.epoch}", expected="one to finalize")
    kept = owed.without(record, EntryKind.FINALIZE)
    return replace(record, finalize_started=number, changed_at=now, outbox=kept)


def return_finalize(record: Submission, why: NotStarted, *, epoch: int, number: int, now: datetime) -> Submission:
    """Return a request for a finalize-only execution, because the platform did not start it.

    If an earlier finalizer crashed, its crash stays the last problem: a second one at the same place is final.

    Raises:
        StaleWorkerError: There is nothing left to finalize.
    """
    if record.state is not State.RUNNING or record.epoch != epoch or record.finalize_started != number:
        raise StaleWorkerError(f"{record.id} is {record.state} in epoch {record.epoch}", expected="one to finalize")
    before = record.not_started.failure.message if record.not_started else ""
    problem = why.failure.message if record.last_problem in {"", before} else record.last_problem
    return replace(waiting.refused(record, why, now), finalize_started=number - 1, last_problem=problem)


def begin_finalizing(
    record: Submission, tasks: Iterable[TaskRecord], *, epoch: int, token: str, now: datetime, limits: Limits
) -> Submission:
    """Take the lease to merge and commit, once every receipt is recorded.

    Raises:
        StaleWorkerError: The epoch has ended, or another finalizer holds the lease.
    """
    if record.epoch != epoch or record.state is not State.RUNNING or not receipts_complete(record, tasks):
        raise StaleWorkerError(f"{record.id} is {record.state} in epoch {record.epoch}", expected="all receipts in")
    moved = _move(record, State.FINALIZING, now)
    return waiting.started(replace(moved, lease=Lease(token, now + limits.finalize_lease)))


def renew(record: Submission, *, epoch: int, token: str, now: datetime, limits: Limits) -> Submission:
    """Extend the finalizer's lease.

    Raises:
        StaleWorkerError: The lease is no longer held.
    """
    _check_finalizer(record, epoch, token)
    return replace(record, lease=Lease(token, now + limits.finalize_lease))


def retake_finalizing(
    record: Submission, tasks: Iterable[TaskRecord], *, epoch: int, token: str, now: datetime, limits: Limits
) -> Submission:
    """Take an expired lease again, if its holder still works and no other finalizer has started.

    The token and so the prefix stay the same: files written so far remain valid. If dispatch has not claimed the
    request for another finalizer yet, that request is withdrawn and costs no attempt.

    Raises:
        StaleWorkerError: Another finalizer has started, or the epoch has ended.
    """
    taken = begin_finalizing(record, tasks, epoch=epoch, token=token, now=now, limits=limits)
    return replace(taken, finalize_attempts=record.finalize_started, outbox=owed.without(record, EntryKind.FINALIZE))


def give_up_finalizing(record: Submission, *, epoch: int, token: str, problem: str, now: datetime) -> Submission:
    """Release the finalizer's lease after an error, so that the next try need not wait until it expires.

    Raises:
        StaleWorkerError: The lease is no longer held.
    """
    _check_finalizer(record, epoch, token)
    return replace(_move(record, State.RUNNING, now), lease=None, last_problem=problem)


def commit(
    record: Submission, tasks: Iterable[TaskRecord], *, epoch: int, token: str, result: Result, now: datetime
) -> Submission:
    """Make a submission SUCCEEDED and queue its events, in one transaction over record and tasks.

    Raises:
        StaleWorkerError: The finalizer's token, the epoch or the set of receipts has changed.
    """
    _check_finalizer(record, epoch, token)
    if not receipts_complete(record, tasks):
        raise StaleWorkerError(f"receipts of {record.id} epoch {epoch} are not complete", expected="one for every task")
    done = replace(
        _move(record, State.SUCCEEDED, now),
        lease=None,
        verdict=record.verdict and record.verdict.amended(result.findings, result.looked_for, result.of_others),
        result=result,
        outbox=owed.without(record, *owed.WORK),
    )
    # Each finalizer that was given up has left a problem in the record. It may still be writing.
    undisturbed = record.epoch == 1 and record.finalize_attempts == 0 and not record.last_problem
    sweep = owed.sweep(record, None if undisturbed else now + owed.SWEEP_DELAY)
    return owed.with_outcome_for_all(owed.queue(done, owed.manifest(record), sweep))


def stop_others(record: Submission, *, execution: str) -> Submission:
    """Queue the stop of the epoch's other executions, one of which may still be waiting for room."""
    return owed.queue(record, *(stop for stop in owed.stops(record) if stop.execution != execution))


# --- When something is lost ----------------------------------------------------------------------------------------


def requeue(
    record: Submission, *, problem: str, now: datetime, limits: Limits, interrupted: bool = False
) -> Submission:
    """Put a submission whose dispatch or run was lost back in the queue. It fails if no attempt is left.

    Args:
        interrupted: The platform, its operator or a service that was down ended it. The work itself did not fail, so
            this costs no attempt, as long as max_epochs is not reached.
    """
    spent, started = record.attempts - interrupted, record.starts
    if spent >= limits.max_attempts or started >= limits.max_epochs:
        return fail(record, reasons.exhausted(f"{started} attempts were lost; the last one: {problem}"), now=now)
    back = _back_to_queue(record, now, pause=_backoff(started, limits))
    return replace(back, attempts=spent, last_problem=problem)


def release_finalizer(record: Submission, *, problem: str, now: datetime, limits: Limits) -> Submission:
    """Release an expired finalizer's lease, and request a finalize-only execution."""
    released = replace(_move(record, State.RUNNING, now), lease=None, last_problem=problem)
    return request_finalizer(released, now=now, limits=limits)


def request_finalizer(record: Submission, *, now: datetime, limits: Limits) -> Submission:
    """Request a finalize-only execution, as all receipts are recorded and nobody finalizes. Nothing is computed twice.

    Raises:
        IllegalTransitionError: The submission is not RUNNING.
    """
    _check_state(record, State.RUNNING)
    unanswered = record.finalize_started < record.finalize_attempts
    if unanswered and (overdue := _overdue(record, now, limits)) is not None:
        return fail(record, overdue, now=now)
    n = record.finalize_attempts if unanswered else record.finalize_attempts + 1
    if n > limits.max_finalize_attempts:
        why = f"; the last problem: {record.last_problem}" if record.last_problem else ""
        return fail(record, reasons.exhausted(f"the results could not be written in {n - 1} more tries{why}"), now=now)
    pause = _backoff(n, limits)
    entry = owed.finalize(record, n, now + pause if pause else None)
    return replace(owed.queue(record, entry), finalize_attempts=n, changed_at=now)


def remind(record: Submission, *, now: datetime) -> Submission:
    """Queue the job message of a submission again, under the same id, because nobody has claimed it.

    Raises:
        IllegalTransitionError: The submission is not QUEUED.
    """
    _check_state(record, State.QUEUED)
    return replace(owed.queue(record, owed.job(record.id, record.epoch + 1)), changed_at=now)


def not_started(record: Submission, why: NotStarted, *, now: datetime, limits: Limits) -> Submission:
    """Handle a refused start: retry it without using an attempt, or fail after the deadline.

    If there is no capacity, the submission waits for capacity. If the start is refused for a reason that may pass (a
    recent grant, a job that is being replaced), it is queued, and the pauses double up to LONGEST_BACKOFF times the
    first.

    Raises:
        IllegalTransitionError: The submission is not DISPATCHING.
    """
    _check_state(record, State.DISPATCHING)
    counted = waiting.refused(record, why, now)
    if (overdue := _overdue(counted, now, limits)) is not None:
        return fail(counted, overdue, now=now)
    problem = why.failure.message
    match why.obstacle:
        case Obstacle.NO_ROOM:
            back, problem = _move(counted, State.WAITING_CAPACITY, now), f"no capacity: {problem}"
        case Obstacle.REFUSED:
            pause = waiting.pause(counted, now, limits.backoff, limits.backoff * LONGEST_BACKOFF)
            back = _back_to_queue(counted, now, pause=pause)
        case _:
            assert_never(why.obstacle)
    refusals, attempts = record.refusals + 1, record.attempts - 1
    return replace(back, attempts=attempts, refusals=refusals, lease=None, owner=None, last_problem=problem)


def resume(record: Submission, *, now: datetime) -> Submission:
    """Queue a submission again after it waited for capacity. The deadline is checked when a start is refused."""
    return _back_to_queue(record, now)


def still_waiting(record: Submission, *, now: datetime, limits: Limits) -> Submission:
    """Handle an accepted execution that waits for capacity to begin: count the time, or fail and stop it.

    Raises:
        IllegalTransitionError: The submission is not DISPATCHING.
    """
    _check_state(record, State.DISPATCHING)
    why = NotStarted.of(NoCapacityError("an execution was accepted but has not begun"))
    counted = waiting.refused(record, why, now)
    overdue = _overdue(counted, now, limits)
    return counted if overdue is None else fail(counted, overdue, now=now)


def fail(record: Submission, failure: Failure, *, now: datetime) -> Submission:
    """End a submission as FAILED, without results."""
    return _end(record, State.FAILED, failure, now)


def cancel(record: Submission, *, now: datetime, reason: str = "cancelled by request") -> Submission:
    """End a submission as CANCELLED, on request."""
    return _end(
        record,
        State.CANCELLED,
        Failure("CANCELLED", reason, f"To annotate it after all: {reasons.ASK_AGAIN}"),
        now,
    )


# --- Questions ----------------------------------------------------------------------------------------------------


def receipts_complete(record: Submission, tasks: Iterable[TaskRecord]) -> bool:
    """Whether the owner's receipts cover every task of the plan, and so every row once."""
    if record.plan is None or record.owner is None:
        return False
    got = {
        task.index: task.receipt.rows
        for task in tasks
        if task.epoch == record.epoch and task.execution == record.owner and task.receipt is not None
    }
    return got == {index: record.plan.rows_of(index) for index in range(record.plan.n_tasks)}


# --- Below: how transitions are made -------------------------------------------------------------------------------


def _move(record: Submission, to: State, now: datetime) -> Submission:
    if to not in ARROWS[record.state]:
        raise IllegalTransitionError(f"{record.id} is {record.state}", expected=f"a state that leads to {to}")
    return replace(record, state=to, changed_at=now)


def _check_state(record: Submission, expected: State) -> None:
    if record.state is not expected:
        raise IllegalTransitionError(f"{record.id} is {record.state}", expected=expected)


def _back_to_queue(record: Submission, now: datetime, pause: timedelta = timedelta(0)) -> Submission:
    back = replace(
        _move(record, State.QUEUED, now), lease=None, owner=None, executions=(), outbox=owed.without(record, *owed.WORK)
    )
    job = owed.job(record.id, record.epoch + 1, now + pause if pause else None)
    return owed.queue(back, *owed.stops(record), job)


def _backoff(lost: int, limits: Limits) -> timedelta:
    """The pause after ``lost`` attempts: none after the first, then doubling, as a service may be down."""
    if lost < 2:
        return timedelta(0)
    return limits.backoff * min(1 << (lost - 2), LONGEST_BACKOFF)


def _end(record: Submission, state: State, failure: Failure, now: datetime) -> Submission:
    ended = replace(_move(record, state, now), lease=None, failure=failure, outbox=owed.without(record, *owed.WORK))
    return owed.with_outcome_for_all(owed.queue(ended, *owed.stops(record), owed.sweep(record, now + owed.SWEEP_DELAY)))


def _check_finalizer(record: Submission, epoch: int, token: str) -> None:
    held = record.lease is not None and record.lease.token == token
    if record.state is not State.FINALIZING or record.epoch != epoch or not held:
        raise StaleWorkerError(
            f"{record.id} is {record.state} in epoch {record.epoch}", expected="this finalizer's lease"
        )


def _overdue(record: Submission, now: datetime, limits: Limits) -> Failure | None:
    """The failure of a submission that has waited longer than its obstacle's deadline; None before that."""
    why = record.not_started
    if why is None or not waiting.is_past(record, now, deadline := limits.deadline(why.obstacle)):
        return None
    return reasons.never_started(why, deadline)
