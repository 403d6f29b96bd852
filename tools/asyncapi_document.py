"""The AsyncAPI document of the topics, made from the messages' own models and from examples that runs have left."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic.json_schema import models_json_schema

from shared.domain.submission import State
from shared.records.messages import SCHEMA_VERSION, AcceptedEvent, AnnotationRequest, JobMessage, OutcomeEvent
from shared.settings import Settings

EXAMPLES = Path(__file__).resolve().parent.parent / "tests" / "events"
SCHEMAS = "#/components/schemas/"
MESSAGES = "#/components/messages/"
OUTCOMES = (State.SUCCEEDED, State.FAILED, State.CANCELLED, State.REJECTED)
EVENTS = ("accepted", *(str(state).lower() for state in OUTCOMES))
ABOUT = (
    "Drop an AnnData file in a bucket, get its cells annotated: what other systems send and receive over Pub/Sub. "
    "Every message is delivered at least once and in no order; every event has a constant `id`, and one that comes "
    "again is the same byte for byte. An unknown field is to be ignored; a request of an unknown `schema_version` is "
    "never acknowledged, so that it goes to the dead-letter topic of its subscription."
)


def document() -> dict[str, Any]:
    """AsyncAPI 3.0."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "celldrop",
            "version": f"{SCHEMA_VERSION}.0.0",
            "description": ABOUT,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {"pubsub": {"host": "pubsub.googleapis.com", "protocol": "googlepubsub"}},
        "channels": {
            "requests": _channel("requests_topic", "What other systems ask for.", ["request"]),
            "events": _channel("events_topic", "What has become of it.", EVENTS),
            "jobs": {
                **_channel("jobs_topic", "Between celldrop's own parts: may change at any time.", ["job"]),
                "tags": [{"name": "internal"}],
                "x-internal": True,
            },
        },
        "operations": _operations(),
        "components": {"messages": _messages(), "schemas": _schemas()},
    }


def example(name: str) -> Any:
    """A message as a run has left it."""
    return json.loads((EXAMPLES / f"{name}.json").read_text())


def _channel(setting: str, what: str, messages: Iterable[str]) -> dict[str, Any]:
    return {
        "address": Settings.model_fields[setting].default,
        "description": f"{what} The topic's name is the setting CELLDROP_{setting.upper()}.",
        "messages": {name: {"$ref": MESSAGES + name} for name in messages},
    }


def _operations() -> dict[str, Any]:
    asked, told, work = {"$ref": "#/channels/requests"}, {"$ref": "#/channels/events"}, {"$ref": "#/channels/jobs"}
    internal = {"tags": [{"name": "internal"}], "x-internal": True}
    return {
        "receiveRequest": {
            "action": "receive",
            "channel": asked,
            "summary": "An object that is in a bucket already is annotated.",
            "reply": {"channel": told},
        },
        "sendEvent": {"action": "send", "channel": told, "summary": "A submission was accepted, or is over."},
        "sendJob": {"action": "send", "channel": work, **internal},
        "receiveJob": {"action": "receive", "channel": work, **internal},
    }


def _messages() -> dict[str, Any]:
    return {
        "request": {
            **_message("AnnotationRequest", "A request", {"$ref": SCHEMAS + "AnnotationRequest"}),
            "correlationId": {"location": "$message.payload#/correlation_id"},
            "examples": [
                {"name": "full", "payload": example("request")},
                {"name": "minimal", "payload": example("request-minimal")},
            ],
        },
        "accepted": _event("accepted", "A submission was accepted", AcceptedEvent),
        **{str(state).lower(): _outcome_event(state) for state in OUTCOMES},
        "job": {
            **_message("JobMessage", "Start work on a submission", {"$ref": SCHEMAS + "JobMessage"}),
            "examples": [
                {"name": "compute", "payload": example("job")},
                {"name": "finalize", "payload": example("finalize")},
            ],
        },
    }


def _outcome_event(state: State) -> dict[str, Any]:
    """One of four that share a schema, narrowed so that a message fits one only."""
    kind = str(state).lower()
    message = _event(kind, f"A submission is over: {kind}", OutcomeEvent)
    narrowed = {"type": {"const": _type(kind)}, "data": {"properties": {"state": {"const": str(state)}}}}
    return {**message, "payload": {"allOf": [message["payload"], {"properties": narrowed}]}}


def _event(kind: str, title: str, model: type) -> dict[str, Any]:
    payload = example(kind)
    return {
        **_message(_type(kind), title, {"$ref": SCHEMAS + model.__name__}),
        "contentType": "application/cloudevents+json",
        "headers": _attributes(_type(kind)),
        "examples": [{"name": kind, "headers": _example_attributes(payload), "payload": payload}],
    }


def _message(name: str, title: str, payload: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "title": title, "payload": payload}


def _attributes(kind: str) -> dict[str, Any]:
    """The attributes of the Pub/Sub message: what a subscription can filter by."""
    values = {
        "ce-id": {"type": "string", "description": "The event's id."},
        "ce-type": {"type": "string", "const": kind, "description": "The event's type."},
        "content-type": {"type": "string", "const": "application/cloudevents+json"},
    }
    return {"type": "object", "properties": values, "required": list(values)}


def _example_attributes(event: Mapping[str, Any]) -> dict[str, str]:
    return {"ce-id": event["id"], "ce-type": event["type"], "content-type": "application/cloudevents+json"}


def _type(kind: str) -> str:
    known = [
        value for model in (AcceptedEvent, OutcomeEvent) for value in get_args(model.model_fields["type"].annotation)
    ]
    (found,) = [value for value in known if f".{kind}." in value]
    return str(found)


def _schemas() -> dict[str, Any]:
    _, made = models_json_schema(
        [
            (AnnotationRequest, "validation"),
            (AcceptedEvent, "serialization"),
            (OutcomeEvent, "serialization"),
            (JobMessage, "serialization"),
        ],
        ref_template=SCHEMAS + "{model}",
    )
    schemas: dict[str, Any] = made["$defs"]
    return schemas
