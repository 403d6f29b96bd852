"""Ingest: turns each drop into one submission, QUEUED or REJECTED. A second delivery joins the submission it finds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import assert_never

from functions.ingest.data_manager import IngestData
from functions.ingest.retrying import RETRY_TIMES, Delivery, RetryTimes, is_at_fault
from functions.ingest.schemas import Drop, RequestMessage, StorageObject
from functions.ingest.tries import Tries, killed_error
from shared.bundles.card import ModelCard
from shared.deadline import within
from shared.domain import admission
from shared.domain.admission import Request, event_key
from shared.domain.errors import CelldropError, PreconditionFailedError, SubmissionNotFoundError
from shared.domain.options import Options, parse_options
from shared.domain.plan import Fleet
from shared.domain.planning import with_forecast
from shared.domain.submission import Failure, ObjectRef, Requester, Submission, total_cost
from shared.domain.verdict import Verdict
from shared.ports.status import StatusStore, Stored
from shared.records.messages import AnnotationRequest
from shared.records.outbox import Outbox
from shared.records.updates import update

Validate = Callable[[ObjectRef, ModelCard, Options, Sequence[ModelCard]], Verdict]
"""Judges a file for a model, with options, and for the further models of a consensus."""


def utc_now() -> datetime:
    """The time by this machine's clock, which is accurate enough for limits of hours."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Ingest:
    """The ingest service. It decides once per request, stores the decision, and only then publishes messages about it.

    Attributes:
        fleet: The machines that dispatch plans with, so that the verdict can forecast time and cost.
        now: The current time. Compared with an event's send time, it says for how long delivery has failed.
        retry_times: For how long errors that may pass are retried.
        limit_s: Seconds that one delivery may wait for storage and memory; None: as long as each of them takes.
    """

    store: StatusStore
    outbox: Outbox
    data: IngestData
    validate: Validate
    fleet: Fleet
    now: Callable[[], datetime] = utc_now
    retry_times: RetryTimes = RETRY_TIMES
    limit_s: float | None = None

    def handle(
        self, message: StorageObject | RequestMessage, sent_at: datetime | None = None
    ) -> Stored[Submission] | None:
        """Handle one event or request; None if it is not about a drop.

        Idempotent: the first delivery resolves what is requested (options, generation) and stores it under the
        event's identity. A later delivery uses the stored request, whatever has changed since. Before a submission is
        created or joined, its id is stored for the event as well, and the first one stored counts: so all deliveries
        together lead to one submission, even if one of them gives up while another one succeeds.

        Args:
            sent_at: When the event was first sent. Errors that may pass are retried for a limited time from then on.

        Raises:
            UnavailableError: A store or bus did not answer; deliver the event again.
            CelldropError: Other trouble that is neither the file's nor the request's fault; likewise.
        """
        with within(self.limit_s):
            return self._handle(message, sent_at)

    def _handle(self, message: StorageObject | RequestMessage, sent_at: datetime | None) -> Stored[Submission] | None:
        event = message.identity
        delivery = Delivery(event, sent_at)
        known = self.store.resolved(event) if event else None
        request = known or self._resolve(message, delivery)
        if event and known and not known.refusal:
            settled = self.store.resolved(_settling(event))
            return self._submit_again(settled or known, replace(delivery, settled=settled is not None))
        return self._submit(request, delivery) if request else None

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

    def submit(self, drop: Drop) -> Stored[Submission]:
        """Create or join the submission of a drop that no event told of.

        Idempotent: the id is computed from the drop, the record is created only if there is none, and outbox entries
        have constant ids. A crash before the record is created leaves nothing, and the next call starts again.

        Raises:
            UnavailableError: A store or bus did not answer; try again.
        """
        return self._submit(drop.request, Delivery())

    # --- What the event asks for ---

    def _resolve(self, message: StorageObject | RequestMessage, delivery: Delivery) -> Request | None:
        match message:
            case StorageObject():
                request = self._dropped(message, delivery)
            case RequestMessage():
                request = self._requested(message, delivery)
            case _:
                assert_never(message)
        return self.store.resolve(delivery.event, request) if delivery.event and request else request

    def _dropped(self, event: StorageObject, delivery: Delivery) -> Request | None:
        try:
            drop = self.data.drop_of(event)
        except Exception as error:  # noqa: BLE001  # raised again unless it is final
            # Its options cannot be read. The refusal is recorded under an id of its own, so that a later request for
            # the same object with readable options does not find this refusal.
            asked = Request(event.ref, {})
            return delivery.refused(asked, self._failure(error, asked, delivery))
        return drop.request if drop else None

    def _requested(self, message: RequestMessage, delivery: Delivery) -> Request:
        request = message.request
        try:
            return self.data.drop_of_request(request).request
        except Exception as error:  # noqa: BLE001  # likewise
            # Under an id of its own, so that a request sent again once the object exists does not find this refusal.
            asked = Request(
                ObjectRef(request.bucket, request.name, request.generation or 0),
                request.options,
                requester=Requester(request.correlation_id, request.source),
            )
            return delivery.refused(asked, self._failure(error, asked, delivery))

    # --- The submission that it leads to ---

    def _submit_again(self, request: Request, delivery: Delivery) -> Stored[Submission]:
        """As ``_submit``, for a delivery after the first. If they are killed one after another, it is refused."""
        event, waited = delivery.event, self._waited(delivery)
        if event is None or waited is None or request.refusal is not None:
            return self._submit(request, delivery)
        tries = Tries(self.store, self.retry_times.span)
        if tries.were_killed(event, waited):
            error = killed_error()
            return self.outbox.pay(self._give_up(request, error, Failure.of(error), delivery))
        with tries.marked(event, request, waited):
            return self._submit(request, delivery)

    def _submit(self, request: Request, delivery: Delivery) -> Stored[Submission]:
        return self.outbox.pay(self._stored(request, delivery))

    def _stored(self, request: Request, delivery: Delivery) -> Stored[Submission]:
        if request.refusal is not None:
            return self._refused(request)
        is_new = self._is_new(request)
        try:
            made = self._decide(request) if is_new else None
        except Exception as error:  # noqa: BLE001  # raised again unless it is final
            return self._give_up(request, error, self._failure(error, request, delivery), delivery)
        settled = self._settle(request, delivery)
        if settled.refusal is not None:
            return self._refused(settled)
        return self._create(made, request) if made else self._join(request)

    def _give_up(self, request: Request, error: Exception, failure: Failure, delivery: Delivery) -> Stored[Submission]:
        """Refuse a request whose inspection failed at every delivery, through no fault of its own."""
        settled = self._settle(delivery.refused(request, failure), delivery)
        if settled.refusal is None:
            raise error  # Another delivery has succeeded just now. The next one finds its submission.
        return self._refused(settled)

    def _settle(self, request: Request, delivery: Delivery) -> Request:
        """Store which submission the event leads to, unless another delivery has. Returns what is stored."""
        if delivery.event is None or delivery.settled:
            return request
        return self.store.resolve(_settling(delivery.event), request)

    def _refused(self, request: Request) -> Stored[Submission]:
        assert request.refusal is not None
        return self._create(admission.rejected(request, request.refusal, None), request)

    def _create(self, made: Submission, request: Request) -> Stored[Submission]:
        try:
            return self.store.create(made)
        except PreconditionFailedError:
            return self._join(request)

    def _is_new(self, request: Request) -> bool:
        try:
            self.store.get(request.id)
        except SubmissionNotFoundError:
            return True
        return False

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

    def _decide(self, request: Request) -> Submission:
        """Inspect the file. Raises only what is neither the file's nor the request's fault."""
        try:
            options = parse_options(request.requested)
            card, model = self.data.model(options.model)
            cards, others = self.data.others(options.consensus, card)
            verdict = self.data.naming_models(self.validate(request.source, card, options, cards))
        except CelldropError as error:
            if not is_at_fault(error):
                raise
            return admission.rejected(request, Failure.of(error), None)
        if not verdict.accepted:
            reason = verdict.refusals[0]
            return admission.rejected(request, Failure(reason.code, reason.message, reason.hint), verdict)
        verdict = with_forecast(verdict, total_cost(model, others), self.fleet, request.requested)
        return admission.queued(request, verdict, model, others)

    def _failure(self, error: Exception, request: Request, delivery: Delivery) -> Failure:
        """The failure to record for an error. One that may pass is raised again, until it was retried long enough."""
        event, waited = delivery.event, self._waited(delivery)
        final = partial(self.retry_times.failure, error, waited, requested=request.requester is not None)
        if not event or waited is None or is_at_fault(error):
            return final()
        tries = Tries(self.store, self.retry_times.span)
        tries.note_failure(event, request, waited)
        failure = final()
        if not tries.have_failed(event, waited):
            raise error
        return failure

    def _waited(self, delivery: Delivery) -> timedelta | None:
        return self.now() - delivery.sent_at if delivery.sent_at else None


def _settling(event: str) -> str:
    """The key of the document that says which submission an event leads to, for good."""
    return event_key("settled", event)
