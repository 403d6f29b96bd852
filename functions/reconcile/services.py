"""Reconcile: every minute, drains outboxes and repairs submissions whose work was lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import assert_never

from functions.reconcile.passes import Group, Pass, Sweep
from shared.domain import machine, owed
from shared.domain.errors import (
    AccessDeniedError,
    IllegalTransitionError,
    StaleWorkerError,
    TaskCrashedError,
    UnavailableError,
)
from shared.domain.limits import Limits
from shared.domain.submission import (
    FINAL_STATES,
    EntryKind,
    Failure,
    Lease,
    NotStarted,
    State,
    Submission,
    TaskRecord,
)
from shared.ports.jobs import ExecutionReport, ExecutionState, JobRunner
from shared.ports.status import Found, StatusStore, Stored, TransactedChange
from shared.records.budget import PassBudget
from shared.records.outbox import Outbox

WAITING_STATES = frozenset(State) - FINAL_STATES - machine.AT_WORK
_NONE = timedelta(0)
_COUNT_EVERY = timedelta(minutes=10)
_LONGEST_GRACE = 4
_STARTS_FOR_A_GRANT = 8
"""Starts to wait for a missing grant, half an hour with their pauses: a grant takes minutes to reach every server."""
OVER = frozenset({ExecutionState.SUCCEEDED, ExecutionState.FAILED, ExecutionState.CANCELLED})


@dataclass(frozen=True, slots=True)
class Reconcile:
    """The reconcile service: passes over all open submissions and outboxes. One error never stops the others.

    Attributes:
        batch: The most submissions that each query finds.
        capacity_pause: How long a submission waits for capacity before it is started again.
        seconds: A clock, for the length of a pass.
        pass_s: How long a pass may take.
    """

    store: StatusStore
    outbox: Outbox
    jobs: JobRunner
    limits: Limits
    batch: int = 1000
    capacity_pause: timedelta = timedelta(minutes=1)
    seconds: Callable[[], float] = time.monotonic
    pass_s: float = 210.0

    def sweep(self) -> Sweep:
        """Run one pass. Idempotent: each repair is a conditional write on the state that it repairs.

        It ends in time, even if services do not answer: each group of submissions has its share of the time, and a
        service that failed a few times in a row is left alone for the rest of the pass.

        Raises:
            UnavailableError: The store answered no query at all.
        """
        work, one = self._begun()
        return work.through(one._groups())  # noqa: SLF001  # another of this class

    def mend_all(self, due: Iterable[Stored[Submission]]) -> Sweep:
        """Pay and repair each of the given submissions, and collect errors instead of raising them."""
        work, one = self._begun()
        return work.through([Group(lambda: Found(due), one.mend)])

    def mend(self, stored: Stored[Submission]) -> bool:
        """Pay what a submission owes, then repair it. Returns whether it needed a repair.

        Neither waits for the other: what can be paid is paid even if the repair is not known, and a repair is made even
        if something cannot be paid.

        Raises:
            UnavailableError: A service did not answer; the next pass tries again.
        """
        try:
            self.outbox.pay(stored)
        finally:
            mended = self.repair(stored)
        return mended

    def repair(self, stored: Stored[Submission]) -> bool:
        """Repair one submission, and pay what the repair owes. Returns whether it needed a repair.

        Raises:
            UnavailableError: A service did not answer; the next pass tries again.
        """
        change = self._change_for(stored)
        if change is None:
            return False
        try:
            self.outbox.pay(self.store.transact(stored.value.id, change.guarded()))
        except (StaleWorkerError, IllegalTransitionError):
            return False
        return True

    def _begun(self) -> tuple[Pass, Reconcile]:
        """A new pass, and this service with the pass's budget."""
        ends_s = self.seconds() + self.pass_s
        budget = PassBudget(self.seconds, ends_s)
        return Pass(budget, ends_s), replace(self, outbox=replace(self.outbox, budget=budget))

    def _groups(self) -> list[Group]:
        """The submissions to look at: first those with undelivered messages, then open ones, then those with upkeep.

        Messages are paid before anything is repaired. A repair is judged by the record as it was before that: a message
        that was sent only now is not yet overdue.

        The last query finds records of an older version, which lack the time that the other queries sort by.
        """
        before: dict[str, Stored[Submission]] = {}

        def pay(stored: Stored[Submission]) -> bool:
            before[stored.value.id] = stored
            self.outbox.pay(stored)
            return False

        def repair(stored: Stored[Submission]) -> bool:
            return self.repair(before.get(stored.value.id, stored))

        return [
            Group(partial(self.store.find_owing, messages=True, limit=self.batch), pay),
            Group(partial(self.store.find, machine.AT_WORK, limit=self.batch, oldest_first=True), repair, turns=True),
            Group(partial(self.store.find, WAITING_STATES, limit=self.batch, oldest_first=True), repair),
            Group(partial(self.store.find_owing, messages=False, limit=self.batch), pay),
            Group(partial(self.store.find, with_outbox=True, limit=self.batch, oldest_first=True), pay),
        ]

    def _change_for(self, stored: Stored[Submission]) -> _Mend | None:
        record, now = stored.value, stored.read_at
        change: machine.Change | None
        match record.state:
            case State.QUEUED:
                change = self._remind(stored)
            case State.DISPATCHING:
                change = self._lost_dispatch(record, now)
            case State.RUNNING:
                tasks = self.store.tasks(record.id, record.epoch)
                change = self._lost_run(record, tasks, now)
                return _Mend(record, change, [task.value for task in tasks]) if change else None
            case State.FINALIZING:
                change = self._lost_finalizer(record, now)
            case State.WAITING_CAPACITY:
                change = self._resume(stored)
            case State.SUCCEEDED | State.FAILED | State.CANCELLED | State.REJECTED:
                change = None
            case _:
                assert_never(record.state)
        return _Mend(record, change) if change else None

    def _remind(self, stored: Stored[Submission]) -> machine.Change | None:
        waited = stored.read_at - _since(stored)
        if owed.owes(stored.value, EntryKind.JOB) or waited < self.limits.dispatch_lease:
            return None
        if self.outbox.has_queued(stored.value):
            return None
        return lambda newest, at: machine.remind(newest, now=at)

    def _resume(self, stored: Stored[Submission]) -> machine.Change | None:
        if stored.read_at - _since(stored) < self.capacity_pause:
            return None
        return lambda newest, at: machine.resume(newest, now=at)

    def _lost_dispatch(self, record: Submission, now: datetime) -> machine.Change | None:
        report = self._report(record)
        expired = record.lease is None or now >= record.lease.expires_at or self._is_orphan(record, record.lease)
        if (why := report.not_started) is not None:
            return partial(self._not_started, why)
        if report.state in OVER:
            return self._requeue(report, f"the execution {report.state} before its first task reported")
        if expired and report.state is not ExecutionState.RUNNING:
            return self._requeue(report, "no task started within the lease", interrupted=True)
        if expired and not report.begun and _looked_long_ago(record, now):
            return lambda newest, at: machine.still_waiting(newest, now=at, limits=self.limits)
        return None

    def _lost_run(
        self, record: Submission, tasks: Sequence[Stored[TaskRecord]], now: datetime
    ) -> machine.Change | None:
        beats = [task.updated_at for task in tasks]
        silent = now - max([*beats, record.changed_at or now]) > self.limits.heartbeat
        if machine.receipts_complete(record, [task.value for task in tasks]):
            return self._lost_after_receipts(record, now, silent=silent)
        report = self._report(record)
        over = report.state in OVER
        if over and (crashed := _crashed_alike(report) or _crashed_twice(record, report)):
            return crashed
        if over or (silent and report.state is not ExecutionState.RUNNING):
            failure = _failure_of(task.value for task in tasks)
            return self._requeue(
                report, "its tasks stopped reporting", failure, interrupted=_is_elsewhere(failure, record)
            )
        return None

    def _lost_after_receipts(self, record: Submission, now: datetime, *, silent: bool) -> machine.Change | None:
        if owed.owes(record, EntryKind.FINALIZE):
            return None
        first = record.finalize_attempts == 0  # Dispatch started the later ones, and may not have recorded them.
        if silent and not first:
            report = self._report(record)
            if (why := report.not_started) is not None:
                return partial(self._finalizer_not_started, why)
            waiting = report.state is ExecutionState.RUNNING and not report.begun
            if waiting and now - (record.changed_at or now) < self.limits.capacity:
                return None  # The platform accepted the finalizer, and begins it when there is room.
        if silent and self._spent(record) and self._report(record).state is ExecutionState.RUNNING:
            return None  # The finalizer that is still running may claim the lease again.
        if silent or (first and self._report(record).state in OVER):
            return lambda newest, at: machine.request_finalizer(newest, now=at, limits=self.limits)
        return None

    def _not_started(self, why: NotStarted, record: Submission, now: datetime) -> Submission:
        return machine.not_started(record, why, now=now, limits=self.limits)

    def _finalizer_not_started(self, why: NotStarted, record: Submission, now: datetime) -> Submission:
        """Request the finalizer again under the same number: the platform accepted the execution but never began it."""
        returned, number = record, record.finalize_attempts
        if record.finalize_started == number:
            returned = machine.return_finalize(record, why, epoch=record.epoch, number=number, now=now)
        return machine.request_finalizer(returned, now=now, limits=self.limits)

    def _lost_finalizer(self, record: Submission, now: datetime) -> machine.Change | None:
        report = self._report(record)
        running = report.state is ExecutionState.RUNNING
        expired = record.lease is None or now >= record.lease.expires_at + (self._grace(record) if running else _NONE)
        if not running and (crashed := _crashed_twice(record, report)):
            return crashed
        if (not expired and report.state not in OVER) or (running and self._spent(record)):
            return None
        crash = report.crashes[-1] if report.crashes else ""
        known = f"the finalizer crashed: {crash}" if crash else record.last_problem
        problem = known or "the finalizer stopped reporting"
        return lambda newest, at: machine.release_finalizer(newest, problem=problem, now=at, limits=self.limits)

    def _grace(self, record: Submission) -> timedelta:
        """How long after its lease expires to wait for a finalizer whose execution still runs.

        It may only be slow. The time doubles with each finalizer that was given up, so that one succeeds in the end.
        """
        return self.limits.finalize_lease * ((2 << min(record.finalize_attempts, _LONGEST_GRACE)) - 1)

    def _spent(self, record: Submission) -> bool:
        """Whether no attempt is left: requesting another finalizer would fail the submission."""
        return record.finalize_attempts >= self.limits.max_finalize_attempts

    def _requeue(
        self, report: ExecutionReport, otherwise: str, failure: Failure | None = None, *, interrupted: bool = False
    ) -> machine.Change:
        detail = failure.message if failure else ""
        crash = report.crashes[-1] if report.crashes and report.crashes[-1] not in report.problem else ""
        *before, last = [part for part in (report.problem, crash, detail) if part] or [otherwise]
        problem = ": ".join([*(part.removesuffix(".") for part in before), last])
        interrupted = interrupted or report.state is ExecutionState.CANCELLED

        def change(newest: Submission, now: datetime) -> Submission:
            return machine.requeue(newest, problem=problem, now=now, limits=self.limits, interrupted=interrupted)

        return change

    def _is_orphan(self, record: Submission, lease: Lease) -> bool:
        """Whether the claimant died before it recorded an execution. A recorded execution is checked by its state."""
        return not record.executions and self.jobs.is_gone(lease.token)

    def _report(self, record: Submission) -> ExecutionReport:
        """One report for all executions of the epoch: the running one if any runs, else the latest known one.

        It lists the crashes of all executions. Each crash counts once per execution, however many task attempts had it.
        """
        reports = [self.jobs.describe(execution) for execution in record.executions]
        running = [report for report in reports if report.state is ExecutionState.RUNNING]
        known = [report for report in reports if report.state is not ExecutionState.UNKNOWN]
        latest = (running or known or [ExecutionReport(ExecutionState.UNKNOWN)])[-1]
        crashes = tuple(crash for report in reports for crash in dict.fromkeys(report.crashes))
        return replace(latest, crashes=crashes, log=next((one.log for one in reversed(reports) if one.log), ""))


