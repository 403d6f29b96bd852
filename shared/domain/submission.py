"""The record of a submission: one request to annotate one object generation with one model and one set of options."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from shared.domain.errors import CelldropError, NoCapacityError, StartRefusedError
from shared.domain.geometry import Rows
from shared.domain.plan import CostHints, Plan
from shared.domain.verdict import Finding, Verdict

ID_LENGTH = 32


class State(StrEnum):
    """The state of a submission; ``machine`` defines the transitions."""

    QUEUED = "QUEUED"
    DISPATCHING = "DISPATCHING"
    RUNNING = "RUNNING"
    FINALIZING = "FINALIZING"
    WAITING_CAPACITY = "WAITING_CAPACITY"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    REJECTED = "REJECTED"

    @property
    def final(self) -> bool:
        """Whether no other state can follow."""
        return self in FINAL_STATES


FINAL_STATES = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED, State.REJECTED})


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """One generation of one object."""

    bucket: str
    name: str
    generation: int

    def __str__(self) -> str:
        return f"{self.bucket}/{self.name}#{self.generation}"


@dataclass(frozen=True, slots=True)
class Requester:
    """Who made a request, as they named themselves, so that they can match the outcome to it."""

    correlation_id: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A bundle pinned by digest when the submission was accepted."""

    name: str
    version: str
    digest: str
    bucket: str
    prefix: str
    cost: CostHints

    @property
    def reference(self) -> str:
        """``NAME@VERSION``."""
        return f"{self.name}@{self.version}"


def total_cost(model: ModelRef, others: Sequence[ModelRef]) -> CostHints:
    """The cost hints of models that compute on the same cells."""
    return sum((other.cost for other in others), start=model.cost)


