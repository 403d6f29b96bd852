"""The examples are what runs make, and fit the schemas that others check them with."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # its types are in another package
from pydantic import TypeAdapter

from functions.ingest.schemas import RequestMessage, parse_push
from shared.access.cloud_events import parse_pushed
from shared.domain.errors import InvalidMessageError, UnknownVersionError
from shared.records.messages import AnnotationRequest, Event, parse_job, parse_request
from tests.events import recording
from tests.events.recording import FOLDER, MESSAGE_ID, MINIMAL, REQUEST, SUFFIX, read, text_of

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference"
EVENTS = ("accepted", "succeeded", "failed", "cancelled", "rejected")
REQUESTS = ("request", "request-minimal")


def schema(name: str) -> Draft202012Validator:
    document = json.loads((REFERENCE / f"{name}.schema.json").read_text())
    Draft202012Validator.check_schema(document)
    return Draft202012Validator(document)


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    found = recording.recorded()
    if os.environ.get("CELLDROP_WRITE_DOCS"):
        for name, example in found.items():
            (FOLDER / f"{name}{SUFFIX}").write_text(text_of(example))
    return found


def test_the_examples_are_what_the_runs_make(recorded: Mapping[str, Any]) -> None:
    lying = {name: (FOLDER / f"{name}{SUFFIX}").read_text() for name in recorded}
    assert lying == {name: text_of(example) for name, example in recorded.items()}, "run with CELLDROP_WRITE_DOCS=1"


@pytest.mark.parametrize("name", EVENTS)
def test_an_event_fits_the_schema_of_events_and_its_data_that_of_data(name: str) -> None:
    event = read(name)
    schema("event").validate(event)
    schema("accepted" if name == "accepted" else "outcome").validate(event["data"])


@pytest.mark.parametrize("name", EVENTS)
def test_an_event_is_read_by_its_own_model(name: str) -> None:
    event = TypeAdapter[Any](Event).validate_python(read(name))
    assert event.type == f"celldrop.submission.{name}.v1"
    assert event.model_dump(mode="json") == read(name)


@pytest.mark.parametrize("name", EVENTS)
def test_an_event_is_a_cloud_event(name: str) -> None:
    event = read(name)
    assert event["specversion"] == "1.0"
    assert datetime.fromisoformat(event["time"]).tzinfo is not None
    assert event["id"].startswith(event["subject"])
    assert event["subject"] == event["data"]["submission_id"]


@pytest.mark.parametrize("name", EVENTS)
def test_the_attributes_repeat_what_a_subscription_may_filter_by(name: str) -> None:
    message = recording.published()[name]
    assert dict(message.attributes) == {
        "ce-id": read(name)["id"],
        "ce-type": read(name)["type"],
        "content-type": "application/cloudevents+json",
    }


@pytest.mark.parametrize("name", ["job", "finalize"])
def test_a_job_message_is_read_by_dispatch(name: str) -> None:
    assert parse_job(text_of(read(name)).encode()).kind == name


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_fits_its_schema_and_is_read_by_ingest(name: str) -> None:
    schema("request").validate(read(name))
    assert parse_request(text_of(read(name)).encode()) == AnnotationRequest.model_validate(read(name))


def test_the_full_request_names_every_field_and_the_minimal_one_what_it_must() -> None:
    required = {name for name, field in AnnotationRequest.model_fields.items() if field.is_required()}
    assert set(REQUEST) == set(AnnotationRequest.model_fields)
    assert set(MINIMAL) == required | {"schema_version"}


@pytest.mark.parametrize("name", ["push-plain", "push-eventarc"])
def test_a_request_reaches_ingest_in_either_shape(name: str) -> None:
    push = read(name)
    found = parse_push(parse_pushed(push["headers"], text_of(push["body"]).encode()))
    assert found == RequestMessage(AnnotationRequest.model_validate(REQUEST), MESSAGE_ID)


# --- The schemas tell right from wrong as the code does -----------------------------------------------------------

Change = Callable[[dict[str, Any]], object]


def changed(example: Mapping[str, Any], change: Change) -> dict[str, Any]:
    copied = copy.deepcopy(dict(example))
    change(copied)
    return copied


@pytest.mark.parametrize("name", ["bucket", "name", "correlation_id"])
def test_a_request_without_a_field_that_it_must_have_is_refused_by_both(name: str) -> None:
    request = changed(MINIMAL, lambda example: example.pop(name))
    assert not schema("request").is_valid(request)
    with pytest.raises(InvalidMessageError):
        parse_request(text_of(request).encode())


@pytest.mark.parametrize(
    "wrong",
    [
        {"bucket": ""},
        {"bucket": "b" * 223},
        {"name": "n" * 1025},
        {"generation": -1},
        {"generation": 2**63},
        {"correlation_id": ""},
        {"correlation_id": "c" * 257},
        {"options": {"top_k": 3}},
        {"options": {"top_k": "3" * 1025}},
        {"options": {f"option{n}": "" for n in range(65)}},
        {"rerun": 1},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_request_with_a_wrong_value_is_refused_by_both(wrong: Mapping[str, Any]) -> None:
    request = {**REQUEST, **wrong}
    assert not schema("request").is_valid(request)
    with pytest.raises(InvalidMessageError):
        parse_request(text_of(request).encode())


def test_a_request_of_a_version_to_come_is_refused_by_both_whatever_else_it_holds() -> None:
    request = {"schema_version": 2, "of_another": "shape"}
    assert not schema("request").is_valid(request)
    with pytest.raises(UnknownVersionError):
        parse_request(text_of(request).encode())


def test_an_unknown_field_is_taken_by_both() -> None:
    request = {**REQUEST, "a_field_to_come": 1}
    schema("request").validate(request)
    assert parse_request(text_of(request).encode()) == AnnotationRequest.model_validate(REQUEST)
    for name in EVENTS:
        schema("event").validate({**read(name), "a_field_to_come": 1})


@pytest.mark.parametrize("name", EVENTS)
@pytest.mark.parametrize(
    "spoil",
    [
        lambda event: event.pop("id"),
        lambda event: event.pop("data"),
        lambda event: event.update(specversion="0.3"),
        lambda event: event.update(type="celldrop.submission.paused.v1"),
        lambda event: event.update(type=event["type"].replace("v1", "v2")),
        lambda event: event["data"].update(state="RUNNING"),
        lambda event: event["data"].update(schema_version=2),
        lambda event: event["data"].pop("schema_version"),
        lambda event: event["data"].pop("requesters"),
        lambda event: event["data"]["source"].pop("generation"),
    ],
    ids=["id", "data", "specversion", "type", "version", "state", "schema", "unversioned", "requesters", "generation"],
)
def test_a_spoilt_event_fits_no_schema(name: str, spoil: Change) -> None:
    assert not schema("event").is_valid(changed(read(name), spoil))
