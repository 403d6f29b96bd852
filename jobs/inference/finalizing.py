"""Merge and commit: by whoever holds the finalizer's lease, once every receipt is in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from jobs.inference.protocol import PERMANENT, Computation, Ended, Paced, TaskIdentity
from shared.domain import machine
from shared.domain.errors import (
    BlobNotFoundError,
    CelldropError,
    CorruptBlobError,
    IllegalTransitionError,
    StaleWorkerError,
)
from shared.domain.machine import Limits
from shared.domain.submission import Failure, Receipt, Submission, TaskRecord
from shared.outbox import Outbox
from shared.ports.status import StatusStore, Stored
from shared.updates import update

DAMAGED_PARTS = (CorruptBlobError, BlobNotFoundError)


@dataclass(frozen=True, slots=True)
class Finalizer:
    """The last step of the protocol; any task, and a finalize-only execution, may try it.

    Attributes:
        new_token: Makes the name of one try; results are written under it and seen only if it commits.
        seconds: A monotonic clock, only for pacing the lease's renewal.
        renewal_s: Least seconds between two renewals.
    """

    store: StatusStore
    outbox: Outbox
    computation: Computation
    limits: Limits
    new_token: Callable[[], str]
    seconds: Callable[[], float]
    renewal_s: float = 10.0

    def finalize(self, me: TaskIdentity) -> Ended:
        """Merge and commit, if all receipts are in and nobody else is at it.

        Idempotent: the commit is one transaction that checks epoch, token and receipts.

        Raises:
            CelldropError: Anything that another try may mend; the lease was handed back.
        """
        token = self.new_token()
        try:
            held = self._take_lease(me, token)
        except (StaleWorkerError, IllegalTransitionError):
            return Ended.STALE if me.finalize_only else Ended.PART_WRITTEN
        prefix = f"{me.submission_id}/{me.epoch}-{token}/"
        try:
            committed = self._merge_and_commit(me, held.value, token, prefix)
        except Exception as error:  # noqa: BLE001  # whatever it was, the lease must not be left to expire
            return self._recover(me, token, prefix, error)
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

        def change(newest: Submission, tasks: Sequence[TaskRecord], now: datetime) -> Submission:
            return machine.commit(newest, tasks, epoch=me.epoch, token=token, result=result, now=now)

        return self.store.transact(me.submission_id, change)

    def _receipts(self, record: Submission) -> list[Receipt]:
        tasks = [stored.value for stored in self.store.tasks(record.id, record.epoch)]
        return [task.receipt for task in tasks if task.receipt is not None and task.execution == record.owner]

    def _renew(self, me: TaskIdentity, token: str) -> None:
        def change(record: Submission, now: datetime) -> Submission:
            return machine.renew(record, epoch=me.epoch, token=token, now=now, limits=self.limits)

        update(self.store, me.submission_id, change)

    def _recover(self, me: TaskIdentity, token: str, prefix: str, error: Exception) -> Ended:
        """Hand the lease back at once, with what is to follow; raises the error where another try may mend it."""

        def change(record: Submission, now: datetime) -> Submission:
            back = machine.give_up_finalizing(record, epoch=me.epoch, token=token, problem=_words(error), now=now)
            if isinstance(error, PERMANENT):
                return machine.fail(back, Failure.of(error), now=now)
            if isinstance(error, DAMAGED_PARTS):  # Only computing afresh mends a part.
                return machine.requeue(back, problem=_words(error), now=now, limits=self.limits)
            return back

        try:
            stored = update(self.store, me.submission_id, change)
        except (StaleWorkerError, IllegalTransitionError):
            return self._after_losing(me, prefix)
        self.computation.discard(prefix)
        with suppress(CelldropError):  # Reconcile pays what stays owed.
            self.outbox.pay(stored)
        if isinstance(error, (*PERMANENT, *DAMAGED_PARTS)):
            return Ended.FAILED
        raise error

    def _after_losing(self, me: TaskIdentity, prefix: str) -> Ended:
        """The lease is gone: to another, or because our own commit went through and only its answer was lost."""
        stored = self.store.get(me.submission_id)
        result = stored.value.result
        if result is not None and result.prefix == prefix:
            self.outbox.pay(stored)
            return Ended.COMMITTED
        self.computation.discard(prefix)
        return Ended.STALE


def _words(error: Exception) -> str:
    return error.message if isinstance(error, CelldropError) else f"{type(error).__name__}: {error}"
