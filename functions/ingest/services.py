"""Ingest: a drop becomes a submission, QUEUED or REJECTED, written once; a second delivery finds it and joins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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

        Idempotent: as ``accept``.

        Raises:
            UnavailableError: A store or bus did not answer; deliver the event again.
        """
        match told:
            case StorageObject():
                drop = self.data.drop_of(told)
                return self.accept(drop) if drop else None
            case Asked():
                return self.ask(told.request, told.message_id)
            case _:
                assert_never(told)

    def ask(self, asked: AnnotationRequest, message_id: str) -> Stored[Submission]:
        """Make, or join, the submission that another system asks for; a refusal is told like any other outcome.

        Idempotent: as ``accept``; the message's id is the same at every delivery.

        Raises:
            UnavailableError: A store or bus did not answer; deliver the message again.
        """
        try:
            return self.accept(self.data.asked_for(asked))
        except (BucketNotAllowedError, InputNotFoundError) as error:
            # Under an id of its own: who asks again once the object is there must not meet this refusal.
            refused = Request(
                ObjectRef(asked.bucket, asked.name, asked.generation or 0),
                asked.options,
                f"refused/{message_id}",
                Requester(asked.correlation_id, asked.source),
            )
            failure = Failure.of(error)
            return self.outbox.pay(self._stored(refused, lambda: admission.rejected(refused, failure, None)))

    def accept(self, drop: Drop) -> Stored[Submission]:
        """Make, or join, the submission of a drop.

        Idempotent: the id comes from the drop, the record is created only where none is, and the outbox has
        constant ids. A crash before the create leaves nothing, so that a redelivery starts afresh.

        Raises:
            UnavailableError: A store or bus did not answer; deliver the event again.
        """
        request = Request(drop.source, drop.options, drop.rerun_token, drop.requester)
        return self.outbox.pay(self._stored(request, lambda: self._decide(request)))

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

    def _decide(self, request: Request) -> Submission:
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
