"""The job runner: starts executions of the inference job, each of n parallel tasks."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from shared.domain.errors import NoCapacityError, StartRefusedError
from shared.domain.plan import Accelerator
from shared.domain.submission import NotStarted

_MEND_THE_JOB = (
    "Have whoever runs this deployment mend the job that it names: image, secrets, keys, network. Then drop it again."
)


class ExecutionState(StrEnum):
    """What the platform says of an execution."""

    RUNNING = "running"
    """Pending, starting or running: it may still do something."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"
    """Not known to the platform (any more)."""


@dataclass(frozen=True, slots=True)
class ExecutionReport:
    """An execution's state, with what is known of why.

    Attributes:
        problem: For people: out of memory, timeout, exit status; empty when all is well.
        no_room: It ended because the platform found no room for it; nothing was computed.
        refused: It ended because the platform could not start it as it is deployed; nothing was computed.
        crashes: How and where, for each attempt that crashed by itself: a native fault, a hang that it found out.
        crashes_alike: Two attempts of one task crashed at the same place, so that no more were made.
        begun: Some task of it has run: it no longer waits for room.
        log: Where the last of them left its words, for people.
    """

    state: ExecutionState
    problem: str = ""
    no_room: bool = False
    refused: bool = False
    crashes: tuple[str, ...] = ()
    crashes_alike: bool = False
    log: str = ""
    begun: bool = field(default=False, compare=False)

    @property
    def not_started(self) -> NotStarted | None:
        """Why the platform took it on and never began; None where it did, or still may."""
        if self.no_room:
            return NotStarted.of(NoCapacityError(self.problem or "an execution was taken on, and found no room"))
        if self.refused:
            found = self.problem or "an execution was taken on, and could not be started"
            return NotStarted.of(StartRefusedError(found, hint=_MEND_THE_JOB))
        return None


@dataclass(frozen=True, slots=True)
class JobRequest:
    """What to start; each task learns its index, count, attempt and execution from the platform's variables.

    Attributes:
        finalize_only: Start one task that computes nothing and only merges and commits.
    """

    submission_id: str
    epoch: int
    n_tasks: int
    accelerator: Accelerator
    timeout_s: int
    finalize_only: bool = False


class JobRunner(Protocol):
    """Cloud Run Jobs' promises: no idempotency key, so a start whose answer was lost may have happened."""

    def claimant(self) -> str:
        """A name, unlike every other, for whoever here is about to claim a dispatch."""
        return secrets.token_hex(6)

    def is_gone(self, claimant: str) -> bool:
        """Whether whoever claimed under a name is known to be gone; where nobody can know, the lease decides."""
        del claimant
        return False

    def has_room(self) -> bool:
        """Whether what is started now begins at once; where the platform decides that, it is asked by starting."""
        return True

    def start(self, request: JobRequest) -> str:
        """Start an execution and return its name.

        Raises:
            NoCapacityError: The platform has no room now.
            StartRefusedError: The platform does not start it for another reason, which may pass; nothing was started.
            UnavailableError: No answer; it may have started.
        """
        ...

    def describe(self, execution: str) -> ExecutionReport:
        """Look an execution up.

        Raises:
            UnavailableError: No answer.
        """
        ...

    def cancel(self, execution: str) -> None:
        """Stop an execution; one that is over or unknown is fine.

        Raises:
            UnavailableError: No answer.
        """
        ...
