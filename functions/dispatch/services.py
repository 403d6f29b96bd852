"""Dispatch: for each job message, claims one epoch and starts one execution."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import assert_never

from shared.domain import machine
from shared.domain.errors import (
    CelldropError,
    IllegalTransitionError,
    NoCapacityError,
    StaleWorkerError,
    StartRefusedError,
    SubmissionNotFoundError,
)
from shared.domain.limits import Limits
from shared.domain.plan import Accelerator, Fleet
from shared.domain.planning import plan_of
from shared.domain.submission import EntryKind, Failure, NotStarted, Obstacle, State, Submission
from shared.ports.jobs import JobRequest, JobRunner
from shared.ports.status import StatusStore, Stored
from shared.records.messages import JobMessage
from shared.records.outbox import Outbox
from shared.records.updates import update


class Dispatched(StrEnum):
    """The outcome of handling a job message."""

    STARTED = "started"
    STALE = "stale"
    UNKNOWN = "no answer"
    WAITING = "waiting for capacity"
    REFUSED = "refused for now"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Dispatch:
    """The dispatch service. It claims an epoch before it starts anything, so a second delivery starts nothing.

    Args:
        new_token: Makes a token that names the claimant. Reconcile asks the job runner whether that claimant is gone.
    """

    store: StatusStore
    outbox: Outbox
    jobs: JobRunner
    limits: Limits
    fleet: Fleet
    new_token: Callable[[], str]
    task_timeout_s: int

    def handle(self, message: JobMessage) -> Dispatched:
        """Start the execution that the message requests, once.

        Idempotent: the claim increments the epoch (or the finalize number) with a conditional write, and a message
        with an older number is stale. If the answer to a start is lost, the lease decides what happens next.

        Raises:
            UnavailableError: The store did not answer; deliver the message again.
            NoCapacityError: There is no capacity for a finalize-only execution; deliver the message again.
            StartRefusedError: The platform refused to start it for another reason; likewise.
        """
        try:
            match message.kind:
                case EntryKind.JOB:
                    stored = self._claim(message)
                case EntryKind.FINALIZE:
                    stored = self._claim_finalize(message)
                case _:
                    assert_never(message.kind)
        except (StaleWorkerError, IllegalTransitionError, SubmissionNotFoundError):
            return Dispatched.STALE
        except CelldropError as error:
            if error.retryable:
                raise
            return self._refuse(message, error)
        return self._start(stored.value, message)

    def _claim(self, message: JobMessage) -> Stored[Submission]:
        token = self.new_token()

        def change(record: Submission, now: datetime) -> Submission:
            if record.epoch + 1 != message.epoch:
                raise StaleWorkerError(f"{record.id} is in epoch {record.epoch}", expected=f"{message.epoch - 1}")
            plan = plan_of(record, self.fleet)
            return machine.claim(record, now=now, token=token, plan=plan, limits=self.limits)

        return update(self.store, message.submission_id, change)

    def _claim_finalize(self, message: JobMessage) -> Stored[Submission]:
        return update(
            self.store,
            message.submission_id,
            lambda record, now: machine.claim_finalize(record, epoch=message.epoch, number=message.number, now=now),
        )

    def _start(self, record: Submission, message: JobMessage) -> Dispatched:
        try:
            execution = self.jobs.start(self._request(record, message))
        except (NoCapacityError, StartRefusedError) as error:
            why = NotStarted.of(error)
            if message.kind is EntryKind.FINALIZE:
                self._hand_back(message, why)
                raise
            return self._not_started(record, why)
        except CelldropError as error:
            if error.retryable:  # It may have started. Wait for the lease to expire instead of starting a second one.
                return Dispatched.UNKNOWN
            failure = Failure.of(error)
            return self._end(
                record.id, record.epoch, lambda at, now: machine.fail(at, failure, now=now), Dispatched.FAILED
            )
        self._note(record, execution)
        return Dispatched.STARTED

    def _not_started(self, record: Submission, why: NotStarted) -> Dispatched:
        """Record that nothing was started. The work itself has not failed, so the start is retried up to a deadline."""
        return self._end(
            record.id,
            record.epoch,
            lambda at, now: machine.not_started(at, why, now=now, limits=self.limits),
            Dispatched.WAITING if why.obstacle is Obstacle.NO_ROOM else Dispatched.REFUSED,
        )

    def _refuse(self, message: JobMessage, error: CelldropError) -> Dispatched:
        """Fail a submission that can never be planned (an unknown option, say), so that redelivery stops."""

        def change(newest: Submission, now: datetime) -> Submission:
            if newest.state is not State.QUEUED:
                raise StaleWorkerError(f"{newest.id} is {newest.state}", expected="QUEUED")
            return machine.fail(newest, Failure.of(error), now=now)

        return self._end(message.submission_id, message.epoch - 1, change, Dispatched.FAILED)

    def _request(self, record: Submission, message: JobMessage) -> JobRequest:
        assert record.plan is not None
        finalize_only = message.kind is EntryKind.FINALIZE
        return JobRequest(
            submission_id=record.id,
            epoch=record.epoch,
            n_tasks=1 if finalize_only else record.plan.n_tasks,
            accelerator=Accelerator.CPU if finalize_only else record.plan.accelerator,
            timeout_s=self.task_timeout_s,
            finalize_only=finalize_only,
        )

    def _note(self, record: Submission, execution: str) -> None:
        try:
            update(
                self.store,
                record.id,
                lambda now_record, _: machine.note_execution(now_record, epoch=record.epoch, execution=execution),
            )
        except StaleWorkerError:
            self.jobs.cancel(execution)

    def _hand_back(self, message: JobMessage, why: NotStarted) -> None:
        def change(newest: Submission, now: datetime) -> Submission:
            return machine.return_finalize(newest, why, epoch=message.epoch, number=message.number, now=now)

        with suppress(StaleWorkerError):
            update(self.store, message.submission_id, change)

    def _end(self, submission_id: str, epoch: int, change: machine.Change, outcome: Dispatched) -> Dispatched:
        """Change a record and drain its outbox, if it is still in this epoch; otherwise the message is stale."""

        def in_epoch(newest: Submission, now: datetime) -> Submission:
            if newest.epoch != epoch:
                raise StaleWorkerError(f"{newest.id} is in epoch {newest.epoch}", expected=str(epoch))
            return change(newest, now)

        try:
            self.outbox.pay(update(self.store, submission_id, in_epoch))
        except (StaleWorkerError, IllegalTransitionError):
            return Dispatched.STALE
        return outcome
