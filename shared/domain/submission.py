"""The record of a submission: one request to annotate one object generation with one model and one set of options."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from shared.domain.errors import CelldropError, NoCapacityError, StartRefusedError
from shared.domain.geometry import Rows
from shared.domain.plan import CostHints, Plan
from shared.domain.verdict import Finding, Verdict

ID_LENGTH = 32


class State(StrEnum):
    """Where a submission stands; the arrows are in ``machine``."""

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
        """Whether nothing can follow."""
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
    """Who asked, in their own words, so that the outcome can be matched to the request."""

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


@dataclass(frozen=True, slots=True)
class Lease:
    """Leave to work on a record until a server time."""

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
        """An error as it is recorded."""
        return cls(error.code, error.message, error.hint)


class Obstacle(StrEnum):
    """What kept the platform from starting an execution; each has a deadline of its own."""

    NO_ROOM = "no room"
    REFUSED = "refused"
    """For another reason, which may pass: a right, the job, or a part of it."""


@dataclass(frozen=True, slots=True)
class NotStarted:
    """Why the platform did not start an execution.

    Attributes:
        failure: What the platform said, and what to do where it goes on saying so.
    """

    obstacle: Obstacle
    failure: Failure

    @classmethod
    def of(cls, error: NoCapacityError | StartRefusedError) -> NotStarted:
        """What a job runner raises, as it is recorded."""
        obstacle = Obstacle.NO_ROOM if isinstance(error, NoCapacityError) else Obstacle.REFUSED
        return cls(obstacle, Failure.of(error))


@dataclass(frozen=True, slots=True)
class Result:
    """What the commit names; only this is a result.

    Attributes:
        prefix: ``SUBMISSION_ID/EPOCH-TOKEN/`` in the results bucket.
        manifest: The object with the manifest's bytes under that prefix.
        summary: Small facts for events and status: label counts, abstained, seconds.
        findings: What was found while every cell was read; the commit puts it into the verdict, in place of what a
            sample said under the codes ``looked_for``.
    """

    bucket: str
    prefix: str
    manifest: ObjectRef
    summary: Mapping[str, str | int | float | dict[str, int]] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    looked_for: tuple[str, ...] = ()


class Topic(StrEnum):
    """What a queued message is for."""

    JOBS = "jobs"
    EVENTS = "events"


class EntryKind(StrEnum):
    """What is owed to the world."""

    JOB = "job"
    """A message: start an execution that computes."""
    FINALIZE = "finalize"
    """A message: start an execution that only merges and commits."""
    ACCEPTED = "accepted"
    """An event: it was taken on."""
    OUTCOME = "outcome"
    """An event: how it ended."""
    MANIFEST = "manifest"
    """A write: ``SUBMISSION_ID/manifest.json``, after the commit."""
    STOP = "stop"
    """A call: stop an execution that nobody waits for any more."""
    SWEEP = "sweep"
    """Deletions: the parts, and what losing finalizers left."""


@dataclass(frozen=True, slots=True)
class OutboxEntry:
    """Something owed to the world; what it says is made from the record when it is paid.

    Attributes:
        id: Constant: paying twice sends the same id twice.
        epoch: For JOB, the epoch that the claim will open; for FINALIZE, the one to finish.
        number: For FINALIZE, which request of its epoch this is, from 1.
        first_page: For ACCEPTED and OUTCOME, the first page of requesters to tell, each in an event of its own.
        page: The last one.
        n_requesters: How many of that last page it names, in the order they came.
        execution: For STOP, which one.
        not_before: Server time before which it is not due.
        tries: How often paying it has failed.
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
    """The whole record but for its tasks.

    Attributes:
        requested: Options as requested, by name; parsed with ``parse_options``.
        requesters: Who asked last, in the order they came: the page that is not full yet.
        pages: How many pages before it are full; they are kept beside the record.
        epoch: The fencing number, +1 at every dispatch.
        attempts: Dispatches that count against the limit.
        refusals: Dispatches that the platform did not start; they have a deadline of their own.
        finalize_attempts: Finalize-only executions asked for in this epoch, after a finalizer was lost.
        finalize_started: The latest of them that dispatch has taken on.
        lease: Held by dispatch while DISPATCHING, by the finalizer while FINALIZING.
        owner: The execution that owns the epoch; None until its first task has recorded it.
        executions: Every execution known to have been started in this epoch, to look up and to stop.
        changed_at: Server time of the write that led to the present state.
        dispatched_at: Server time of the claim that opened the present epoch; None before, and in old records.
        waiting_since: When a start was first refused, for want of room or otherwise; None once one went well.
        refused_at: When one was refused last.
        waited_s: Seconds of waiting up to then that count for the deadline of the obstacle that was met last.
        waited_otherwise_s: Likewise, for the other obstacle.
        not_started: Why it was refused last; None once one went well.
        last_problem: What went wrong in the latest lost attempt, for people.
        given_up: What was owed and could not be paid in the end, and why, for people.
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

    @property
    def starts(self) -> int:
        """Dispatches but for those that the platform did not start."""
        return self.epoch - self.refusals


@dataclass(frozen=True, slots=True)
class Receipt:
    """The record that a part is whole.

    Attributes:
        crc32c: Of the part's bytes, as Cloud Storage counts it.
        seconds: What computing it took, for the manifest.
        peak_rss_bytes: The largest resident memory of its task's process, for the manifest.
        device: What it was computed on, in words, for the manifest; empty in old records.
        n_converted: Cells whose values were of another kind than the rest, and were converted.
        n_unclear: Cells whose values were of another kind, and prove nothing.
        n_silent: Cells without a value of any of the model's genes.
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


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """One task of one epoch: heartbeat by being written, progress, receipt.

    Attributes:
        attempt: The platform's retry number; a lower one may not write over a higher.
        beats: How often the document was written, so that no two are alike.
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
    """The id of a request: the same drop delivered ten times is one submission.

    Canonical JSON under SHA-256, cut to 128 bits.
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
