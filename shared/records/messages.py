"""The messages on the bus, as pydantic schemas: requests and job messages in, events out."""

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
    # Unknown fields, from a newer sender, are ignored; the Literal of the version refuses an unknown version.
    model_config = ConfigDict(frozen=True, extra="ignore", json_schema_serialization_defaults_required=True)


class _Payload(_Parsed):
    schema_version: Literal[1] = Field(
        default=1, description="The version of this payload. A receiver that does not know it refuses the message."
    )


_P = TypeVar("_P", bound=_Payload)


class JobMessage(_Payload):
    """A job message: starts work on a submission. Internal to celldrop."""

    submission_id: str = Field(description="The submission.")
    kind: Literal[EntryKind.JOB, EntryKind.FINALIZE] = Field(description="Compute the parts, or only merge and commit.")
    epoch: int = Field(description="For a job, the epoch that its claim opens; for a finalize, the epoch to finish.")
    number: int = Field(default=0, description="For a finalize, which request of its epoch this is.")


class AnnotationRequest(_Payload):
    """A request by another system, published to the requests topic: annotate an object that is already in a bucket."""

    # Names have Cloud Storage's limits. The other limits keep a record with all of its requesters below Firestore's
    # limit of 1 MiB, at 12 bytes for a character: a request that is accepted can be stored.
    bucket: str = Field(min_length=1, max_length=222, description="The object's bucket, one of the inboxes.")
    name: str = Field(min_length=1, max_length=1024, description="The object's name, at most 1,024 bytes in UTF-8.")
    generation: int | None = Field(
        default=None, ge=0, lt=2**63, description="The object's generation; by default the newest."
    )
    options: dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]] = Field(
        default={},
        max_length=32,
        description="Options, as for object metadata, with values as text: `model`, `matrix`, `min_score` …",
    )
    correlation_id: str = Field(
        min_length=1, max_length=256, description="The requester's own id for this request; its events repeat it."
    )
    source: str = Field(default="", max_length=256, description="The name of the requester, chosen by the requester.")
    rerun: str | None = Field(
        default=None,
        max_length=256,
        description="A new text makes a new submission of the same object and options.",
    )


class SourceObject(_Parsed):
    """The object generation that is annotated."""

    bucket: str = Field(description="Its bucket.")
    name: str = Field(description="Its name.")
    generation: int = Field(description="Its generation; 0 if the request named none and the object does not exist.")


class RequesterName(_Parsed):
    """A requester that an event is for, as named in its request."""

    correlation_id: str = Field(description="As in the request.")
    source: str = Field(default="", description="As in the request.")


class _EventData(_Payload):
    submission_id: str = Field(description="The id of the submission, as in HTTP, results and all its events.")
    source: SourceObject
    requesters: tuple[RequesterName, ...] = Field(
        description=(
            "Those who had requested it by then; empty for a drop without a request. Later requesters get an event of "
            "their own. An event names at most 64 requesters; more are split over several events."
        )
    )


class Accepted(_EventData):
    """The data of an accepted event: the submission that was queued, and its requesters."""

    state: Literal[State.QUEUED] = Field(
        default=State.QUEUED, description="The state at acceptance. The current state is available over HTTP."
    )
    model: str = Field(description="The model, `NAME@VERSION`.")


class Outcome(_EventData):
    """The data of an outcome event: how a submission ended, and its requesters."""

    state: Literal[State.SUCCEEDED, State.FAILED, State.CANCELLED, State.REJECTED] = Field(
        description="The final state."
    )
    model: str | None = Field(
        default=None, description="`NAME@VERSION`; null if it was rejected before a model was chosen."
    )
    result_bucket: str | None = Field(default=None, description="If succeeded: the bucket of the results.")
    result_prefix: str | None = Field(default=None, description="If succeeded: the prefix of their names.")
    manifest: str | None = Field(default=None, description="If succeeded: the name of the manifest, which lists them.")
    code: str | None = Field(default=None, description="Otherwise: an error code, or `CANCELLED`.")
    message: str | None = Field(default=None, description="Otherwise: what was found, in words.")
    hint: str | None = Field(default=None, description="Otherwise: what to do about it, in words.")
    summary: dict[str, str | int | float | dict[str, int]] = Field(
        default={},
        description=(
            "If succeeded: `n_cells`, `n_unassigned`, `model`, and in `labels` the number of cells of each label; if "
            "known, `n_unfamiliar` (of `n_judged` cells), `n_reliable_label`, `n_reliable_group`, "
            "`n_reliable_lineage`, in `reliable_labels` the number of cells of each label of which it is reliable, "
            "`estimated_s` and `actual_s`, `estimated_usd` and `actual_usd`; of a consensus, `consensus_models` and "
            "the number of cells that all these models call the same type (`n_same_label`), that some call more "
            "specifically than others (`n_wider_label`), that two give different types (`n_different_label`) or types "
            "that cannot be compared (`n_not_comparable`), and that have no consensus (`n_no_consensus`), in "
            "`consensus_labels` the number of cells of each consensus, and "
            "`consensus_common_sources`, if models are made from the same data."
        ),
    )


