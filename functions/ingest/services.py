"""Ingest: turns each drop into one submission, QUEUED or REJECTED. A second delivery joins the submission it finds."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import assert_never

from functions.ingest.data_manager import IngestData
from functions.ingest.schemas import Drop, RequestMessage, StorageObject
from shared.bundles.card import ModelCard
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
from shared.ports.status import StatusStore, Stored
from shared.records.messages import AnnotationRequest
from shared.records.outbox import Outbox
from shared.records.updates import update

log = logging.getLogger(__name__)

Validate = Callable[[ObjectRef, ModelCard, str | None], Verdict]

FAULT_PATIENCE = timedelta(hours=1)
"""How long after an event was sent to retry errors that may pass: a new grant takes minutes to reach every server."""
DROP_PATIENCE, REQUEST_PATIENCE = timedelta(hours=20), timedelta(hours=2)
"""How long to retry while a service does not answer, so that time is left to record the failure. Eventarc keeps an
event for 24 hours. A request gets 20 attempts in two and a half hours, and then goes to the dead-letter topic."""


def utc_now() -> datetime:
    """The time by this machine's clock, which is accurate enough for limits of hours."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Ingest:
    """The ingest service. It decides once per request, stores the decision, and only then publishes messages about it.

    Attributes:
        fleet: The machines that dispatch plans with, so that the verdict can forecast time and cost.
        now: The current time. Compared with an event's send time, it says for how long delivery has failed.
    """

    store: StatusStore
    outbox: Outbox
    data: IngestData
    validate: Validate
    fleet: Fleet
    now: Callable[[], datetime] = utc_now

    def handle(
        self, message: StorageObject | RequestMessage, sent_at: datetime | None = None
    ) -> Stored[Submission] | None:
        """Handle one event or request; None if it is not about a drop.

        Idempotent: the first delivery resolves what is requested (options, generation) and stores it under the
        event's identity. A later delivery uses the stored request, whatever has changed since. Then as ``submit``.

        Args:
            sent_at: When the event was first sent. Errors that may pass are retried for a limited time from then on.

        Raises:
            UnavailableError: A store or bus did not answer; deliver the event again.
            AccessDeniedError: A service has not granted access yet; likewise.
        """
        request = self._resolved(message, sent_at)
        return self._submit(request, sent_at) if request else None

    def handle_request(
        self, request: AnnotationRequest, message_id: str, sent_at: datetime | None = None
    ) -> Stored[Submission]:
        """Create or join the submission that another system requests. A refusal is an outcome event like any other.

        Idempotent: as ``handle``; the message's id is the same at every delivery.

        Raises:
            UnavailableError: A store or bus did not answer; deliver the message again.
        """
        stored = self.handle(RequestMessage(request, message_id), sent_at)
        assert stored is not None
        return stored

    def submit(self, drop: Drop, sent_at: datetime | None = None) -> Stored[Submission]:
        """Create or join the submission of a drop.

        Idempotent: the id is computed from the drop, the record is created only if there is none, and outbox entries
        have constant ids. A crash before the record is created leaves nothing, and a redelivery starts again.

        Raises:
            UnavailableError: A store or bus did not answer; deliver the event again.
        """
        return self._submit(drop.request, sent_at)

    def _resolved(self, message: StorageObject | RequestMessage, sent_at: datetime | None) -> Request | None:
        event = message.identity
        known = self.store.resolved(event) if event else None
        if known is not None:
            return known
        match message:
            case StorageObject():
                request = self._dropped(message, sent_at)
            case RequestMessage():
                request = self._requested(message, sent_at)
            case _:
                assert_never(message)
        return self.store.resolve(event, request) if event and request else request

    def _dropped(self, event: StorageObject, sent_at: datetime | None) -> Request | None:
        try:
            drop = self.data.drop_of(event)
        except Exception as error:  # noqa: BLE001  # raised again unless it is final
            # Its options cannot be read. The refusal is recorded under an id of its own, so that a later request for
            # the same object with readable options does not find this refusal.
            refusal = self._final(error, sent_at, DROP_PATIENCE)
            return Request(event.ref, {}, f"refused/{event.identity}", refusal=refusal)
        return drop.request if drop else None

    def _requested(self, message: RequestMessage, sent_at: datetime | None) -> Request:
        request = message.request
        try:
            return self.data.drop_of_request(request).request
        except Exception as error:  # noqa: BLE001  # likewise
            # Under an id of its own, so that a request sent again once the object exists does not find this refusal.
            return Request(
                ObjectRef(request.bucket, request.name, request.generation or 0),
                request.options,
                f"refused/{message.message_id}",
                Requester(request.correlation_id, request.source),
                self._final(error, sent_at, REQUEST_PATIENCE),
            )

    def _submit(self, request: Request, sent_at: datetime | None) -> Stored[Submission]:
        return self.outbox.pay(self._stored(request, sent_at))

    def _join(self, request: Request) -> Stored[Submission]:
        who = request.requester
        if who is None:
            return self.store.get(request.id)

        def join(record: Submission, _now: datetime) -> Submission:
            if self._is_known(record, who):
                return record
            if admission.turns_page(record, who):
                # Written before the record refers to it. A full page never changes, so writing it twice is harmless.
                self.store.put_page(record.id, record.pages, record.requesters)
            return admission.join(record, who)

        return update(self.store, request.id, join)

    def _is_known(self, record: Submission, who: Requester) -> bool:
        """Whether the requester has joined already. The latest page is searched first: repeats are usually recent."""
        if who in record.requesters:
            return True
        return any(who in self.store.page(record.id, number) for number in reversed(range(record.pages)))

    def _stored(self, request: Request, sent_at: datetime | None) -> Stored[Submission]:
        try:
            return self._join(request)
        except SubmissionNotFoundError:
            pass
        made = self._decide(request, sent_at)
        try:
            return self.store.create(made)
        except PreconditionFailedError:
            return self._join(request) if made.id == request.id else self.store.get(made.id)

    def _decide(self, request: Request, sent_at: datetime | None) -> Submission:
        if request.refusal is not None:
            return admission.rejected(request, request.refusal, None)
        try:
            options = parse_options(request.requested)
            card, model = self.data.model(options.model)
            verdict = self.validate(request.source, card, options.matrix)
        except Exception as error:  # noqa: BLE001  # likewise
            patience = REQUEST_PATIENCE if request.requester else DROP_PATIENCE
            failure = self._final(error, sent_at, patience)
            if not isinstance(error, CelldropError) or error.retryable:
                # The file is not at fault, so a request sent again must not find this refusal.
                request = replace(request, rerun_token=f"refused/{sent_at}")
            return admission.rejected(request, failure, None)
        if not verdict.accepted:
            reason = verdict.refusals[0]
            return admission.rejected(request, Failure(reason.code, reason.message, reason.hint), verdict)
        return admission.queued(request, with_forecast(verdict, model.cost, self.fleet, request.requested), model)

    def _final(self, error: Exception, sent_at: datetime | None, silence: timedelta) -> Failure:
        """The failure to record for a final error. An error that may pass is raised again, until its time is up.

        Args:
            silence: How long to retry while a service does not answer.
        """
        if isinstance(error, CelldropError) and not error.retryable:
            return Failure.of(error)
        patience = silence if isinstance(error, UnavailableError) else FAULT_PATIENCE
        if sent_at is None or self.now() - sent_at < patience:
            raise error
        if isinstance(error, CelldropError):
            return Failure.of(error)
        log.error("unexpected error at every delivery", exc_info=error)
        hint = "Please report it, with the ingest function's log of this time."
        return Failure.of(InternalError(f"{type(error).__name__} while the file was inspected", hint=hint))
