"""What goes over the bus, as pydantic schemas: job messages inward, outcome events outward."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from shared.domain.errors import InvalidMessageError
from shared.domain.submission import EntryKind, OutboxEntry, State, Submission
from shared.ports.events import Message
from shared.ports.status import Stored

SCHEMA_VERSION = 1


class _Payload(BaseModel):
    # An unknown field of a newer sender is ignored; an unknown version is refused by its Literal.
    model_config = ConfigDict(frozen=True, extra="ignore")


class JobMessage(_Payload):
    """Start work on a submission.

    Attributes:
        epoch: For a job, the epoch that its claim opens; for a finalize, the one to finish.
        number: For a finalize, which request of its epoch this is.
    """

    schema_version: Literal[1] = 1
    submission_id: str
    kind: Literal[EntryKind.JOB, EntryKind.FINALIZE]
    epoch: int
    number: int = 0


class SourceObject(_Payload):
    """The object generation that was annotated."""

    bucket: str
    name: str
    generation: int


class RequesterName(_Payload):
    """Who is told, in their own words."""

    correlation_id: str
    source: str = ""


class Outcome(_Payload):
    """The data of an outcome event: how a submission ended, and for whom."""

    schema_version: Literal[1] = 1
    submission_id: str
    state: Literal[State.SUCCEEDED, State.FAILED, State.CANCELLED, State.REJECTED]
    source: SourceObject
    requesters: tuple[RequesterName, ...]
    model: str | None = None
    result_bucket: str | None = None
    result_prefix: str | None = None
    manifest: str | None = None
    code: str | None = None
    message: str | None = None
    hint: str | None = None
    summary: dict[str, str | int | float | dict[str, int]] = {}


class CloudEvent(_Payload):
    """CloudEvents 1.0, structured JSON mode."""

    specversion: Literal["1.0"] = "1.0"
    id: str
    source: str
    type: str
    subject: str
    time: str
    datacontenttype: Literal["application/json"] = "application/json"
    data: Outcome


def job_message(record: Submission, entry: OutboxEntry) -> Message:
    """The message of a JOB or FINALIZE entry, the same bytes every time."""
    job = JobMessage.model_validate(
        {"submission_id": record.id, "kind": entry.kind, "epoch": entry.epoch, "number": entry.number}
    )
    return Message(entry.id, job.model_dump_json().encode(), {"kind": entry.kind})


def outcome_message(stored: Stored[Submission], entry: OutboxEntry) -> Message:
    """The event of an OUTCOME entry: CloudEvents structured mode, the same bytes every time."""
    record = stored.value
    event = CloudEvent(
        id=entry.id,
        source=f"//celldrop/{record.source.bucket}",
        type=f"celldrop.submission.{record.state.lower()}.v1",
        subject=record.id,
        time=(record.changed_at or stored.created_at).isoformat(),
        data=_outcome(record, entry.n_requesters),
    )
    attributes = {"ce-id": event.id, "ce-type": event.type, "content-type": "application/cloudevents+json"}
    return Message(entry.id, event.model_dump_json().encode(), attributes)


def _outcome(record: Submission, n_requesters: int) -> Outcome:
    source = record.source
    result, failure = record.result, record.failure
    return Outcome.model_validate(
        {
            "submission_id": record.id,
            "state": record.state,
            "source": {"bucket": source.bucket, "name": source.name, "generation": source.generation},
            "requesters": [
                {"correlation_id": who.correlation_id, "source": who.source} for who in record.requesters[:n_requesters]
            ],
            "model": f"{record.model.name}@{record.model.version}" if record.model else None,
            "result_bucket": result.bucket if result else None,
            "result_prefix": result.prefix if result else None,
            "manifest": result.manifest.name if result else None,
            "code": failure.code if failure else None,
            "message": failure.message if failure else None,
            "hint": failure.hint if failure else None,
            "summary": dict(result.summary) if result else {},
        }
    )


def parse_job(data: bytes) -> JobMessage:
    """Read a job message.

    Raises:
        InvalidMessageError: Not one, or of an unknown schema version.
    """
    try:
        return JobMessage.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InvalidMessageError(
            f"job message, {place}: {first['msg']}", expected=f"schema version {SCHEMA_VERSION}"
        ) from error
