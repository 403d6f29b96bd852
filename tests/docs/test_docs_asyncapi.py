"""The AsyncAPI document holds together, by rules of the AsyncAPI 3.0 specification that no schema is needed for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator  # type: ignore[import-untyped]  # its types are in another package

from shared.domain.submission import Topic
from shared.settings import Settings
from tests.events import recording
from tools import asyncapi_document

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "asyncapi.json"
DOCUMENT: dict[str, Any] = json.loads(PAGE.read_text())
CHANNELS: dict[str, Any] = DOCUMENT["channels"]

KEYS: Mapping[str, frozenset[str]] = {
    "": frozenset({"asyncapi", "info", "defaultContentType", "servers", "channels", "operations", "components"}),
    "info": frozenset({"title", "version", "description", "license"}),
    "servers": frozenset({"host", "protocol"}),
    "channels": frozenset({"address", "description", "messages", "tags", "x-internal"}),
    "operations": frozenset({"action", "channel", "summary", "messages", "reply", "tags", "x-internal"}),
    "messages": frozenset({"name", "title", "payload", "headers", "contentType", "correlationId", "examples"}),
    "examples": frozenset({"name", "headers", "payload"}),
}
"""Those of the specification that are used here; it allows no others."""


def resolved(reference: str) -> Any:
    found: Any = DOCUMENT
    assert reference.startswith("#/"), reference
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    return found


def references(part: Any) -> Iterator[str]:
    match part:
        case {"$ref": str(reference)}:
            assert len(part) == 1, f"what stands beside a reference is ignored: {part}"
            yield reference
        case dict():
            for value in part.values():
                yield from references(value)
        case list():
            for value in part:
                yield from references(value)


def messages_of(channel: str) -> dict[str, Any]:
    return {name: resolved(message["$ref"]) for name, message in CHANNELS[channel]["messages"].items()}


def validator(schema: Mapping[str, Any]) -> Draft7Validator:
    """For a schema with references into the document."""
    return Draft7Validator({"allOf": [schema], "components": DOCUMENT["components"]})


MESSAGES = [(channel, name) for channel in CHANNELS for name in messages_of(channel)]


def test_it_is_asyncapi_3_with_no_key_of_its_own() -> None:
    components = DOCUMENT["components"]
    assert DOCUMENT["asyncapi"] == "3.0.0"
    assert DOCUMENT["info"].keys() >= {"title", "version"}
    assert set(DOCUMENT) <= KEYS[""]
    assert set(components) == {"messages", "schemas"}
    objects = {"info": [DOCUMENT["info"]], "messages": components["messages"].values()}
    objects |= {kind: DOCUMENT[kind].values() for kind in ("servers", "channels", "operations")}
    objects["examples"] = [example for message in components["messages"].values() for example in message["examples"]]
    for kind, found in objects.items():
        for one in found:
            assert set(one) <= KEYS[kind], kind


def test_every_reference_leads_somewhere() -> None:
    for reference in references(DOCUMENT):
        assert resolved(reference)


def test_nothing_is_defined_in_vain() -> None:
    used = set(references(DOCUMENT))
    defined = {f"#/components/{kind}/{name}" for kind, found in DOCUMENT["components"].items() for name in found}
    assert defined <= used


def test_every_channel_is_a_topic_under_its_usual_name() -> None:
    assert {name: channel["address"] for name, channel in CHANNELS.items()} == {
        "requests": Settings.model_fields["requests_topic"].default,
        str(Topic.EVENTS): Settings.model_fields["events_topic"].default,
        str(Topic.JOBS): Settings.model_fields["jobs_topic"].default,
    }


def test_what_is_internal_says_so() -> None:
    internal = {name for name, channel in CHANNELS.items() if channel.get("x-internal")}
    assert internal == {"jobs"}
    for operation in DOCUMENT["operations"].values():
        assert operation.get("x-internal", False) == (operation["channel"]["$ref"] == "#/channels/jobs")


def test_every_channel_has_messages_and_somebody_who_acts_on_it() -> None:
    acted_on = {operation["channel"]["$ref"] for operation in DOCUMENT["operations"].values()}
    assert acted_on == {f"#/channels/{name}" for name in CHANNELS}
    assert all(messages_of(name) for name in CHANNELS)
    assert {operation["action"] for operation in DOCUMENT["operations"].values()} == {"send", "receive"}


@pytest.mark.parametrize(("channel", "name"), MESSAGES)
def test_every_message_has_a_schema_and_examples_that_fit_it(channel: str, name: str) -> None:
    message = messages_of(channel)[name]
    for part in ("payload", "headers"):
        if part in message:
            Draft7Validator.check_schema(message[part])
    assert message["examples"]
    for example in message["examples"]:
        validator(message["payload"]).validate(example["payload"])
        validator(message.get("headers", {})).validate(example.get("headers", {}))


@pytest.mark.parametrize(("channel", "name"), MESSAGES)
def test_a_message_fits_one_of_its_channel_s_messages_and_no_other(channel: str, name: str) -> None:
    for example in messages_of(channel)[name]["examples"]:
        fitting = [
            other
            for other, message in messages_of(channel).items()
            if validator(message["payload"]).is_valid(example["payload"])
        ]
        assert fitting == [name]


def test_every_schema_is_one() -> None:
    for schema in DOCUMENT["components"]["schemas"].values():
        Draft7Validator.check_schema(schema)


def test_the_correlation_id_is_where_it_is_said_to_be() -> None:
    request = messages_of("requests")["request"]
    path = request["correlationId"]["location"].removeprefix("$message.payload#/")
    assert all(example["payload"][path] == "order-4711" for example in request["examples"])


@pytest.mark.parametrize("kind", asyncapi_document.EVENTS)
def test_what_is_published_is_as_the_document_says(kind: str) -> None:
    message, said = recording.published()[kind], messages_of("events")[kind]
    validator(said["payload"]).validate(json.loads(message.data))
    validator(said["headers"]).validate(dict(message.attributes))
    assert said["contentType"] == message.attributes["content-type"]


def test_no_type_of_event_is_left_out() -> None:
    types = {said["name"] for said in messages_of("events").values()}
    schema = json.loads((PAGE.parent / "event.schema.json").read_text())
    assert types == set(schema["discriminator"]["mapping"])
