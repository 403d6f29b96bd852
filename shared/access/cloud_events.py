"""Parses what the platform pushes over HTTP: a CloudEvent, a batch of them, or Pub/Sub's own envelope."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from shared.domain.errors import InvalidMessageError
from shared.faults import first_fault

MESSAGE_PUBLISHED = "google.cloud.pubsub.topic.v1.messagePublished"

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
VERSIONS = ("0.3", "1.")
"""Prefixes of the supported versions of CloudEvents."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """One pushed event, whatever its format.

    Attributes:
        type: The CloudEvent's type.
        data: The CloudEvent's data, parsed from JSON.
        sent_at: When it was first sent, the same at every delivery; None if unknown.
    """

    type: str
    data: object
    sent_at: datetime | None = None


class PubSubMessage(BaseModel):
    """A message as Pub/Sub pushes it.

    Attributes:
        data: The published bytes in base64.
        id: The id that Pub/Sub gave the message, the same at every delivery.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)

    data: str = ""
    id: str = Field(default="", alias="messageId", max_length=256)
    published_at: object = Field(default=None, alias="publishTime")

    def content(self) -> bytes:
        """Decode the published bytes.

        Raises:
            InvalidMessageError: The data is not base64.
        """
        try:
            return b64decode(self.data, validate=True)
        except ValueError as error:
            raise InvalidMessageError("the message's data is not base64", expected="a Pub/Sub push") from error


class _Push(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    message: PubSubMessage


class _Structured(BaseModel):
    # Other attributes and extensions may be anything: they are not used.
    model_config = ConfigDict(extra="ignore", frozen=True)

    specversion: str
    type: str = Field(min_length=1)
    time: object = None
    data: object = None
    data_base64: str = ""


def pushes_of(headers: Mapping[str, str], body: bytes) -> Iterator[Pushed | InvalidMessageError]:
    """The events of one request, in order; several if it is a batch. An invalid event yields an error in its place."""
    given = {key.lower(): value for key, value in headers.items()}
    try:
        events = list(_envelopes(given, body))
    except InvalidMessageError as error:
        yield error
        return
    for event in events:
        if isinstance(event, Pushed):
            yield event
        else:
            yield _read(event)


def parse_pushed(headers: Mapping[str, str], body: bytes) -> Pushed:
    """Parse a request with a single event.

    Raises:
        InvalidMessageError: There is no event, more than one, or an invalid one.
    """
    found = list(pushes_of(headers, body))
    if len(found) != 1:
        raise InvalidMessageError(f"{len(found)} events in one request", expected="one")
    if isinstance(found[0], InvalidMessageError):
        raise found[0]
    return found[0]


def pubsub_message(pushed: Pushed) -> PubSubMessage:
    """The Pub/Sub message of a pushed event.

    Raises:
        InvalidMessageError: The event's data is not a Pub/Sub push.
    """
    try:
        return _Push.model_validate(pushed.data).message
    except ValidationError as error:
        raise InvalidMessageError("the push has no message", expected="a Pub/Sub push") from error


def _envelopes(headers: Mapping[str, str], body: bytes) -> Iterator[object]:
    """The events of a body, not yet checked; an event in binary mode is already parsed."""
    kind = headers.get("content-type", "").lower()
    if "ce-type" in headers and not kind.startswith((STRUCTURED, BATCH)):
        _check_version(headers.get("ce-specversion", ""))
        yield Pushed(unquote(headers["ce-type"]), _json(body), _time(unquote(headers.get("ce-time", ""))))
        return
    value = _json(body)
    if not isinstance(value, list):
        yield value
    elif value:
        yield from value
    else:
        raise InvalidMessageError("an empty batch of events", expected="one event or more")


def _read(value: object) -> Pushed | InvalidMessageError:
    try:
        return _structured(value) if isinstance(value, dict) and "specversion" in value else _plain(value)
    except InvalidMessageError as error:
        return error


def _structured(value: object) -> Pushed:
    try:
        event = _Structured.model_validate(value)
    except ValidationError as error:
        raise InvalidMessageError(f"CloudEvent, {first_fault(error)}", expected="CloudEvents 1.0") from error
    _check_version(event.specversion)
    return Pushed(event.type, _data(event), _time(event.time))


def _plain(value: object) -> Pushed:
    try:
        message = _Push.model_validate(value).message
    except ValidationError as error:
        found = f"neither a CloudEvent nor a Pub/Sub push: {first_fault(error)}"
        raise InvalidMessageError(found, expected="one of them") from error
    return Pushed(MESSAGE_PUBLISHED, value, _time(message.published_at))


def _data(event: _Structured) -> object:
    if event.data_base64:
        try:
            return _json(b64decode(event.data_base64, validate=True))
        except ValueError as error:
            raise InvalidMessageError("CloudEvent, data_base64: not base64", expected="CloudEvents 1.0") from error
    # Some senders embed the JSON as a string.
    return _json(event.data.encode()) if isinstance(event.data, str) else event.data


def _check_version(version: str) -> None:
    if not version.startswith(VERSIONS):
        raise InvalidMessageError(f"specversion {version[:40]!r}", expected="CloudEvents 1.0")


def _json(body: bytes) -> object:
    """Parse JSON with limits on nesting and digits. Only UTF-8 is accepted."""
    try:
        value: object = from_json(body)
    except ValueError as error:
        raise InvalidMessageError(f"not JSON: {error}", expected="JSON in UTF-8") from error
    return value


def _time(value: object) -> datetime | None:
    """Parse an RFC 3339 time; None for anything else, as the time is optional."""
    if not isinstance(value, str):
        return None
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
