"""What dispatch is told: a Pub/Sub push, turned into a job message."""

from __future__ import annotations

from pydantic import Base64Bytes, BaseModel, ConfigDict, ValidationError

from shared.domain.errors import InvalidMessageError
from shared.messages import JobMessage, parse_job


class _PushedMessage(BaseModel):
    model_config = ConfigDict(extra="ignore")

    data: Base64Bytes


class _Push(BaseModel):
    model_config = ConfigDict(extra="ignore")

    message: _PushedMessage


def parse_push(data: object) -> JobMessage:
    """Read the job message out of a push.

    Raises:
        InvalidMessageError: Not a push, or not a job message of a known schema version.
    """
    try:
        push = _Push.model_validate(data)
    except ValidationError as error:
        raise InvalidMessageError("the push has no message.data in base64", expected="a Pub/Sub push") from error
    return parse_job(push.message.data)
