"""Merges and commits, under the finalizer's lease, once all receipts are in."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from jobs.inference.task.crashing import crash_of, twice
from jobs.inference.task.protocol import PERMANENT, Computation, Ended, Paced, TaskIdentity
from shared.domain import machine
from shared.domain.errors import (
    BlobNotFoundError,
    CelldropError,
    CorruptBlobError,
    IllegalTransitionError,
    StaleWorkerError,
)
from shared.domain.limits import Limits
from shared.domain.submission import Failure, Receipt, Result, State, Submission, TaskRecord
from shared.domain.words import shortened
from shared.ports.status import StatusStore, Stored
from shared.records.outbox import Outbox
from shared.records.updates import update
from shared.telemetry import event

log = logging.getLogger(__name__)

_LETTERS = 500
"""Limit on the text of an error, which may quote a file."""
DAMAGED_PARTS = (CorruptBlobError, BlobNotFoundError)


@dataclass(frozen=True, slots=True)
class Finalizer:
    """The last step of the protocol, which any task or a finalize-only execution may try.

    Attributes:
        new_token: Makes the token of one try. Its results are written under the token, and count only if it commits.
        seconds: A monotonic clock, only used to pace the renewal of the lease.
        renewal_s: The least time between two renewals, in seconds.
    """

    store: StatusStore
    outbox: Outbox
    computation: Computation
    limits: Limits
    new_token: Callable[[], str]
    seconds: Callable[[], float]
    renewal_s: float = 10.0

    def finalize(self, me: TaskIdentity) -> Ended:
        """Merge and commit, if all receipts are in and no other finalizer holds the lease.

        Idempotent: the commit is one transaction that checks epoch, token and receipts.

        Raises:
            CelldropError: Another try may succeed. The lease was handed back.
        """
        token = self.new_token()
        try:
            held = self._take_lease(me, token)
        except (StaleWorkerError, IllegalTransitionError):
            return Ended.STALE if me.finalize_only else Ended.PART_WRITTEN
        _beaten(me)
        prefix = f"{me.submission_id}/{me.epoch}-{token}/"
        try:
            committed = self._merge_and_commit(me, held.value, token, prefix)
        except Exception as error:  # noqa: BLE001  # after any error, the lease is handed back at once
            return self._recover(me, token, prefix, error)
        _beaten(me)
        self.outbox.pay(committed)
        return Ended.COMMITTED

    def _take_lease(self, me: TaskIdentity, token: str) -> Stored[Submission]:
        def change(record: Submission, tasks: Sequence[TaskRecord], now: datetime) -> Submission:
            held = machine.begin_finalizing(record, tasks, epoch=me.epoch, token=token, now=now, limits=self.limits)
            return machine.note_execution(held, epoch=me.epoch, execution=me.execution)

        return self.store.transact(me.submission_id, change)

    def _merge_and_commit(self, me: TaskIdentity, record: Submission, token: str, prefix: str) -> Stored[Submission]:
        renewal = Paced(self.seconds, self.renewal_s, lambda: self._renew(me, token))
        result = self.computation.merge(record, self._receipts(record), prefix, renewal)
        while True:  # A slow finalizer may lose its lease again after it took it. Once it is replaced, _retake raises.
            try:
                return self._commit(me, token, result)
            except StaleWorkerError:
                self._retake(me, token)

    def _commit(self, me: TaskIdentity, token: str, result: Result) -> Stored[Submission]:
        def change(newest: Submission, tasks: Sequence[TaskRecord], now: datetime) -> Submission:
            done = machine.commit(newest, tasks, epoch=me.epoch, token=token, result=result, now=now)
            return machine.stop_others(done, execution=me.execution)

        return self.store.transact(me.submission_id, change)

    def _receipts(self, record: Submission) -> list[Receipt]:
        tasks = [stored.value for stored in self.store.tasks(record.id, record.epoch)]
        return [task.receipt for task in tasks if task.receipt is not None and task.execution == record.owner]

    def _renew(self, me: TaskIdentity, token: str) -> None:
        def change(record: Submission, now: datetime) -> Submission:
            return machine.renew(record, epoch=me.epoch, token=token, now=now, limits=self.limits)

        try:
            update(self.store, me.submission_id, change)
        except StaleWorkerError:
            self._retake(me, token)
        _beaten(me)

    def _retake(self, me: TaskIdentity, token: str) -> None:
        """Take an expired lease again, if no other finalizer has taken it.

        Raises:
            StaleWorkerError: Another finalizer has.
        """

        def change(record: Submission, tasks: Sequence[TaskRecord], now: datetime) -> Submission:
            return machine.retake_finalizing(record, tasks, epoch=me.epoch, token=token, now=now, limits=self.limits)

        self.store.transact(me.submission_id, change)
        event(log, "lease taken again", level=logging.WARNING, submission=me.submission_id, epoch=me.epoch)

    def _recover(self, me: TaskIdentity, token: str, prefix: str, error: Exception) -> Ended:
        """Hand back the lease, and fail or requeue the submission if needed. Raises the error if a retry may help."""
        crash = crash_of(error)
        problem = crash.words if crash else _words(error)

        def change(record: Submission, now: datetime) -> Submission:
            back = machine.give_up_finalizing(record, epoch=me.epoch, token=token, problem=problem, now=now)
            if crash and crash.is_that_of(record.last_problem):
                return machine.fail(back, Failure.of(twice(crash, me, merging=True)), now=now)
            if isinstance(error, PERMANENT):
                return machine.fail(back, Failure.of(error), now=now)
            if isinstance(error, DAMAGED_PARTS):  # Damaged parts must be computed again.
                return machine.requeue(back, problem=_words(error), now=now, limits=self.limits)
            return back

        try:
            stored = update(self.store, me.submission_id, change)
        except (StaleWorkerError, IllegalTransitionError):
            return self._after_losing(me, prefix)
        self.computation.discard(prefix)
        with suppress(CelldropError):  # Reconcile pays the remaining entries.
            self.outbox.pay(stored)
        if stored.value.state is not State.RUNNING:
            if crash:
                log.error("the results could not be written", exc_info=error)
            return Ended.FAILED
        raise error

    def _after_losing(self, me: TaskIdentity, prefix: str) -> Ended:
        """Handle a lost lease: another finalizer has it, or our commit was done and only its answer was lost."""
        stored = self.store.get(me.submission_id)
        result = stored.value.result
        if result is not None and result.prefix == prefix:
            self.outbox.pay(stored)
            return Ended.COMMITTED
        self.computation.discard(prefix)
        return Ended.STALE


def _beaten(me: TaskIdentity) -> None:
    """Log a sign of life, for benchmarks/silence.py."""
    event(log, "beat", level=logging.DEBUG, by="finalizer", submission=me.submission_id)


def _words(error: Exception) -> str:
    return (
        error.message if isinstance(error, CelldropError) else shortened(f"{type(error).__name__}: {error}", _LETTERS)
    )
