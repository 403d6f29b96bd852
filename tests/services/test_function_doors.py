"""The functions as the platform sees them: events and messages over HTTP, through functions-framework itself."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import functions_framework
import pytest
from flask.testing import FlaskClient

from shared.access.identity import callers, google_verifier
from shared.domain.errors import SettingsError, UnavailableError
from shared.domain.submission import State, Topic
from tests.fakes.calls import FailEvery, FailNext, nothing
from tests.identity.tokens import AUDIENCE, PUSHER, Issuer
from tests.services.house import House

FUNCTIONS = Path(__file__).resolve().parents[2] / "functions"
ACKNOWLEDGED, TRY_AGAIN, REFUSED, WHO_ARE_YOU, NOT_YOU = 204, 503, 422, 401, 403

Send: TypeAlias = Callable[[FlaskClient, dict[str, Any]], int]
Door: TypeAlias = Callable[[str], FlaskClient]


@pytest.fixture
def door(house: House, monkeypatch: pytest.MonkeyPatch) -> Door:
    """A function's own app over the house's services."""

    def opened(name: str) -> FlaskClient:
        monkeypatch.setattr(f"functions.{name}.dependencies.{name}_service", lambda: getattr(house, name))
        app = functions_framework.create_app(name, str(FUNCTIONS / name / "main.py"))  # type: ignore[no-untyped-call]
        client: FlaskClient = app.test_client()
        return client

    return opened


def storage_event(house: House, **changed: Any) -> dict[str, Any]:
    source = house.source
    data = {"bucket": source.bucket, "name": source.name, "generation": str(source.generation), "metageneration": "1"}
    return {
        "specversion": "1.0",
        "id": "1",
        "type": "google.cloud.storage.object.v1.finalized",
        "source": f"//storage.googleapis.com/projects/_/buckets/{source.bucket}",
        "subject": f"objects/{source.name}",
        "data": {**data, **changed},
    }


def message_event(data: bytes, message_id: str = "7") -> dict[str, Any]:
    message = {"data": base64.b64encode(data).decode(), "messageId": message_id, "publishTime": "2026-01-01T00:00:00Z"}
    return {
        "specversion": "1.0",
        "id": message_id,
        "type": "google.cloud.pubsub.topic.v1.messagePublished",
        "source": "//pubsub.googleapis.com/projects/p/topics/jobs",
        "data": {"message": message, "subscription": "projects/p/subscriptions/s"},
    }


def request_event(message_id: str = "7", **changed: Any) -> dict[str, Any]:
    asked = {"schema_version": 1, "bucket": "inbox", "name": "sample.h5ad", "correlation_id": "order-7", **changed}
    return message_event(json.dumps(asked).encode(), message_id)


def structured(client: FlaskClient, event: dict[str, Any]) -> int:
    return client.post("/", data=json.dumps(event), content_type="application/cloudevents+json").status_code


def binary(client: FlaskClient, event: dict[str, Any]) -> int:
    headers = {f"ce-{key}": value for key, value in event.items() if key != "data"}
    return client.post("/", json=event["data"], headers=headers).status_code


def plain(client: FlaskClient, event: dict[str, Any]) -> int:
    """A push subscription without Eventarc in between."""
    return client.post("/", json=event["data"]).status_code


@pytest.mark.parametrize("send", [structured, binary])
def test_an_uploaded_object_becomes_a_submission(house: House, door: Door, send: Send) -> None:
    assert send(door("ingest"), storage_event(house)) == ACKNOWLEDGED
    assert house.only().state is State.QUEUED


@pytest.mark.parametrize("event", [{"generation": "none"}, {"name": None}])
def test_a_malformed_event_is_acknowledged(house: House, door: Door, event: dict[str, Any]) -> None:
    assert structured(door("ingest"), storage_event(house, **event)) == ACKNOWLEDGED
    assert house.store.find() == []


def test_an_object_of_another_bucket_is_no_drop(house: House, door: Door) -> None:
    house.blobs.write("elsewhere", "sample.h5ad", [b"cells"])
    assert structured(door("ingest"), storage_event(house, bucket="elsewhere")) == ACKNOWLEDGED
    assert house.store.find() == []


def test_a_storage_event_means_the_same_at_every_delivery_whatever_the_metadata_says_by_then(
    house: House, door: Door
) -> None:
    client, event = door("ingest"), storage_event(house)
    structured(client, event)
    for options in ({"celldrop-tasks": "2"}, {"celldrop-rerun": "again"}, {"celldrop-model": "nobody"}):
        house.patch(options)
        structured(client, event)
    assert dict(house.only().requested) == {}


def test_options_are_those_of_the_first_delivery_though_it_broke_off(house: House, door: Door) -> None:
    client, event = door("ingest"), storage_event(house)
    house.patch({"celldrop-tasks": "2"})
    house.store.hook = FailNext("status.create", UnavailableError("no answer"))
    assert structured(client, event) == TRY_AGAIN
    house.patch({"celldrop-tasks": "5"})
    assert structured(client, event) == ACKNOWLEDGED
    assert dict(house.only().requested) == {"tasks": "2"}


def test_a_fault_that_passes_asks_for_redelivery(house: House, door: Door) -> None:
    house.store.hook = FailNext("status.create", UnavailableError("no answer"))
    client = door("ingest")
    assert structured(client, storage_event(house)) == TRY_AGAIN
    assert structured(client, storage_event(house)) == ACKNOWLEDGED
    assert house.only().state is State.QUEUED


@pytest.mark.parametrize("send", [structured, binary, plain])
def test_a_pushed_job_message_starts_an_execution(house: House, door: Door, send: Send) -> None:
    house.accept()
    (message,) = house.bus.take(Topic.JOBS)
    client = door("dispatch")
    assert [send(client, message_event(message.data)) for _ in range(2)] == [ACKNOWLEDGED] * 2
    assert len(house.jobs.requests) == 1


@pytest.mark.parametrize(
    "data", [{}, {"message": 1}, {"message": {"data": "%%"}}, {"message": {"data": base64.b64encode(b"{}").decode()}}]
)
def test_a_malformed_message_is_acknowledged(house: House, door: Door, data: Any) -> None:
    event = {"specversion": "1.0", "id": "1", "type": "t", "source": "s", "data": data}
    assert structured(door("dispatch"), event) == ACKNOWLEDGED
    assert house.jobs.requests == {}


@pytest.mark.parametrize("name", ["ingest", "dispatch"])
def test_a_message_of_a_version_to_come_is_left_for_the_dead_letter_topic(door: Door, name: str) -> None:
    assert plain(door(name), request_event(schema_version=2)) == REFUSED


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"specversion": "1.0"}', "☃".encode(), b"\xff\xfe"])
@pytest.mark.parametrize("kind", ["application/json", "application/cloudevents+json", "text/plain"])
@pytest.mark.parametrize("name", ["ingest", "dispatch"])
def test_nothing_that_was_sent_is_ever_echoed(door: Door, name: str, kind: str, body: bytes) -> None:
    headers = {"Authorization": "Bearer secret-token", "ce-specversion": "0.9", "ce-id": "secret-id"}
    answer = door(name).post("/", data=body, content_type=kind, headers=headers)
    assert answer.status_code == ACKNOWLEDGED
    assert b"secret" not in answer.data


# --- Requests of other systems ------------------------------------------------------------------------------------


@pytest.mark.parametrize("send", [structured, binary, plain])
def test_a_request_becomes_a_submission_that_names_its_requester(house: House, door: Door, send: Send) -> None:
    event = request_event(options={"top_k": "3"}, source="lims", a_field_to_come=1)
    assert [send(door("ingest"), event) for _ in range(2)] == [ACKNOWLEDGED] * 2
    record = house.only()
    assert (record.state, record.source, dict(record.requested)) == (State.QUEUED, house.source, {"top_k": "3"})
    assert [(who.correlation_id, who.source) for who in record.requesters] == [("order-7", "lims")]


def test_a_request_and_a_drop_of_the_same_are_one_submission(house: House, door: Door) -> None:
    client = door("ingest")
    structured(client, storage_event(house))
    plain(client, request_event())
    assert [who.correlation_id for who in house.only().requesters] == ["order-7"]


def test_a_drop_whose_metadata_contradicts_itself_does_not_spoil_a_request_for_the_same(
    house: House, door: Door
) -> None:
    client, event = door("ingest"), storage_event(house)
    house.patch({"celldrop-tasks": "2", "celldrop_tasks": "3"})
    assert [structured(client, event) for _ in range(2)] == [ACKNOWLEDGED] * 2
    refused = house.only()
    assert refused.failure is not None
    assert (refused.state, "sets tasks twice" in refused.failure.message) == (State.REJECTED, True)
    plain(client, request_event())
    assert [stored.value.state for stored in house.store.find()] == [State.QUEUED, State.REJECTED]


def test_a_drop_that_could_not_be_looked_at_does_not_spoil_a_request_for_the_same(house: House, door: Door) -> None:
    client, event = door("ingest"), storage_event(house) | {"time": "2026-01-01T00:00:00Z"}
    house.blobs.hook = FailEvery("blobs.stat", UnavailableError("no answer"))
    answers = []
    for later in (timedelta(days=1), timedelta(days=1, minutes=40)):
        house.ingest = replace(house.ingest, now=partial(datetime.__add__, datetime(2026, 1, 1, tzinfo=UTC), later))
        answers += [structured(client, event) for _ in range(2)]
    assert answers == [TRY_AGAIN] * 2 + [ACKNOWLEDGED] * 2, "one that arrives late is retried, too"
    assert house.only().state is State.REJECTED
    house.blobs.hook = nothing
    plain(client, request_event())
    assert [stored.value.state for stored in house.store.find()] == [State.QUEUED, State.REJECTED]


def test_a_rerun_token_makes_another_submission(house: House, door: Door) -> None:
    client = door("ingest")
    for message_id, rerun in (("7", None), ("8", "again"), ("9", "again")):
        plain(client, request_event(message_id, rerun=rerun))
    assert len(house.store.find()) == 2


@pytest.mark.parametrize(
    ("changed", "code"),
    [({"bucket": "secrets"}, "BUCKET_NOT_ALLOWED"), ({"name": "none.h5ad"}, "INPUT_NOT_FOUND")],
)
def test_a_request_that_cannot_be_met_is_told_as_an_outcome(
    house: House, door: Door, changed: dict[str, Any], code: str
) -> None:
    assert [plain(door("ingest"), request_event(**changed)) for _ in range(2)] == [ACKNOWLEDGED] * 2
    record = house.only()
    assert record.failure is not None
    assert (record.state, record.failure.code) == (State.REJECTED, code)
    (event,) = (json.loads(message.data) for message in house.bus.messages(Topic.EVENTS))
    assert event["data"]["requesters"] == [{"correlation_id": "order-7", "source": ""}]


def test_a_request_that_came_too_early_does_not_spoil_the_next(house: House, door: Door) -> None:
    client = door("ingest")
    plain(client, request_event(name="late.h5ad"))
    house.blobs.write("inbox", "late.h5ad", [b"cells"])
    plain(client, request_event("8", name="late.h5ad"))
    assert [stored.value.state for stored in house.store.find()] == [State.QUEUED, State.REJECTED]


def test_a_request_means_the_same_object_at_every_delivery(house: House, door: Door) -> None:
    client = door("ingest")
    plain(client, request_event())
    house.blobs.write("inbox", "sample.h5ad", [b"other cells"])
    plain(client, request_event())
    assert house.only().source == house.source


def test_a_request_that_was_refused_stays_so_though_its_object_has_come(house: House, door: Door) -> None:
    client = door("ingest")
    plain(client, request_event(name="late.h5ad"))
    house.blobs.write("inbox", "late.h5ad", [b"cells"])
    plain(client, request_event(name="late.h5ad"))
    assert house.only().state is State.REJECTED
    assert len(house.bus.messages(Topic.EVENTS)) == 1


def test_a_request_that_names_a_generation_is_stored_like_any_other(house: House, door: Door) -> None:
    """What it asks for is known without, but not what another of its deliveries has decided."""
    plain(door("ingest"), request_event(generation=house.source.generation))
    assert house.only().state is State.QUEUED
    assert {request.id for request in house.store.events.values()} == {house.only().id}
    assert len(house.store.events) == 2


@pytest.mark.parametrize("changed", [{"correlation_id": ""}, {"bucket": ""}, {"options": {"top_k": 3}}, {"name": None}])
def test_a_malformed_request_is_acknowledged(house: House, door: Door, changed: dict[str, Any]) -> None:
    assert plain(door("ingest"), request_event(**changed)) == ACKNOWLEDGED
    assert house.store.find() == []


# --- Who may push -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ingest", "dispatch", "reconcile"])
def test_only_the_named_account_may_push(door: Door, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    issuer = Issuer()
    guard = callers(google_verifier(AUDIENCE, issuer), [PUSHER])
    monkeypatch.setattr(f"functions.{name}.dependencies.caller_check", lambda: guard.check)
    client = door(name)

    def push(token: str | None) -> int:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return client.post("/", json=request_event()["data"], headers=headers).status_code

    assert push(None) == WHO_ARE_YOU
    assert push(issuer.token(email="other@x.example")) == NOT_YOU
    assert push(issuer.token()) in {ACKNOWLEDGED, 200}
    issuer.down = True
    assert push(issuer.token()) == TRY_AGAIN


@pytest.mark.parametrize(
    ("fault", "code"), [(SettingsError("no audience"), "INVALID_SETTING"), (ZeroDivisionError(), "INTERNAL")]
)
@pytest.mark.parametrize("part", ["service", "check"])
@pytest.mark.parametrize("name", ["ingest", "dispatch", "reconcile"])
def test_a_function_that_cannot_be_built_asks_for_another_delivery(
    house: House, monkeypatch: pytest.MonkeyPatch, *, name: str, part: str, fault: Exception, code: str
) -> None:
    def fail() -> NoReturn:
        raise fault

    house.accept()
    (job,) = house.bus.take(Topic.JOBS)
    event = message_event(job.data) if name == "dispatch" else storage_event(house)
    built = {"service": f"{name}_service", "check": "caller_check"}[part]
    source = str(FUNCTIONS / name / "main.py")
    monkeypatch.setattr(f"functions.{name}.dependencies.{built}", fail)
    app = functions_framework.create_app(name, source)  # type: ignore[no-untyped-call]  # likewise
    answer = app.test_client().post("/", json=event, content_type="application/cloudevents+json")
    assert (answer.status_code, answer.text) == (TRY_AGAIN, code)


def test_the_scheduler_s_call_is_one_pass(house: House, door: Door) -> None:
    house.accept()
    house.bus.take(Topic.JOBS)
    house.later(minutes=11)
    answer = door("reconcile").post("/")
    assert (answer.status_code, answer.json) == (200, {"mended": 1, "faults": 0, "left": 0})


@pytest.mark.parametrize("name", ["ingest", "dispatch"])
def test_a_first_push_that_is_malformed_is_logged_with_its_fields(name: str) -> None:
    source = str(FUNCTIONS / name / "main.py")
    code = (
        f"import functions_framework; app = functions_framework.create_app({name!r}, {source!r}); "
        "print(app.test_client().post('/', data=b'no event').status_code)"
    )
    env = {**os.environ, "CELLDROP_BACKEND": "gcp", "CELLDROP_PUSH_AUTH": "platform"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(ACKNOWLEDGED)
    logged = json.loads(done.stderr.strip().splitlines()[-1])
    assert (logged["severity"], logged["code"]) == ("ERROR", "INVALID_MESSAGE")
