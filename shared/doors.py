"""The doors that the platform pushes through: the shapes it sends, and what an answer means to it."""

from __future__ import annotations

import logging
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeAlias

from cloudevents.exceptions import GenericException
from cloudevents.http import from_http
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.domain.errors import (
    CelldropError,
    InvalidMessageError,
    NotAllowedError,
    NotAuthenticatedError,
    UnknownVersionError,
)
from shared.identity import CheckCaller
from shared.telemetry import event

STORAGE_FINALIZED = "google.cloud.storage.object.v1.finalized"
MESSAGE_PUBLISHED = "google.cloud.pubsub.topic.v1.messagePublished"

Answer: TypeAlias = tuple[str, int, dict[str, str]]
"""Body, status and headers."""

_JSON = {"Content-Type": "application/json"}
_NOTHING: Answer = ("", HTTPStatus.NO_CONTENT, {})

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pushed:
    """What was pushed, whatever shape it came in.

    Attributes:
        type: The CloudEvent's.
        data: Of the CloudEvent, parsed from JSON.
    """

    type: str
    data: object


class PubSubMessage(BaseModel):
    """A message as Pub/Sub pushes it.

    Attributes:
        id: The bus's own, the same at every delivery of one publication.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)

    data: bytes = b""
    id: str = Field(default="", alias="messageId")


class _Push(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    message: dict[str, object]


def answer(headers: Mapping[str, str], body: bytes, check: CheckCaller, handle: Callable[[Pushed], None]) -> Answer:
    """Let one push in; the status tells the platform whether to deliver it again.

    204 acknowledges: it was handled, or it can never be. Anything else asks for another delivery, and in the end for
    the dead-letter topic. The body never says what was sent, nor by whom.
    """

    def handled() -> str:
        handle(parse_pushed(headers, body))
        return ""

    return called(headers, check, handled)


def called(headers: Mapping[str, str], check: CheckCaller, handle: Callable[[], str]) -> Answer:
    """Let one call in, from somebody who may; answers with the JSON that ``handle`` returns, or with nothing."""
    try:
        check(headers.get("Authorization"))
        text = handle()
    except UnknownVersionError as error:
        return _refused(error, HTTPStatus.UNPROCESSABLE_ENTITY)
    except InvalidMessageError as error:
        event(log, "malformed, acknowledged", level=logging.ERROR, code=error.code, found=error.message)
        return _NOTHING
    except NotAuthenticatedError as error:
        return _refused(error, HTTPStatus.UNAUTHORIZED)
    except NotAllowedError as error:
        return _refused(error, HTTPStatus.FORBIDDEN)
    except CelldropError as error:
        return _refused(error, HTTPStatus.SERVICE_UNAVAILABLE)
    return (text, HTTPStatus.OK, _JSON) if text else _NOTHING


def parse_pushed(headers: Mapping[str, str], body: bytes) -> Pushed:
    """Read a CloudEvent in binary or structured mode, or the plain envelope of a Pub/Sub push subscription.

    Raises:
        InvalidMessageError: It is neither.
    """
    try:
        cloud_event = from_http(dict(headers), body)
    except GenericException as error:
        return _plain_push(body, error)
    return Pushed(str(cloud_event["type"]), cloud_event.get_data())


def pubsub_message(pushed: Pushed) -> PubSubMessage:
    """The Pub/Sub message in a push.

    Raises:
        InvalidMessageError: There is none, or its data is not base64.
    """
    try:
        message = _Push.model_validate(pushed.data).message
        data = b64decode(str(message.get("data", "")), validate=True)
        return PubSubMessage.model_validate({**message, "data": data})
    except ValueError as error:  # pydantic's and base64's faults are both
        raise InvalidMessageError("the push has no message with data in base64", expected="a Pub/Sub push") from error


def _plain_push(body: bytes, because: GenericException) -> Pushed:
    try:
        push = _Push.model_validate_json(body)
    except ValidationError as error:
        found = f"neither a CloudEvent ({type(because).__name__}) nor a Pub/Sub push"
        raise InvalidMessageError(found, expected="one of them") from error
    return Pushed(MESSAGE_PUBLISHED, push.model_dump())


def _refused(error: CelldropError, status: HTTPStatus) -> Answer:
    event(log, "not acknowledged", level=logging.WARNING, code=error.code, problem=error.message, status=int(status))
    return error.code, status, {"Content-Type": "text/plain"}
