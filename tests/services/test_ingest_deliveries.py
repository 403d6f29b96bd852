"""What is delivered again: while the first delivery is still at work, and after one that ended in trouble of ours."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from shared.bundles.card import ModelCard
from shared.domain.errors import UnavailableError
from shared.domain.submission import ObjectRef, State, Topic
from shared.domain.verdict import Verdict
from tests.services.house import House

SENT = datetime(2026, 11, 29, 9, tzinfo=UTC)


def test_a_delivery_while_the_first_is_still_looked_at_makes_no_second_submission(house: House) -> None:
    """Eventarc waits ten seconds for an answer: a large file takes longer to look at."""
    looked = house.ingest.validate

    def slowly(source: ObjectRef, card: ModelCard, matrix: str | None) -> Verdict:
        if not house.store.find():
            house.accept()
        return looked(source, card, matrix)

    first = replace(house.ingest, validate=slowly).submit(house.drop())
    assert first.value == house.only()
    assert len(house.bus.messages(Topic.JOBS)) == 1
    assert len(house.bus.messages(Topic.EVENTS)) == 1


@pytest.mark.parametrize("asked_again", [timedelta(0), timedelta(hours=1)], ids=["the same event", "a later request"])
def test_who_asks_again_does_not_meet_a_refusal_for_trouble_of_ours(house: House, asked_again: timedelta) -> None:
    def unanswered(_source: ObjectRef, _card: ModelCard, _matrix: str | None) -> Verdict:
        raise UnavailableError("no answer")

    late = SENT + timedelta(days=1)
    drop = house.drop(who="lims")
    refused = replace(house.ingest, validate=unanswered, now=lambda: late).submit(drop, SENT).value
    assert (refused.state, refused.failure and refused.failure.code) == (State.REJECTED, "UNAVAILABLE")
    again = house.ingest.submit(drop, SENT + asked_again).value
    assert (again.state, again.failure) == (State.QUEUED, None)
    assert again.id != refused.id
    assert [requester.correlation_id for requester in again.requesters] == ["lims"]
