"""What goes over the bus, as pydantic schemas: requests and job messages inward, events outward."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal, TypeAlias, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.domain.errors import InvalidMessageError, UnknownVersionError
from shared.domain.submission import EntryKind, OutboxEntry, Requester, State, Submission
from shared.faults import first_fault
from shared.ports.events import Message
from shared.ports.status import Stored

SCHEMA_VERSION = 1


class _Parsed(BaseModel):
    # An unknown field of a newer sender is ignored; an unknown version is refused by its Literal.
    model_config = ConfigDict(frozen=True, extra="ignore", json_schema_serialization_defaults_required=True)


class _Payload(_Parsed):
    schema_version: Literal[1] = Field(
        default=1, description="Of this payload; who does not know it refuses the message."
    )


_P = TypeVar("_P", bound=_Payload)


class JobMessage(_Payload):
    """Start work on a submission; between celldrop's own parts."""

    submission_id: str = Field(description="The submission.")
    kind: Literal[EntryKind.JOB, EntryKind.FINALIZE] = Field(description="Compute, or only merge and commit.")
    epoch: int = Field(description="For a job, the epoch that its claim opens; for a finalize, the one to finish.")
    number: int = Field(default=0, description="For a finalize, which request of its epoch this is.")


class AnnotationRequest(_Payload):
    """What another system publishes to the requests topic: annotate an object that is in a bucket already."""

    # Cloud Storage's own limits on names; the others keep a record well under the megabyte that Firestore takes.
    bucket: str = Field(min_length=1, max_length=222, description="One of the buckets that files are taken from.")
    name: str = Field(min_length=1, max_length=1024, description="The object's name, at most 1,024 bytes in UTF-8.")
    generation: int | None = Field(
        default=None, ge=0, lt=2**63, description="The object's generation; the newest where it is left out."
    )
    options: dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=1024)]] = Field(
        default={},
        max_length=64,
        description="As they would ride on the object, values as text: `model`, `matrix`, `min_score` …",
    )
    correlation_id: str = Field(
        min_length=1, max_length=256, description="The requester's own name for this request; its events repeat it."
    )
    source: str = Field(default="", max_length=256, description="Who asks, in the requester's own words.")
    rerun: str | None = Field(
        default=None,
        max_length=256,
        description="Any text that is new makes a new submission of the same object and options.",
    )


class SourceObject(_Parsed):
    """The object generation that is annotated."""

    bucket: str = Field(description="Its bucket.")
    name: str = Field(description="Its name.")
    generation: int = Field(description="Its generation; 0 where a request named none and there is no such object.")


class RequesterName(_Parsed):
    """Who is told, in their own words."""

    correlation_id: str = Field(description="As in the request.")
    source: str = Field(default="", description="As in the request.")


class _Told(_Payload):
    submission_id: str = Field(description="The submission: what HTTP, results and every other event call it.")
    source: SourceObject
    requesters: tuple[RequesterName, ...] = Field(
        description=(
            "Who had asked by then; empty for a mere drop. Who asks later is named in one more event; of more than "
            "64, each 64 are named in an event of their own."
        )
    )


class Accepted(_Told):
    """The data of an accepted event: what was queued, and for whom."""

    state: Literal[State.QUEUED] = Field(
        default=State.QUEUED, description="As what it was accepted; how far it has come by now, HTTP tells."
    )
    model: str = Field(description="The model that it is annotated with, `NAME@VERSION`.")


class Outcome(_Told):
    """The data of an outcome event: how a submission ended, and for whom."""

    state: Literal[State.SUCCEEDED, State.FAILED, State.CANCELLED, State.REJECTED] = Field(
        description="How it ended; nothing follows."
    )
    model: str | None = Field(default=None, description="`NAME@VERSION`; null where it was refused before.")
    result_bucket: str | None = Field(default=None, description="Succeeded: the bucket of the results.")
    result_prefix: str | None = Field(default=None, description="Succeeded: what their names begin with.")
    manifest: str | None = Field(default=None, description="Succeeded: the manifest among them, which lists them.")
    code: str | None = Field(default=None, description="Otherwise: one of the error codes, or `CANCELLED`.")
    message: str | None = Field(default=None, description="Otherwise: what was found, for people.")
    hint: str | None = Field(default=None, description="Otherwise: what to do about it, for people.")
    summary: dict[str, str | int | float | dict[str, int]] = Field(
        default={},
        description=(
            "Succeeded: `n_cells`, `n_unassigned`, `model`, and in `labels` the cells of each label; where known, "
            "`estimated_s` and `actual_s`, `estimated_usd` and `actual_usd`."
        ),
    )


