"""An event whose deliveries are killed, so that none of them can say what is wrong, still ends in a record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from functions.ingest.schemas import RequestMessage, StorageObject
from functions.ingest.services import Ingest
from shared.bundles.card import ModelCard
from shared.domain.errors import UnavailableError
from shared.domain.options import Options
from shared.domain.submission import ObjectRef, State
from shared.domain.verdict import Verdict
from shared.records.messages import AnnotationRequest
from tests.fakes.calls import nothing
from tests.fakes.clock import START
from tests.services.house import House


class Killed(BaseException):
    """Ends a delivery where it stands: no code of ours sees it."""


def kill(_source: ObjectRef, _card: ModelCard, _options: Options, _others: object) -> Verdict:
    raise Killed


def fail(_source: ObjectRef, _card: ModelCard, _options: Options, _others: object) -> Verdict:
    raise UnavailableError("no answer")


def dropped(house: House) -> StorageObject:
    ref = house.source
    return StorageObject(bucket=ref.bucket, name=ref.name, generation=ref.generation, metageneration=1)


def requested(_house: House, message_id: str = "7") -> RequestMessage:
    return RequestMessage(AnnotationRequest(bucket="inbox", name="sample.h5ad", correlation_id="lims"), message_id)


KINDS = pytest.mark.parametrize("kind", [dropped, requested])
Kind = Callable[[House], StorageObject | RequestMessage]


def ingest(house: House, minutes: float, validate: Callable[..., Verdict] | None = None) -> Ingest:
    """Ingest, so many minutes after the event was sent."""
    now = START + timedelta(minutes=minutes)
    return replace(house.ingest, validate=validate or house.ingest.validate, now=lambda: now)


def killed_for(house: House, kind: Kind, minutes: int, since: int = 0) -> None:
    """Deliver every ten minutes, as the platform does at most; each delivery is killed."""
    for minute in range(since, minutes, 10):
        with pytest.raises(Killed):
            ingest(house, minute, kill).handle(kind(house), START)


@KINDS
def test_an_event_whose_deliveries_are_killed_for_two_hours_is_refused_without_another_try(
    house: House, kind: Kind
) -> None:
    killed_for(house, kind, 120)
    assert house.store.find() == []
    refused = ingest(house, 120, kill).handle(kind(house), START)
    assert refused is not None
    assert refused.value == house.only()
    assert refused.value.failure is not None
    assert (refused.value.state, refused.value.failure.code) == (State.REJECTED, "UNAVAILABLE")
    assert "memory" in refused.value.failure.hint
    again = house.ingest.handle(kind(house), START)
    assert again is not None
    assert again.value == house.only()


def test_a_request_sent_again_does_not_find_the_refusal(house: House) -> None:
    killed_for(house, requested, 120)
    ingest(house, 120, kill).handle(requested(house), START)
    again = house.ingest.handle(requested(house, "8"), START)
    assert again is not None
    assert again.value.state is State.QUEUED


@KINDS
@pytest.mark.parametrize("failed_at", [55, 85, 115])
def test_a_delivery_that_says_what_is_wrong_is_not_counted_as_killed(house: House, kind: Kind, failed_at: int) -> None:
    killed_for(house, kind, failed_at)
    with pytest.raises(UnavailableError):
        ingest(house, failed_at, fail).handle(kind(house), START)
    killed_for(house, kind, 121, since=failed_at + 1)
    stored = ingest(house, 125).handle(kind(house), START)
    assert stored is not None
    assert stored.value.state is State.QUEUED


@KINDS
def test_an_event_that_arrives_late_is_tried(house: House, kind: Kind) -> None:
    killed_for(house, kind, 181, since=180)
    stored = ingest(house, 181).handle(kind(house), START)
    assert stored is not None
    assert stored.value.state is State.QUEUED


@KINDS
def test_restarts_and_a_gap_are_not_taken_for_a_killed_inspection(house: House, kind: Kind) -> None:
    """Two deliveries are cut off, as new versions are deployed, and none reaches the function for a while."""
    for minute in (0, 5, 25, 40):
        killed_for(house, kind, minute + 1, since=minute)
    stored = ingest(house, 200).handle(kind(house), START)
    assert stored is not None
    assert stored.value.state is State.QUEUED


@KINDS
def test_a_database_that_goes_away_during_a_delivery_is_not_taken_for_a_kill(house: House, kind: Kind) -> None:
    def goes_away(_source: ObjectRef, _card: ModelCard, _options: Options, _others: object) -> Verdict:
        house.store.hook = no_answer
        return house.verdict

    def no_answer(name: str) -> None:
        raise UnavailableError(f"no answer to {name}")

    for minute in (0, 28):
        house.store.hook = nothing
        with pytest.raises(UnavailableError):
            ingest(house, minute, goes_away).handle(kind(house), START)
    house.store.hook = nothing
    stored = ingest(house, 130).handle(kind(house), START)
    assert stored is not None
    assert stored.value.state is State.QUEUED


@KINDS
def test_a_delivery_that_succeeds_after_many_were_killed_is_accepted(house: House, kind: Kind) -> None:
    killed_for(house, kind, 110)
    stored = ingest(house, 119).handle(kind(house), START)
    assert stored is not None
    assert stored.value.state is State.QUEUED
    assert ingest(house, 180, kill).handle(kind(house), START) == stored