@dataclass(frozen=True, slots=True)
class _Mend:
    """A repair, and the state that it is based on.

    Attributes:
        seen: The record that was read.
        tasks: The task documents that were read, if the repair depends on them; None if it depends on the record alone.
    """

    seen: Submission
    change: machine.Change
    tasks: list[TaskRecord] | None = None

    def guarded(self) -> TransactedChange:
        """The change, refused if the record or a task has changed since it was read (by a heartbeat, say)."""

        def guarded(newest: Submission, tasks: Sequence[TaskRecord], now: datetime) -> Submission:
            if _place(newest) != _place(self.seen) or self.tasks not in (None, list(tasks)):
                raise StaleWorkerError(f"{newest.id} moved on, and is {newest.state}", expected=self.seen.state)
            return self.change(newest, now)

        return guarded


def _looked_long_ago(record: Submission, now: datetime) -> bool:
    """Whether to record again how long an execution has waited for capacity. Each record costs a write, so rarely."""
    times = [at for at in (record.refused_at, record.changed_at) if at is not None]
    return now - max(times, default=now) >= _COUNT_EVERY


def _place(record: Submission) -> tuple[object, ...]:
    return record.state, record.epoch, record.lease, record.changed_at


def _since(stored: Stored[Submission]) -> datetime:
    return stored.value.changed_at or stored.created_at


