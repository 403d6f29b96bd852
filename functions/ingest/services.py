"""Ingest: a drop becomes a submission, QUEUED or REJECTED, written once; a second delivery finds it and joins."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import assert_never

from functions.ingest.data_manager import IngestData
from functions.ingest.schemas import Asked, Drop, StorageObject
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

        Idempotent: what an event asks for (options, generation) is resolved at its first delivery and kept under the
        event's own identity, so that a later delivery means the same, whatever has changed since. Then as ``accept``.

        Args:
            sent_at: When it was sent first; what may mend itself is waited for from then on, not for ever.

        Raises:
            UnavailableError: A store or bus did not answer; deliver the event again.
            AccessDeniedError: One that may not be asked yet; likewise.
        """
        request = self._resolved(told, sent_at)
        return self._admit(request, sent_at) if request else None

    def ask(self, asked: AnnotationRequest, message_id: str, sent_at: datetime | None = None) -> Stored[Submission]:
        """Make, or join, the submission that another system asks for; a refusal is told like any other outcome.

        Idempotent: as ``take``; the message's id is the same at every delivery.

        Raises:
            UnavailableError: A store or bus did not answer; deliver the message again.
        """
        stored = self.take(Asked(asked, message_id), sent_at)
        assert stored is not None
        return stored

    def accept(self, drop: Drop, sent_at: datetime | None = None) -> Stored[Submission]:
        """Make, or join, the submission of a drop.

        Idempotent: the id comes from the drop, the record is created only where none is, and the outbox has
        constant ids. A crash before the create leaves no record, so that a redelivery goes on.

        Raises:
            UnavailableError: A store or bus did not answer; deliver the event again.
        """
        return self._admit(drop.request, sent_at)

    def _resolved(self, told: StorageObject | Asked, sent_at: datetime | None) -> Request | None:
        event = told.identity
        known = self.store.resolved(event) if event else None
        if known is not None:
            return known
        match told:
            case StorageObject():
                request = self._dropped(told, sent_at)
            case Asked():
                request = self._asked(told, sent_at)
            case _:
                assert_never(told)
        return self.store.resolve(event, request) if event and request else request

    def _dropped(self, told: StorageObject, sent_at: datetime | None) -> Request | None:
        try:
            drop = self.data.drop_of(told)
        except Exception as error:  # noqa: BLE001  # raised again, but for what is final
            # Its options cannot be read; what is known of it is recorded with the reason, under an id of its own: who
            # asks for the same object with options that can be read must not meet this refusal.
            refusal = self._final(error, sent_at, DROP_PATIENCE)
            return Request(told.ref, {}, f"refused/{told.identity}", refusal=refusal)
        return drop.request if drop else None

    def _asked(self, told: Asked, sent_at: datetime | None) -> Request:
        asked = told.request
        try:
            return self.data.asked_for(asked).request
        except Exception as error:  # noqa: BLE001  # likewise
            # Under an id of its own: who asks again once the object is there must not meet this refusal.
            return Request(
                ObjectRef(asked.bucket, asked.name, asked.generation or 0),
                asked.options,
                f"refused/{told.message_id}",
                Requester(asked.correlation_id, asked.source),
                self._final(error, sent_at, REQUEST_PATIENCE),
            )

    def _admit(self, request: Request, sent_at: datetime | None) -> Stored[Submission]:
        return self.outbox.pay(self._stored(request, sent_at))

    def _join(self, request: Request) -> Stored[Submission]:
        who = request.requester
        if who is None:
            return self.store.get(request.id)

        def join(record: Submission, _now: datetime) -> Submission:
            if self._has_asked(record, who):
                return record
            if admission.turns_page(record, who):
                # Before the record says that it is there; a full page never changes, so that twice is harmless.
                self.store.put_page(record.id, record.pages, record.requesters)
            return admission.join(record, who)

        return update(self.store, request.id, join)

    def _has_asked(self, record: Submission, who: Requester) -> bool:
        """Whether a requester is on an earlier page; whoever asks again and again is nearly always on the last."""
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
                # No fault of the file's: who asks again must not meet this refusal.
                request = replace(request, rerun_token=f"refused/{sent_at}")
            return admission.rejected(request, failure, None)
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
