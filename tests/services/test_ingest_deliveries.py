"""What is delivered again leads to the same submission, even if one delivery gives up while another one succeeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from functions.ingest.retrying import RETRY_TIMES
from functions.ingest.schemas import RequestMessage, StorageObject
from functions.ingest.services import Ingest
from shared.bundles.card import ModelCard
from shared.domain.errors import (
    AccessDeniedError,
    BlobNotFoundError,
    CelldropError,
    CorruptBlobError,
    InputChangedError,
    InternalError,
    InvalidBundleError,
    ModelNotFoundError,
    SettingsError,
    UnavailableError,
)
from shared.domain.options import Options
from shared.domain.submission import ObjectRef, State, Submission, Topic
from shared.domain.verdict import Verdict
from shared.records.messages import AnnotationRequest
from tests.fakes.calls import FailNext, nothing
from tests.fakes.clock import START
from tests.services.house import House

Event = StorageObject | RequestMessage


def dropped(house: House) -> Event:
    ref = house.source
    return StorageObject(bucket=ref.bucket, name=ref.name, generation=ref.generation, metageneration=1)


def requested(house: House, message_id: str = "7") -> Event:
    asked = AnnotationRequest(bucket="inbox", name=house.source.name, correlation_id="lims")
    return RequestMessage(asked, message_id)


def requested_at_its_generation(house: House, message_id: str = "7") -> Event:
    asked = AnnotationRequest(
        bucket="inbox", name=house.source.name, correlation_id="lims", generation=house.source.generation
    )
    return RequestMessage(asked, message_id)


KINDS = [dropped, requested, requested_at_its_generation]


def failing(house: House, error: Exception, *, waited: timedelta = timedelta(days=1)) -> Ingest:
    """Ingest that cannot inspect a file, some time after an event was sent."""

    def fail(_source: ObjectRef, _card: ModelCard, _options: Options, _others: object) -> Verdict:
        raise error

    return replace(house.ingest, validate=fail, now=lambda: START + waited)


def gives_up(house: House, event: Event) -> Submission:
    """The end of a long time in which every delivery failed."""
    error = UnavailableError("no answer")
    with suppress(UnavailableError):  # A refusal that is found is no error.
        failing(house, error, waited=timedelta(hours=23)).handle(event, START)
    stored = failing(house, error).handle(event, START)
    assert stored is not None
    return stored.value


def succeeds(house: House, event: Event) -> Submission:
    stored = house.ingest.handle(event, START)
    assert stored is not None
    return stored.value


def test_a_delivery_while_the_first_is_still_looked_at_makes_no_second_submission(house: House) -> None:
    """Eventarc waits ten seconds for an answer: a large file takes longer to look at."""
    looked = house.ingest.validate

    def slowly(source: ObjectRef, card: ModelCard, options: Options, others: Sequence[ModelCard]) -> Verdict:
        if not house.store.find():
            house.accept()
        return looked(source, card, options, others)

    first = replace(house.ingest, validate=slowly).submit(house.drop())
    assert first.value == house.only()
    assert len(house.bus.messages(Topic.JOBS)) == 1
    assert len(house.bus.messages(Topic.EVENTS)) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_refusal_for_trouble_of_ours_is_found_by_every_later_delivery(
    house: House, kind: Callable[[House], Event]
) -> None:
    refused = gives_up(house, kind(house))
    assert (refused.state, refused.failure and refused.failure.code) == (State.REJECTED, "UNAVAILABLE")
    assert succeeds(house, kind(house)) == refused
    assert house.only() == refused
    assert len(house.bus.messages(Topic.EVENTS)) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("error", [UnavailableError("no answer"), AccessDeniedError("a grant that is a minute old")])
def test_an_event_that_arrives_late_is_retried_all_the_same(
    house: House, kind: Callable[[House], Event], error: CelldropError
) -> None:
    for minutes in (0, 1, 15):
        with pytest.raises(type(error)):
            failing(house, error, waited=timedelta(hours=21, minutes=minutes)).handle(kind(house), START)
    assert house.store.find() == []
    refused = failing(house, error, waited=timedelta(hours=21, minutes=31)).handle(kind(house), START)
    assert refused is not None
    assert refused.value.state is State.REJECTED


@pytest.mark.parametrize("again", [requested, requested_at_its_generation])
@pytest.mark.parametrize("kind", KINDS)
def test_a_request_sent_again_does_not_find_a_refusal_for_trouble_of_ours(
    house: House, kind: Callable[[House], Event], again: Callable[[House, str], Event]
) -> None:
    refused = gives_up(house, kind(house))
    accepted = succeeds(house, again(house, "8"))
    assert (accepted.state, accepted.failure) == (State.QUEUED, None)
    assert accepted.id != refused.id
    assert [requester.correlation_id for requester in accepted.requesters] == ["lims"]


@pytest.mark.parametrize("kind", KINDS)
def test_who_was_refused_for_trouble_of_ours_does_not_join_what_others_asked_for(
    house: House, kind: Callable[[House], Event]
) -> None:
    refused = gives_up(house, kind(house))
    other = AnnotationRequest(bucket="inbox", name=house.source.name, correlation_id="other")
    accepted = succeeds(house, RequestMessage(other, "8"))
    assert succeeds(house, kind(house)) == refused
    assert house.store.get(accepted.id).value == accepted


class At:
    """Does something at the nth call of a store, once."""

    def __init__(self, nth: int, act: Callable[[], object]) -> None:
        self.left = nth
        self.act = act

    def __call__(self, moment: str) -> None:
        if not moment.startswith("status."):
            return
        self.left -= 1
        if self.left == 0:
            self.act()

    @property
    def struck(self) -> bool:
        return self.left <= 0


def meanwhile(
    kind: Callable[[House], Event],
    nth: int,
    first: Callable[[House, Event], Submission],
    second: Callable[[House, Event], Submission],
) -> bool:
    """Let one delivery run at the nth store call of another one. Returns whether there are that many."""
    house = House()
    event = kind(house)
    outcomes: set[str] = set()

    def deliver(how: Callable[[House, Event], Submission]) -> None:
        try:
            outcomes.add(how(house, event).id)
        except UnavailableError:
            return

    house.store.hook = at = At(nth, lambda: deliver(second))
    deliver(first)
    house.store.hook = nothing
    outcomes.add(succeeds(house, event).id)
    outcomes.add(gives_up(house, event).id)
    assert outcomes == {house.only().id}
    told = {message.attributes["ce-type"] for message in house.bus.messages(Topic.EVENTS)}
    assert told <= {f"celldrop.submission.{'rejected' if house.only().state is State.REJECTED else 'accepted'}.v1"}
    return at.struck


@pytest.mark.parametrize(("first", "second"), [(gives_up, succeeds), (succeeds, gives_up)])
@pytest.mark.parametrize("kind", KINDS)
def test_of_two_deliveries_at_the_same_time_one_decides_for_both(
    kind: Callable[[House], Event],
    first: Callable[[House, Event], Submission],
    second: Callable[[House, Event], Submission],
) -> None:
    nth = 1
    while meanwhile(kind, nth, first, second):
        nth += 1
    assert nth > 8


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_decided_before_a_crash_is_refused_under_its_own_id_if_the_trouble_lasts(
    house: House, kind: Callable[[House], Event]
) -> None:
    house.store.hook = FailNext("status.create", UnavailableError("no answer"))
    with pytest.raises(UnavailableError):
        succeeds(house, kind(house))
    refused = gives_up(house, kind(house))
    assert (refused.state, refused.rerun_token) == (State.REJECTED, None)
    assert succeeds(house, kind(house)) == refused == house.only()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "error",
    [
        AccessDeniedError("no right to read"),
        BlobNotFoundError("the model's card is gone"),
        CorruptBlobError("the bytes came with another checksum"),
        InternalError("the service refuses the request"),
        SettingsError("there is no bucket 'models'"),
        ZeroDivisionError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_fault_that_is_not_the_files_is_retried_for_an_hour_and_then_recorded(
    house: House, kind: Callable[[House], Event], error: Exception
) -> None:
    soon = failing(house, error, waited=RETRY_TIMES.fault - timedelta(seconds=1))
    with pytest.raises(type(error)):
        soon.handle(kind(house), START)
    assert house.store.find() == []
    refused = failing(house, error, waited=RETRY_TIMES.fault).handle(kind(house), START)
    assert refused is not None
    assert refused.value.failure is not None
    assert refused.value.failure.code == getattr(error, "code", "INTERNAL")
    assert succeeds(house, requested(house, "8")).state is State.QUEUED


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "error",
    [InputChangedError("replaced"), InvalidBundleError("no labels"), ModelNotFoundError("no such model")],
    ids=lambda error: type(error).__name__,
)
def test_a_fault_of_the_file_or_the_request_is_recorded_at_once(
    house: House, kind: Callable[[House], Event], error: Exception
) -> None:
    refused = failing(house, error, waited=timedelta(0)).handle(kind(house), START)
    assert refused is not None
    assert refused.value.state is State.REJECTED
    assert succeeds(house, requested(house, "8")).id == refused.value.id
