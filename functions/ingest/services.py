"""Ingest: a drop becomes a submission, QUEUED or REJECTED, written once; a second delivery finds it and joins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import assert_never

from functions.ingest.data_manager import IngestData
from functions.ingest.schemas import Asked, Drop, StorageObject
from shared.bundle import ModelCard
from shared.domain import admission
from shared.domain.admission import Request
from shared.domain.errors import (
    BucketNotAllowedError,
    InputError,
    InputNotFoundError,
    InvalidBundleError,
    InvalidOptionError,
    ModelNotFoundError,
    PreconditionFailedError,
    SubmissionNotFoundError,
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

Validate = Callable[[ObjectRef, ModelCard, str | None], Verdict]


@dataclass(frozen=True, slots=True)
class Ingest:
    """The service: decides once, stores before it tells, and tells as often as it takes.

    Attributes:
        fleet: What dispatch will plan with, so that a verdict can tell what its plan will take.
    """

    store: StatusStore
    outbox: Outbox
    data: IngestData
    validate: Validate
    fleet: Fleet

    def take(self, told: StorageObject | Asked) -> Stored[Submission] | None:
        """Take in what ingest was told; None for what is not a drop.

        Idempotent: what an event asks for (options, generation) is resolved at its first delivery and kept under the
        event's own identity, so that a later delivery means the same, whatever has changed since. Then as ``accept``.

        Raises:
            UnavailableError: A store or bus did not answer; deliver the event again.
        """
        request = self._resolved(told)
        return self._admit(request) if request else None

    def ask(self, asked: AnnotationRequest, message_id: str) -> Stored[Submission]:
        """Make, or join, the submission that another system asks for; a refusal is told like any other outcome.

        Idempotent: as ``take``; the message's id is the same at every delivery.

        Raises:
            UnavailableError: A store or bus did not answer; deliver the message again.
        """
        stored = self.take(Asked(asked, message_id))
        assert stored is not None
        return stored

    def accept(self, drop: Drop) -> Stored[Submission]:
        """Make, or join, the submission of a drop.

        Idempotent: the id comes from the drop, the record is created only where none is, and the outbox has
        constant ids. A crash before the create leaves no record, so that a redelivery goes on.

        Raises:
            UnavailableError: A store or bus did not answer; deliver the event again.
        """
        return self._admit(drop.request)

    def _resolved(self, told: StorageObject | Asked) -> Request | None:
        event = told.identity
        known = self.store.resolved(event) if event else None
        if known is not None:
            return known
        match told:
            case StorageObject():
                drop = self.data.drop_of(told)
                request = drop.request if drop else None
            case Asked():
                request = self._asked(told)
            case _:
                assert_never(told)
        return self.store.resolve(event, request) if event and request else request

    def _asked(self, told: Asked) -> Request:
        asked = told.request
        try:
            return self.data.asked_for(asked).request
        except (BucketNotAllowedError, InputNotFoundError) as error:
            # Under an id of its own: who asks again once the object is there must not meet this refusal.
            return Request(
                ObjectRef(asked.bucket, asked.name, asked.generation or 0),
                asked.options,
                f"refused/{told.message_id}",
                Requester(asked.correlation_id, asked.source),
                Failure.of(error),
            )

    def _admit(self, request: Request) -> Stored[Submission]:
        return self.outbox.pay(self._stored(request))

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

    def _stored(self, request: Request) -> Stored[Submission]:
        try:
            return self._join(request)
        except SubmissionNotFoundError:
            pass
        try:
            return self.store.create(self._decide(request))
        except PreconditionFailedError:
            return self._join(request)

    def _decide(self, request: Request) -> Submission:
        if request.refusal is not None:
            return admission.rejected(request, request.refusal, None)
        try:
            options = parse_options(request.requested)
            card, model = self.data.model(options.model)
            verdict = self.validate(request.source, card, options.matrix)
        except (InputError, InvalidOptionError, ModelNotFoundError, InvalidBundleError) as error:
            return admission.rejected(request, Failure.of(error), None)
        if not verdict.accepted:
            reason = verdict.refusals[0]
            return admission.rejected(request, Failure(reason.code, reason.message, reason.hint), verdict)
        return admission.queued(request, with_forecast(verdict, model.cost, self.fleet, request.requested), model)
