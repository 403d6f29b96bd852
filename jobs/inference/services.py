"""One task of an execution: writes a part and a receipt for its rows, then merges and commits if it is the last."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

from jobs.inference.task.crashing import crash_of, twice
from jobs.inference.task.finalizing import Finalizer
from jobs.inference.task.protocol import PERMANENT, Computation, Ended, Paced, TaskIdentity
from shared.domain import machine
from shared.domain.errors import (
    CelldropError,
    IllegalTransitionError,
    InternalError,
    PreconditionFailedError,
    StaleWorkerError,
    SubmissionNotFoundError,
    TaskCrashedError,
)
from shared.domain.geometry import Rows
from shared.domain.submission import Failure, State, Submission, TaskRecord
from shared.ports.status import StatusStore, Stored
from shared.records.outbox import Outbox
from shared.records.updates import update
from shared.telemetry import event

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Task:
    """The protocol of a task, over ports and a computation.

    Attributes:
        seconds: A monotonic clock, only used to pace heartbeats.
        beat_interval_s: The least time between two written heartbeats, in seconds.
    """

    store: StatusStore
    outbox: Outbox
    computation: Computation
    finalizer: Finalizer
    seconds: Callable[[], float]
    beat_interval_s: float = 1.5

    def run(self, me: TaskIdentity) -> Ended:
        """Compute this task's rows, then merge and commit if it is the last task.

        Idempotent: a retried task that already has a receipt computes nothing, but still tries to finalize.

        Raises:
            CelldropError: Another attempt may succeed. The process must exit non-zero, so that it is retried.
        """
        try:
            if not me.finalize_only:
                self._compute(me)
            return self.finalizer.finalize(me)
        except (StaleWorkerError, IllegalTransitionError, SubmissionNotFoundError):
            return Ended.STALE
        except PERMANENT as error:
            return self._fail(me, error)

    def _compute(self, me: TaskIdentity) -> None:
        record = self._adopt(me)
        assert record.plan is not None
        rows = record.plan.rows_of(me.index)
        slot = self._open_slot(me, rows)
        if slot.task.receipt is None:
            try:
                receipt = self.computation.annotate(record, rows, me.part_name, slot.beat)
            except Exception as error:
                self._record_failure(me, slot, error)
                raise
            slot.write(replace(slot.task, rows_done=len(rows), failure=None, receipt=receipt))

    def _record_failure(self, me: TaskIdentity, slot: _Slot, error: Exception) -> None:
        """Record why the computation failed. Raises a permanent error if an earlier attempt failed in the same way."""
        crash = crash_of(error)
        if crash is None:
            if isinstance(error, CelldropError):
                slot.note(Failure.of(error))
            return
        if crash.is_that_of(slot.earlier):
            raise twice(crash, me, merging=False) from error
        slot.note(Failure(TaskCrashedError.code, crash.words))

    def _adopt(self, me: TaskIdentity) -> Submission:
        """Record this execution as the owner of the epoch, or stop if another one is."""

        def change(record: Submission, now: datetime) -> Submission:
            adopted = machine.adopt(record, epoch=me.epoch, execution=me.execution, now=now)
            if adopted.plan is None or adopted.plan.n_tasks != me.count:
                found = f"execution {me.execution} has {me.count} tasks"
                raise InternalError(found, expected=f"{adopted.plan}", hint="Check the job's definition.")
            return adopted

        return update(self.store, me.submission_id, change).value

    def _open_slot(self, me: TaskIdentity, rows: Rows) -> _Slot:
        """Open this task's document, and take it over from an earlier attempt, but not from a later one."""
        fresh = TaskRecord(me.epoch, me.index, me.execution, me.attempt, rows)
        found = self.store.get_task(me.submission_id, me.epoch, me.index)
        before = found or (self.store.get_task(me.submission_id, me.epoch - 1, me.index) if me.epoch > 1 else None)
        slot = _Slot(self, me, found, _crash_noted(before))
        if found is None or (found.value.receipt is None and found.value.attempt <= me.attempt):
            slot.write(fresh)
        elif found.value.receipt is None:
            raise StaleWorkerError(f"attempt {found.value.attempt} is at work", expected=f"attempt {me.attempt}")
        return slot

    def check_current(self, me: TaskIdentity) -> None:
        """Stop early if the submission was cancelled or has moved on.

        Raises:
            StaleWorkerError: This execution no longer owns the epoch.
        """
        record = self.store.get(me.submission_id).value
        if not _owns(record, me):
            raise StaleWorkerError(f"{record.id} is {record.state} in epoch {record.epoch}", expected=f"{me.epoch}")

    def _fail(self, me: TaskIdentity, error: CelldropError) -> Ended:
        def change(record: Submission, now: datetime) -> Submission:
            if not _owns(record, me):
                raise StaleWorkerError(f"{record.id} is {record.state}", expected=f"epoch {me.epoch}, running")
            return machine.fail(record, Failure.of(error), now=now)

        words = {"code": error.code, "problem": error.message, "hint": error.hint}
        event(log, "submission cannot go on", level=logging.ERROR, submission=me.submission_id, **words)
        if isinstance(error, TaskCrashedError):
            log.error("its traceback", exc_info=error)
        with suppress(StaleWorkerError, IllegalTransitionError):
            self.outbox.pay(update(self.store, me.submission_id, change))
        return Ended.FAILED


