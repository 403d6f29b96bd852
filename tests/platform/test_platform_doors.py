"""Whatever is posted to a door is answered by decision: taken, acknowledged or refused, never 5xx and then for ever."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeAlias

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings

from shared.access.cloud_events import BATCH
from shared.access.identity import callers, google_verifier
from shared.domain.errors import UnavailableError
from shared.domain.submission import State
from shared.domain.verdict import Verdict
from tests.fakes.calls import FailNext
from tests.identity.tokens import AUDIENCE, PUSHER, Issuer
from tests.platform.doors import ACKNOWLEDGED, REFUSED, TRY_AGAIN, open_door, request, send, storage_event
from tests.platform.observed import RowSays
from tests.platform.posting import DOORS, Doors, opened_doors
from tests.platform.shapes import NAMED, POSTED, Posted
from tests.services.house import House

N_EXAMPLES = 300
"""At each door; ``python -m tests.platform.fuzz_doors --n 20000`` makes more."""

N_INSPECTED = 10
"""Files that are inspected at least, of so many requests: with options that are good, however odd."""

Open: TypeAlias = Callable[[str], FlaskClient]


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
def door(house: House, monkeypatch: pytest.MonkeyPatch) -> Open:
    return lambda name: open_door(name, getattr(house, name), monkeypatch)


@pytest.fixture(scope="module")
def doors() -> Iterator[Doors]:
    with opened_doors() as opened:
        yield opened


@pytest.fixture
def quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("name", DOORS)
@pytest.mark.parametrize("shape", NAMED)
def test_a_shape_that_once_broke_a_door_is_answered(doors: Doors, name: str, shape: str) -> None:
    assert doors.post(name, NAMED[shape]) < 500


@pytest.mark.slow
@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("name", DOORS)
def test_whatever_is_posted_is_answered_by_decision(name: str) -> None:
    with opened_doors() as doors:

        @settings(max_examples=N_EXAMPLES, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
        @given(POSTED)
        def answered(posted: Posted) -> None:
            assert doors.post(name, posted) in {200, ACKNOWLEDGED, 400, 413, REFUSED}

        answered()
        assert (len(doors.house.validated) > N_INSPECTED) is (name == "ingest")
        codes = {stored.value.failure.code for stored in doors.house.store.find(limit=1000) if stored.value.failure}
        assert ({"INVALID_OPTION", "MODEL_NOT_FOUND"} <= codes) is (name == "ingest")
        assert (len(doors.house.jobs.requests) == 1) is (name == "dispatch")


# --- Batches ------------------------------------------------------------------------------------------------------


def batch(house: House, *names: str) -> list[dict[str, Any]]:
    refs = [house.blobs.write("inbox", name, [b"cells"]).ref for name in names]
    return [storage_event(ref.bucket, ref.name, ref.generation) for ref in refs]


def post(client: FlaskClient, events: list[Any], kind: str = BATCH) -> int:
    return client.post("/", data=json.dumps(events), content_type=kind).status_code


@pytest.mark.parametrize("kind", [BATCH, f"{BATCH}; charset=utf-8", "application/json", "application/cloudevents+json"])
def test_a_batch_is_taken_apart(house: House, door: Open, kind: str) -> None:
    assert post(door("ingest"), batch(house, "a.h5ad", "b.h5ad", "c.h5ad"), kind) == ACKNOWLEDGED
    assert {stored.value.source.name for stored in house.store.find()} == {"a.h5ad", "b.h5ad", "c.h5ad"}


def test_one_malformed_event_costs_a_batch_no_other(house: House, door: Open) -> None:
    first, last = batch(house, "a.h5ad", "b.h5ad")
    assert post(door("ingest"), [first, None, {"specversion": ["1.0"]}, [], last]) == ACKNOWLEDGED
    assert {stored.value.source.name for stored in house.store.find()} == {"a.h5ad", "b.h5ad"}


def test_one_event_that_must_come_again_costs_a_batch_no_other(house: House, door: Open) -> None:
    client, events = door("ingest"), batch(house, "a.h5ad", "b.h5ad", "c.h5ad")
    house.store.hook = FailNext("status.create", UnavailableError("no answer"))
    assert post(client, events) == TRY_AGAIN
    assert {stored.value.source.name for stored in house.store.find()} == {"b.h5ad", "c.h5ad"}
    assert post(client, events) == ACKNOWLEDGED
    assert len(house.store.find()) == 3


def test_a_version_to_come_in_a_batch_is_left_for_the_dead_letter_topic(house: House, door: Open) -> None:
    (good,) = batch(house, "a.h5ad")
    assert post(door("ingest"), [request(schema_version=2), good]) == REFUSED
    assert house.only().source.name == "a.h5ad"


# --- Faults of ours -----------------------------------------------------------------------------------------------


def test_a_fault_of_ours_is_tried_again_and_recorded_before_the_event_is_gone(
    row_says: RowSays, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Verdict:
        raise ZeroDivisionError

    sent = datetime(2026, 1, 1, tzinfo=UTC)
    event = storage_event("inbox", house.source.name, house.source.generation) | {"time": sent.isoformat()}
    for minutes, answer in ((0, TRY_AGAIN), (59, TRY_AGAIN), (61, ACKNOWLEDGED)):
        assert house.store.find() == []
        now = partial(datetime.__add__, sent, timedelta(minutes=minutes))
        assert send(open_door("ingest", replace(house.ingest, validate=broken, now=now), monkeypatch), event) == answer
    failure = house.only().failure
    assert failure is not None
    assert (house.only().state, failure.code) == (State.REJECTED, "INTERNAL")
    row_says(house.only().state, failure.code)
    assert "ZeroDivisionError" in failure.message
    assert "report it" in failure.hint


# --- Tokens -------------------------------------------------------------------------------------------------------


def encoded(text: bytes) -> str:
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


DEEP = b"[" * 3000 + b"]" * 3000
HEADERS = [
    DEEP,
    b'{"alg":"RS256","kid":[]}',
    b'{"alg":{},"kid":"key-1"}',
    b"[]",
    b"null",
    b"\xff",
    b'{"kid":' + b"9" * 5000 + b"}",
]


@pytest.mark.parametrize("header", HEADERS, ids=lambda text: text[:20].decode(errors="replace"))
@pytest.mark.parametrize("claims", [DEEP, b"[]", b'{"iat":[]}', b"{}", b"7"], ids=lambda text: text[:9].decode())
def test_a_token_of_any_shape_is_refused(
    row_says: RowSays, house: House, monkeypatch: pytest.MonkeyPatch, header: bytes, claims: bytes
) -> None:
    guard = callers(google_verifier(AUDIENCE, Issuer()), [PUSHER])
    monkeypatch.setattr("functions.ingest.dependencies.caller_check", lambda: guard.check)
    client = open_door("ingest", house.ingest, monkeypatch)
    token = f"{encoded(header)}.{encoded(claims)}.{encoded(b'x')}"
    answer = client.post("/", json={}, headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 401
    row_says(answer.status_code)