@dataclass(frozen=True, slots=True)
class Lease:
    """The exclusive right to work on a record until a server time."""

    token: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a submission ended without results."""

    code: str
    message: str
    hint: str = ""

    @classmethod
    def of(cls, error: CelldropError) -> Failure:
        """The record of an error."""
        return cls(error.code, error.message, error.hint)


class Obstacle(StrEnum):
    """What kept the platform from starting an execution. Each has its own deadline."""

    NO_ROOM = "no room"
    REFUSED = "refused"
    """Another reason that may pass: a missing permission, or a fault of the job."""


@dataclass(frozen=True, slots=True)
class NotStarted:
    """Why the platform did not start an execution.

    Attributes:
        failure: The platform's message, and what to do if it persists.
    """

    obstacle: Obstacle
    failure: Failure

    @classmethod
    def of(cls, error: NoCapacityError | StartRefusedError) -> NotStarted:
        """The record of an error that a job runner raised."""
        obstacle = Obstacle.NO_ROOM if isinstance(error, NoCapacityError) else Obstacle.REFUSED
        return cls(obstacle, Failure.of(error))


@dataclass(frozen=True, slots=True)
class Result:
    """The result that the commit records. Files that it does not name are not results.

    Attributes:
        prefix: ``SUBMISSION_ID/EPOCH-TOKEN/`` in the results bucket.
        manifest: The manifest under that prefix.
        summary: Small facts for events and status: label counts, abstained, seconds.
        findings: Findings from reading every cell. In the verdict, the commit replaces with them the findings from
            sampled rows whose codes are in ``looked_for``.
        of_others: The same for each further model of a consensus.
    """

    bucket: str
    prefix: str
    manifest: ObjectRef
    summary: Mapping[str, str | int | float | dict[str, int]] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    looked_for: tuple[str, ...] = ()
    of_others: tuple[tuple[Finding, ...], ...] = ()


class Topic(StrEnum):
    """The topic of a message."""

    JOBS = "jobs"
    EVENTS = "events"


class EntryKind(StrEnum):
    """The kinds of outbox entries."""

    JOB = "job"
    """A message: start an execution that computes."""
    FINALIZE = "finalize"
    """A message: start an execution that only merges and commits."""
    ACCEPTED = "accepted"
    """An event: the submission was accepted."""
    OUTCOME = "outcome"
    """An event: how the submission ended."""
    MANIFEST = "manifest"
    """A write: ``SUBMISSION_ID/manifest.json``, after the commit."""
    STOP = "stop"
    """A call: stop an execution that is no longer needed."""
    SWEEP = "sweep"
    """Deletions: the parts, and the files of finalizers that did not commit."""


@dataclass(frozen=True, slots=True)
class OutboxEntry:
    """A message to publish, or another action to carry out, after the write that made it.

    Its content is made from the record at delivery.

    Attributes:
        id: Constant: delivering twice sends the same id twice.
        epoch: For JOB, the epoch that the claim will open; for FINALIZE, the one to finish.
        number: For FINALIZE, which request of its epoch this is, from 1.
        first_page: For ACCEPTED and OUTCOME, the first page of requesters to notify. Each page gets its own event.
        page: The last page of requesters to notify.
        n_requesters: How many requesters of the last page the event names, in order of arrival.
        execution: For STOP, the execution to stop.
        not_before: Server time before which it is not due.
        tries: How often delivery has failed.
    """

    id: str
    kind: EntryKind
    epoch: int = 0
    number: int = 0
    first_page: int = 0
    page: int = 0
    n_requesters: int = 0
    execution: str = ""
    not_before: datetime | None = None
    tries: int = 0


@dataclass(frozen=True, slots=True)
class Submission:
    """The record of a submission. Its tasks have documents of their own.

    Attributes:
        requested: Options as requested, by name; parsed with ``parse_options``.
        consensus: The further models of a consensus, pinned likewise.
        requesters: The current page of requesters, in order of arrival.
        pages: The number of earlier, full pages, which are stored beside the record.
        epoch: The fencing number, +1 at every dispatch.
        attempts: Dispatches that count against the limit.
        refusals: Dispatches that the platform did not start. They do not count as attempts, but have a deadline.
        finalize_attempts: Finalize-only executions requested in this epoch, after a finalizer was lost.
        finalize_started: The number of the latest one that dispatch has claimed.
        lease: Held by dispatch while DISPATCHING, by the finalizer while FINALIZING.
        owner: The execution that owns the epoch; None until its first task has recorded it.
        executions: Every execution known to have been started in this epoch, to look up and to stop.
        changed_at: Server time of the write that led to the current state.
        dispatched_at: Server time of the claim that opened the current epoch; None before that, and in old records.
        waiting_since: When a start was first refused, for lack of capacity or otherwise; None after a start succeeded.
        refused_at: When a start was last refused.
        waited_s: Seconds waited until then, counted towards the deadline of the latest obstacle.
        waited_otherwise_s: The same for the other obstacle.
        not_started: Why the last start was refused; None after a start succeeded.
        last_problem: What went wrong in the latest lost attempt, as text.
        given_up: The outbox entry that could not be delivered in the end, and why, as text.
    """

    id: str
    source: ObjectRef
    requested: Mapping[str, str]
    state: State
    requesters: tuple[Requester, ...] = ()
    pages: int = 0
    rerun_token: str | None = None
    model: ModelRef | None = None
    verdict: Verdict | None = None
    plan: Plan | None = None
    epoch: int = 0
    attempts: int = 0
    refusals: int = 0
    finalize_attempts: int = 0
    finalize_started: int = 0
    lease: Lease | None = None
    owner: str | None = None
    executions: tuple[str, ...] = ()
    changed_at: datetime | None = None
    dispatched_at: datetime | None = None
    waiting_since: datetime | None = None
    refused_at: datetime | None = None
    waited_s: float = 0.0
    waited_otherwise_s: float = 0.0
    not_started: NotStarted | None = None
    last_problem: str = ""
    result: Result | None = None
    failure: Failure | None = None
    given_up: str = ""
    outbox: tuple[OutboxEntry, ...] = ()
    consensus: tuple[ModelRef, ...] = ()

    @property
    def cost(self) -> CostHints:
        """The cost hints of all its models together."""
        assert self.model is not None
        return total_cost(self.model, self.consensus)

    @property
    def starts(self) -> int:
        """The number of dispatches that the platform did start."""
        return self.epoch - self.refusals


@dataclass(frozen=True, slots=True)
class Receipt:
    """The record that a part is complete.

    Attributes:
        crc32c: The CRC-32C of the part's bytes, as Cloud Storage computes it.
        seconds: The time to compute it, for the manifest.
        peak_rss_bytes: The peak resident memory of its task's process, for the manifest.
        device: The device that computed it, as text, for the manifest; empty in old records.
        n_converted: Cells whose values were in another state than the rest, and were converted.
        n_unclear: Cells whose values look different from the rest, but do not show in which state they are.
        n_silent: Cells without a value for any of the model's genes.
        coverage: The share of the features of the model, and of each further one, that the file has, by how much they
            tell labels apart, 0 to 1; None for a model of which that is not known. Empty in old records.
    """

    part: ObjectRef
    size_bytes: int
    crc32c: int
    rows: Rows
    seconds: float = 0.0
    peak_rss_bytes: int = 0
    device: Mapping[str, str] = field(default_factory=dict)
    n_converted: int = 0
    n_unclear: int = 0
    n_silent: int = 0
    coverage: tuple[float | None, ...] = ()


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """One task of one epoch: its progress and receipt. Every write of this document is a heartbeat.

    Attributes:
        attempt: The platform's retry number. A lower one must not overwrite a higher one.
        beats: How often the document was written, so that every write differs from the last.
    """

    epoch: int
    index: int
    execution: str
    attempt: int
    rows: Rows
    rows_done: int = 0
    receipt: Receipt | None = None
    failure: Failure | None = None
    beats: int = 1


def submission_id(source: ObjectRef, requested: Mapping[str, str], rerun_token: str | None = None) -> str:
    """The id of a request: SHA-256 of its canonical JSON, cut to 128 bits.

    The same request has the same id, so a drop that is delivered ten times is one submission.
    """
    identity = {
        "bucket": source.bucket,
        "object": source.name,
        "generation": source.generation,
        "options": dict(requested),
        "rerun": rerun_token,
    }
    text = json.dumps(identity, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:ID_LENGTH]
