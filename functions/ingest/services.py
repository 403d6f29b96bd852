"""Ingest: a drop becomes a submission, QUEUED or REJECTED, written once; a second delivery finds it and joins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from functions.ingest.data_manager import IngestData
from functions.ingest.schemas import Drop
from shared.bundle import ModelCard
from shared.domain import admission
from shared.domain.admission import Request
from shared.domain.errors import (
    InputError,
    InvalidBundleError,
    InvalidOptionError,
    ModelNotFoundError,
    PreconditionFailedError,
    SubmissionNotFoundError,
)
from shared.domain.options import parse_options
from shared.domain.submission import Failure, ObjectRef, Submission
from shared.domain.verdict import Verdict
from shared.outbox import Outbox
from shared.ports.status import StatusStore, Stored
from shared.updates import update

Validate = Callable[[ObjectRef, ModelCard, str | None], Verdict]


@dataclass(frozen=True, slots=True)
class Ingest:
    """The service: decides once, stores before it tells, and tells as often as it takes."""

    store: StatusStore
    outbox: Outbox
    data: IngestData
    validate: Validate

    def accept(self, drop: Drop) -> Stored[Submission]:
        """Make, or join, the submission of a drop.

        Idempotent: the id comes from the drop, the record is created only where none is, and the outbox has
        constant ids. A crash before the create leaves nothing, so that a redelivery starts afresh.

        Raises:
            UnavailableError: A store or bus did not answer; deliver the event again.
        """
        request = Request(drop.source, drop.options, drop.rerun_token, drop.requester)
        try:
            stored = self._join(request)
        except SubmissionNotFoundError:
            stored = self._create(request)
        return self.outbox.pay(stored)

    def _join(self, request: Request) -> Stored[Submission]:
        who = request.requester
        if who is None:
            return self.store.get(request.id)
        return update(self.store, request.id, lambda record, _: admission.join(record, who))

    def _create(self, request: Request) -> Stored[Submission]:
        try:
            return self.store.create(self._decide(request))
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
        return admission.queued(request, verdict, model)