def _owns(record: Submission, me: TaskIdentity) -> bool:
    return record.state is State.RUNNING and (record.epoch, record.owner) == (me.epoch, me.execution)


def _crash_noted(before: Stored[TaskRecord] | None) -> str:
    failure = before.value.failure if before else None
    return failure.message if failure and failure.code == TaskCrashedError.code else ""


class _Slot:
    """This attempt's task document. Every write is conditional on the version that was last read or written."""

    def __init__(self, task: Task, me: TaskIdentity, stored: Stored[TaskRecord] | None, earlier: str) -> None:
        self.earlier = earlier
        self._unsure: TaskRecord | None = None
        self._protocol = task
        self._me = me
        self._stored = stored
        self._rows_done = 0
        self._beat_when_due = Paced(task.seconds, task.beat_interval_s, self._beat_now)

    @property
    def task(self) -> TaskRecord:
        assert self._stored is not None
        return self._stored.value

    def beat(self, rows_done: int) -> None:
        self._rows_done = rows_done
        self._beat_when_due()

    def note(self, failure: Failure) -> None:
        """Record why this attempt failed. An error in doing so is ignored."""
        if failure.code != StaleWorkerError.code:
            with suppress(CelldropError):
                self.write(replace(self.task, failure=failure))

    def write(self, task: TaskRecord) -> None:
        self._make_sure()
        version = self._stored.version if self._stored else None
        task = replace(task, beats=self._stored.value.beats + 1 if self._stored else 1)
        try:
            self._stored = self._protocol.store.put_task(self._me.submission_id, task, if_version=version)
        except PreconditionFailedError as error:
            raise StaleWorkerError(
                "another attempt writes this task's document", expected="a single attempt at a time"
            ) from error
        except CelldropError:
            self._unsure = task
            raise
        event(log, "beat", level=logging.DEBUG, by="task", task=self._me.index, submission=self._me.submission_id)

    def _make_sure(self) -> None:
        """Check whether a write without an answer was done after all: then the stored document equals it."""
        if self._unsure is None:
            return
        me = self._me
        found = self._protocol.store.get_task(me.submission_id, me.epoch, me.index)
        if found is not None and found.value == self._unsure:
            self._stored = found
        self._unsure = None

    def _beat_now(self) -> None:
        self._protocol.check_current(self._me)
        self.write(replace(self.task, rows_done=self._rows_done))
