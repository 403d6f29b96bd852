"""One task of an execution: own rows in, a part and its receipt out, then the merge and commit if it is the last."""

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
        seconds: A monotonic clock, only for pacing heartbeats.
        beat_interval_s: Least seconds between two heartbeats written.
    """

    store: StatusStore
    outbox: Outbox
    computation: Computation
    finalizer: Finalizer
    seconds: Callable[[], float]
    beat_interval_s: float = 1.5

    def run(self, me: TaskIdentity) -> Ended:
        """Do this task's share, and the merge and commit if it is the last.

        Idempotent: a retried task whose receipt stands computes nothing, and still tries to finalize.

        Raises:
            CelldropError: Anything that another attempt may mend: exit non-zero, be retried.
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
                self._broke_off(me, slot, error)
                raise
            slot.write(replace(slot.task, rows_done=len(rows), failure=None, receipt=receipt))

    def _broke_off(self, me: TaskIdentity, slot: _Slot, error: Exception) -> None:
        """Leave word of why, for whoever has to tell it; and end it all where an earlier attempt left the same."""
        crash = crash_of(error)
        if crash is None:
            if isinstance(error, CelldropError):
                slot.note(Failure.of(error))
            return
        if crash.is_that_of(slot.earlier):
            raise twice(crash, me, merging=False) from error
        slot.note(Failure(TaskCrashedError.code, crash.words))

    def _adopt(self, me: TaskIdentity) -> Submission:
        """The task's first act: its execution owns the epoch, or it stops here."""

        def change(record: Submission, now: datetime) -> Submission:
            adopted = machine.adopt(record, epoch=me.epoch, execution=me.execution, now=now)
            if adopted.plan is None or adopted.plan.n_tasks != me.count:
                found = f"execution {me.execution} has {me.count} tasks"
                raise InternalError(found, expected=f"{adopted.plan}", hint="Look at the job's definition.")
            return adopted

        return update(self.store, me.submission_id, change).value

    def _open_slot(self, me: TaskIdentity, rows: Rows) -> _Slot:
        """This task's document, taken over from earlier attempts; a later attempt's is left alone."""
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
        """Stop early when the submission was cancelled or moved on.

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
    """This attempt's hold on its task document: every write is over the version that it read or wrote last."""

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
        """Leave word of why this attempt ends; that word is not worth a second fault."""
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
            raise StaleWorkerError("another attempt writes this task's document", expected="to be alone") from error
        except CelldropError:
            self._unsure = task
            raise
        event(log, "beat", level=logging.DEBUG, by="task", task=self._me.index, submission=self._me.submission_id)

    def _make_sure(self) -> None:
        """A write that got no answer may have been done: what lies there then is ours."""
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
