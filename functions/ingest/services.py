"""Ingest: a drop becomes a submission, QUEUED or REJECTED, written once; a second delivery finds it and joins."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import assert_never

from functions.ingest.data_manager import IngestData
from functions.ingest.schemas import Asked, Drop, StorageObject
from shared.bundle import ModelCard
from shared.domain import admission
from shared.domain.admission import Request
from shared.domain.errors import (
    CelldropError,
    InternalError,
    PreconditionFailedError,
    SubmissionNotFoundError,
    UnavailableError,
)
from shared.domain.options import parse_options
from shared.domain.plan import Fleet
from shared.domain.planning import with_forecast
from shared.domain.submission import Failure, ObjectRef, Requester, Submission
from shared.domain.verdict import Verdict
from shared.messages import AnnotationRequest
from shared.outbox import Outbox
from shared.ports.status import StatusStore, Stored
from shared.updates import update

log = logging.getLogger(__name__)

Validate = Callable[[ObjectRef, ModelCard, str | None], Verdict]

FAULT_PATIENCE = timedelta(hours=1)
"""From when an event was sent, for what may mend itself: a grant takes minutes to be known everywhere."""
DROP_PATIENCE, REQUEST_PATIENCE = timedelta(hours=20), timedelta(hours=2)
"""For a service that does not answer. Eventarc keeps an event for 24 hours; the 20 attempts at a request take two and a
half, and then it is in the dead-letter topic. Both are to end in a record."""


def utc_now() -> datetime:
    """The time by this machine's clock: good enough beside hours."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Ingest:
    """The service: decides once, stores before it tells, and tells as often as it takes.

    Attributes:
        fleet: What dispatch will plan with, so that a verdict can tell what its plan will take.
        now: Beside the time that an event was sent at, how long it has been delivered in vain.
    """

    store: StatusStore
    outbox: Outbox
    data: IngestData
    validate: Validate
    fleet: Fleet
    now: Callable[[], datetime] = utc_now

    def take(self, told: StorageObject | Asked, sent_at: datetime | None = None) -> Stored[Submission] | None:
        """Take in what ingest was told; None for what is not a drop.

        Idempotent: as ``accept``.

        Args:
            sent_at: When it was sent first; what may mend itself is waited for from then on, not for ever.

        Raises:
            UnavailableError: A store or bus did not answer; deliver the event again.
            AccessDeniedError: One that may not be asked yet; likewise.
        """
        match told:
            case StorageObject():
                return self._take_drop(told, sent_at)
            case Asked():
                return self.ask(told.request, told.message_id, sent_at)
            case _:
                assert_never(told)

    def _take_drop(self, event: StorageObject, sent_at: datetime | None) -> Stored[Submission] | None:
        try:
            drop = self.data.drop_of(event)
        except Exception as error:  # noqa: BLE001  # raised again, but for what is final
            # Its options cannot be read; what is known of it is recorded with the reason.
            failure = self._final(error, sent_at, DROP_PATIENCE)
            return self._refused(Request(event.ref, {}), failure)
        return self.accept(drop, sent_at) if drop else None

    def ask(self, asked: AnnotationRequest, message_id: str, sent_at: datetime | None = None) -> Stored[Submission]:
        """Make, or join, the submission that another system asks for; a refusal is told like any other outcome.

        Idempotent: as ``accept``; the message's id is the same at every delivery.

        Raises:
            UnavailableError: A store or bus did not answer; deliver the message again.
        """
        try:
            drop = self.data.asked_for(asked)
        except Exception as error:  # noqa: BLE001  # likewise
            failure = self._final(error, sent_at, REQUEST_PATIENCE)
            # Under an id of its own: who asks again once the object is there must not meet this refusal.
            refused = Request(
                ObjectRef(asked.bucket, asked.name, asked.generation or 0),
                asked.options,
                f"refused/{message_id}",
                Requester(asked.correlation_id, asked.source),
            )
            return self._refused(refused, failure)
        return self.accept(drop, sent_at)

    def accept(self, drop: Drop, sent_at: datetime | None = None) -> Stored[Submission]:
        """Make, or join, the submission of a drop.

        Idempotent: the id comes from the drop, the record is created only where none is, and the outbox has
        constant ids. A crash before the create leaves nothing, so that a redelivery starts afresh.

        Raises:
            UnavailableError: A store or bus did not answer; deliver the event again.
        """
        request = Request(drop.source, drop.options, drop.rerun_token, drop.requester)
        return self.outbox.pay(self._stored(request, lambda: self._decide(request, sent_at)))

    def _refused(self, request: Request, failure: Failure) -> Stored[Submission]:
        return self.outbox.pay(self._stored(request, lambda: admission.rejected(request, failure, None)))

    def _join(self, request: Request) -> Stored[Submission]:
        who = request.requester
        if who is None:
            return self.store.get(request.id)
        return update(self.store, request.id, lambda record, _: admission.join(record, who))

    def _stored(self, request: Request, decide: Callable[[], Submission]) -> Stored[Submission]:
        try:
            return self._join(request)
        except SubmissionNotFoundError:
            pass
        try:
            return self.store.create(decide())
        except PreconditionFailedError:
            return self._join(request)

    def _decide(self, request: Request, sent_at: datetime | None) -> Submission:
        try:
            options = parse_options(request.requested)
            card, model = self.data.model(options.model)
            verdict = self.validate(request.source, card, options.matrix)
        except Exception as error:  # noqa: BLE001  # likewise
            patience = REQUEST_PATIENCE if request.requester else DROP_PATIENCE
            return admission.rejected(request, self._final(error, sent_at, patience), None)
        if not verdict.accepted:
            reason = verdict.refusals[0]
            return admission.rejected(request, Failure(reason.code, reason.message, reason.hint), verdict)
        return admission.queued(request, with_forecast(verdict, model.cost, self.fleet, request.requested), model)

    def _final(self, error: Exception, sent_at: datetime | None, silence: timedelta) -> Failure:
        """The failure to record; what another delivery may not meet is raised again, while there is time for that.

        Args:
            silence: How long to wait for a service that does not answer.
        """
        if isinstance(error, CelldropError) and not error.retryable:
            return Failure.of(error)
        patience = silence if isinstance(error, UnavailableError) else FAULT_PATIENCE
        if sent_at is None or self.now() - sent_at < patience:
            raise error
        if isinstance(error, CelldropError):
            return Failure.of(error)
        log.error("a fault of ours at every delivery", exc_info=error)
        hint = "Please report it, with the log of the ingest function at this time."
        return Failure.of(InternalError(f"{type(error).__name__} while the file was looked at", hint=hint))