class _CloudEvent(_Parsed):
    # CloudEvents 1.0 in structured JSON mode.
    specversion: Literal["1.0"] = Field(default="1.0", description="The version of CloudEvents.")
    id: str = Field(description="Unique to this event, and the same whenever it is published again.")
    source: str = Field(
        description="`//celldrop/BUCKET`, with the object's bucket.", json_schema_extra={"format": "uri-reference"}
    )
    subject: str = Field(description="The submission's id.")
    time: str = Field(
        description="When the submission was accepted or ended.", json_schema_extra={"format": "date-time"}
    )
    datacontenttype: Literal["application/json"] = Field(
        default="application/json", description="The format of `data`."
    )


class AcceptedEvent(_CloudEvent):
    """A submission was accepted. Its outcome event follows, but may arrive first."""

    type: Literal["celldrop.submission.accepted.v1"] = Field(
        default="celldrop.submission.accepted.v1", description="What happened."
    )
    data: Accepted


class OutcomeEvent(_CloudEvent):
    """A submission ended."""

    type: Literal[
        "celldrop.submission.succeeded.v1",
        "celldrop.submission.failed.v1",
        "celldrop.submission.cancelled.v1",
        "celldrop.submission.rejected.v1",
    ] = Field(description="What happened.")
    data: Outcome


Event: TypeAlias = Annotated[AcceptedEvent | OutcomeEvent, Field(discriminator="type")]
"""An event on the events topic."""


@dataclass(frozen=True, slots=True)
class Page:
    """The requesters of one event.

    Attributes:
        id: The event's id. An id always names the same requesters.
    """

    id: str
    requesters: tuple[Requester, ...]


def outcome_type(state: State) -> str:
    """The type of the event that tells of an end in this state."""
    return f"celldrop.submission.{state.lower()}.v1"


def job_message(record: Submission, entry: OutboxEntry) -> Message:
    """The message of a JOB or FINALIZE entry; the same bytes every time."""
    job = JobMessage.model_validate(
        {"submission_id": record.id, "kind": entry.kind, "epoch": entry.epoch, "number": entry.number}
    )
    return Message(entry.id, job.model_dump_json().encode(), {"kind": entry.kind})


def accepted_message(stored: Stored[Submission], page: Page) -> Message:
    """The accepted event for a page of requesters; the same bytes every time, whatever the submission's state."""
    data = {**_event_data(stored.value, page), "model": _model(stored.value)}
    event = AcceptedEvent.model_validate({**_envelope(stored.value, page, stored.created_at), "data": data})
    return _event_message(event)


def outcome_message(stored: Stored[Submission], page: Page) -> Message:
    """The outcome event for a page of requesters; the same bytes every time."""
    record = stored.value
    envelope = _envelope(record, page, record.changed_at or stored.created_at)
    kind = outcome_type(record.state)
    return _event_message(OutcomeEvent.model_validate({**envelope, "type": kind, "data": _outcome(record, page)}))


def _event_message(event: AcceptedEvent | OutcomeEvent) -> Message:
    attributes = {"ce-id": event.id, "ce-type": event.type, "content-type": "application/cloudevents+json"}
    return Message(event.id, event.model_dump_json().encode(), attributes)


def _envelope(record: Submission, page: Page, at: datetime) -> dict[str, object]:
    # Quoted, as a source must be a URI reference, and a rejected request may name anything as its bucket.
    source = f"//celldrop/{quote(record.source.bucket, safe='')}"
    return {"id": page.id, "source": source, "subject": record.id, "time": at.isoformat()}


def _event_data(record: Submission, page: Page) -> dict[str, object]:
    source = record.source
    return {
        "submission_id": record.id,
        "source": {"bucket": source.bucket, "name": source.name, "generation": source.generation},
        "requesters": [{"correlation_id": who.correlation_id, "source": who.source} for who in page.requesters],
    }


def _outcome(record: Submission, page: Page) -> dict[str, object]:
    result, failure = record.result, record.failure
    return {
        **_event_data(record, page),
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
    """Parse a job message.

    Raises:
        UnknownVersionError: The schema version is unknown.
        InvalidMessageError: It is not a job message.
    """
    return _parsed(JobMessage, data, "job message")


def parse_request(data: bytes) -> AnnotationRequest:
    """Parse a request by another system.

    Raises:
        UnknownVersionError: The schema version is unknown.
        InvalidMessageError: It is not a request.
    """
    return _parsed(AnnotationRequest, data, "request")


def _parsed(kind: type[_P], data: bytes, what: str) -> _P:
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        found = first_fault(error)
        refusal = UnknownVersionError if found.place == "schema_version" else InvalidMessageError
        raise refusal(f"{what}, {found}", expected=f"schema version {SCHEMA_VERSION}") from error