class _CloudEvent(_Parsed):
    # CloudEvents 1.0 in structured JSON mode.
    specversion: Literal["1.0"] = Field(default="1.0", description="Of CloudEvents.")
    id: str = Field(description="The same whenever this event is published again, and no other event's.")
    source: str = Field(
        description="`//celldrop/BUCKET`, with the object's bucket.", json_schema_extra={"format": "uri-reference"}
    )
    subject: str = Field(description="The submission's id.")
    time: str = Field(
        description="When the submission was accepted, or was over.", json_schema_extra={"format": "date-time"}
    )
    datacontenttype: Literal["application/json"] = Field(default="application/json", description="Of `data`.")


class AcceptedEvent(_CloudEvent):
    """A submission was accepted; its outcome follows, and may arrive before."""

    type: Literal["celldrop.submission.accepted.v1"] = Field(
        default="celldrop.submission.accepted.v1", description="What happened."
    )
    data: Accepted


class OutcomeEvent(_CloudEvent):
    """A submission is over."""

    type: Literal[
        "celldrop.submission.succeeded.v1",
        "celldrop.submission.failed.v1",
        "celldrop.submission.cancelled.v1",
        "celldrop.submission.rejected.v1",
    ] = Field(description="What happened.")
    data: Outcome


Event: TypeAlias = Annotated[AcceptedEvent | OutcomeEvent, Field(discriminator="type")]
"""Whatever is published to the events topic."""


@dataclass(frozen=True, slots=True)
class Page:
    """Who is told in one event.

    Attributes:
        id: Of the event: who is named under it never changes.
    """

    id: str
    requesters: tuple[Requester, ...]


def job_message(record: Submission, entry: OutboxEntry) -> Message:
    """The message of a JOB or FINALIZE entry, the same bytes every time."""
    job = JobMessage.model_validate(
        {"submission_id": record.id, "kind": entry.kind, "epoch": entry.epoch, "number": entry.number}
    )
    return Message(entry.id, job.model_dump_json().encode(), {"kind": entry.kind})


def accepted_message(stored: Stored[Submission], page: Page) -> Message:
    """The accepted event for a page: the same bytes every time, whatever has become of the submission since."""
    data = {**_told(stored.value, page), "model": _model(stored.value)}
    event = AcceptedEvent.model_validate({**_envelope(stored.value, page, stored.created_at), "data": data})
    return _event_message(event)


def outcome_message(stored: Stored[Submission], page: Page) -> Message:
    """The outcome event for a page: the same bytes every time."""
    record = stored.value
    envelope = _envelope(record, page, record.changed_at or stored.created_at)
    kind = f"celldrop.submission.{record.state.lower()}.v1"
    return _event_message(OutcomeEvent.model_validate({**envelope, "type": kind, "data": _outcome(record, page)}))


def _event_message(event: AcceptedEvent | OutcomeEvent) -> Message:
    attributes = {"ce-id": event.id, "ce-type": event.type, "content-type": "application/cloudevents+json"}
    return Message(event.id, event.model_dump_json().encode(), attributes)


def _envelope(record: Submission, page: Page, at: datetime) -> dict[str, object]:
    # A refused request may have named anything as its bucket, and a source is a URI reference.
    source = f"//celldrop/{quote(record.source.bucket, safe='')}"
    return {"id": page.id, "source": source, "subject": record.id, "time": at.isoformat()}


def _told(record: Submission, page: Page) -> dict[str, object]:
    source = record.source
    return {
        "submission_id": record.id,
        "source": {"bucket": source.bucket, "name": source.name, "generation": source.generation},
        "requesters": [{"correlation_id": who.correlation_id, "source": who.source} for who in page.requesters],
    }


def _outcome(record: Submission, page: Page) -> dict[str, object]:
    result, failure = record.result, record.failure
    return {
        **_told(record, page),
        "state": record.state,
        "model": _model(record),
        "result_bucket": result.bucket if result else None,
        "result_prefix": result.prefix if result else None,
        "manifest": result.manifest.name if result else None,
        "code": failure.code if failure else None,
        "message": failure.message if failure else None,
        "hint": failure.hint if failure else None,
        "summary": dict(result.summary) if result else {},
    }


def _model(record: Submission) -> str | None:
    return record.model.reference if record.model else None


def parse_job(data: bytes) -> JobMessage:
    """Read a job message.

    Raises:
        UnknownVersionError: Of a schema version that is not known here.
        InvalidMessageError: Not a job message.
    """
    return _parsed(JobMessage, data, "job message")


def parse_request(data: bytes) -> AnnotationRequest:
    """Read a request of another system.

    Raises:
        UnknownVersionError: Of a schema version that is not known here.
        InvalidMessageError: Not a request.
    """
    return _parsed(AnnotationRequest, data, "request")


def _parsed(kind: type[_P], data: bytes, what: str) -> _P:
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        found = first_fault(error)
        refusal = UnknownVersionError if found.place == "schema_version" else InvalidMessageError
        raise refusal(f"{what}, {found}", expected=f"schema version {SCHEMA_VERSION}") from error