def _crashed_twice(record: Submission, report: ExecutionReport) -> machine.Change | None:
    """Fail the submission if two executions crashed at the same place. The previous epoch's last one counts too."""
    before = record.last_problem if record.finalize_attempts == 0 else ""
    return next(
        (
            _crashed(crash, report.log)
            for number, crash in enumerate(report.crashes)
            if crash in report.crashes[:number] or crash in before
        ),
        None,
    )


def _crashed_alike(report: ExecutionReport) -> machine.Change | None:
    """Fail the submission if the platform gave up a task because two attempts crashed at the same place."""
    if report.state is not ExecutionState.FAILED or not report.crashes_alike:
        return None
    return _crashed(report.crashes[-1], report.log)


def _crashed(crash: str, log: str) -> machine.Change:
    failure = Failure.of(TaskCrashedError.of("a task", crash, log))
    return lambda newest, at: machine.fail(newest, failure, now=at)


def _is_elsewhere(failure: Failure | None, record: Submission) -> bool:
    """Whether the failure that a task recorded may pass without a change, so that it costs no attempt."""
    if failure is None:
        return False
    grant = failure.code == AccessDeniedError.code and record.starts <= _STARTS_FOR_A_GRANT
    return grant or failure.code == UnavailableError.code


def _failure_of(tasks: Iterable[TaskRecord]) -> Failure | None:
    return next((task.failure for task in tasks if task.failure is not None), None)
