"""The functions as the platform sees them: events and messages over HTTP, through functions-framework itself."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import functions_framework
import pytest
from flask.testing import FlaskClient

from shared.domain.errors import UnavailableError
from shared.domain.submission import State, Topic
from tests.fakes.calls import FailNext
from tests.services.house import House

FUNCTIONS = Path(__file__).resolve().parents[2] / "functions"


def door(name: str, service: object, monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    """A function's own app over a service of ours."""
    monkeypatch.setattr(f"functions.{name}.dependencies.{name}_service", lambda: service)
    monkeypatch.setenv("FUNCTION_SIGNATURE_TYPE", "http" if name == "reconcile" else "cloudevent")
    app = functions_framework.create_app(name, str(FUNCTIONS / name / "main.py"))  # type: ignore[no-untyped-call]
    client: FlaskClient = app.test_client()
    return client


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


def structured(client: FlaskClient, event: dict[str, Any]) -> int:
    return client.post("/", data=json.dumps(event), content_type="application/cloudevents+json").status_code


def binary(client: FlaskClient, event: dict[str, Any]) -> int:
    headers = {f"ce-{key}": value for key, value in event.items() if key != "data"}
    return client.post("/", json=event["data"], headers=headers).status_code


@pytest.mark.parametrize("send", [structured, binary])
def test_an_uploaded_object_becomes_a_submission(house: House, monkeypatch: pytest.MonkeyPatch, send: Any) -> None:
    assert send(door("ingest", house.ingest, monkeypatch), storage_event(house)) == 200
    assert house.only().state is State.QUEUED


def test_a_malformed_event_is_acknowledged(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    client = door("ingest", house.ingest, monkeypatch)
    assert structured(client, storage_event(house, generation="none")) == 200
    assert house.store.find() == []


def test_a_fault_that_passes_asks_for_redelivery(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.store.hook = FailNext("status.create", UnavailableError("no answer"))
    client = door("ingest", house.ingest, monkeypatch)
    assert structured(client, storage_event(house)) == 500
    assert structured(client, storage_event(house)) == 200
    assert house.only().state is State.QUEUED


def test_a_pushed_job_message_starts_an_execution(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.accept()
    (message,) = house.bus.take(Topic.JOBS)
    event = {
        "specversion": "1.0",
        "id": "1",
        "type": "google.cloud.pubsub.topic.v1.messagePublished",
        "source": "//pubsub.googleapis.com/projects/p/topics/jobs",
        "data": {"message": {"data": base64.b64encode(message.data).decode(), "messageId": "1"}, "subscription": "s"},
    }
    client = door("dispatch", house.dispatch, monkeypatch)
    assert [structured(client, event), structured(client, event)] == [200, 200]
    assert len(house.jobs.requests) == 1


@pytest.mark.parametrize(
    "data", [{}, {"message": {"data": "%%"}}, {"message": {"data": base64.b64encode(b"{}").decode()}}]
)
def test_a_malformed_message_is_acknowledged(house: House, monkeypatch: pytest.MonkeyPatch, data: Any) -> None:
    event = {"specversion": "1.0", "id": "1", "type": "t", "source": "s", "data": data}
    assert structured(door("dispatch", house.dispatch, monkeypatch), event) == 200
    assert house.jobs.requests == {}


def test_the_scheduler_s_call_is_one_pass(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.accept()
    house.bus.take(Topic.JOBS)
    house.later(minutes=11)
    answer = door("reconcile", house.reconcile, monkeypatch).post("/")
    assert (answer.status_code, answer.json) == (200, {"mended": 1, "faults": 0})
