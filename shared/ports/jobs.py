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
    "Ask whoever runs this deployment to fix the job's image, secrets, keys or network. Then submit the file again."
)


class ExecutionState(StrEnum):
    """The platform's state of an execution."""

    RUNNING = "running"
    """Pending, starting or running: it may still have effects."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"
    """Not known to the platform, or not any more."""


@dataclass(frozen=True, slots=True)
class ExecutionReport:
    """An execution's state, and what is known of its cause.

    Attributes:
        problem: The problem as text (out of memory, timeout, exit status); empty if all is well.
        no_room: It ended because the platform had no capacity for it; nothing was computed.
        refused: It ended because the platform could not start it as deployed; nothing was computed.
        crashes: How and where each crashed attempt crashed: a native fault, or a hang that it detected itself.
        crashes_alike: Two attempts of one task crashed at the same place, so it was not retried again.
        begun: At least one task has run, so it no longer waits for capacity.
        log: Where the log of the last crash is, as text.
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
        """Why the platform accepted it but never began it; None if it began, or still may."""
        if self.no_room:
            return NotStarted.of(
                NoCapacityError(self.problem or "an execution was accepted, but there was no capacity for it")
            )
        if self.refused:
            found = self.problem or "an execution was accepted, but could not be started"
            return NotStarted.of(StartRefusedError(found, hint=_MEND_THE_JOB))
        return None


@dataclass(frozen=True, slots=True)
class JobRequest:
    """The execution to start. Each task reads its index, count, attempt and execution from environment variables.

    Attributes:
        finalize_only: Start a single task that only merges and commits.
    """

    submission_id: str
    epoch: int
    n_tasks: int
    accelerator: Accelerator
    timeout_s: int
    finalize_only: bool = False


class JobRunner(Protocol):
    """A runner with Cloud Run Jobs' guarantees. It has no idempotency key: a start without answer may have worked."""

    def claimant(self) -> str:
        """A new unique name for the process that is about to claim a dispatch."""
        return secrets.token_hex(6)

    def is_gone(self, claimant: str) -> bool:
        """Whether the process with this claimant name is known to be dead. If nobody can know, the lease decides."""
        del claimant
        return False

    def has_room(self) -> bool:
        """Whether an execution started now would begin at once. True where only the platform knows."""
        return True

    def start(self, request: JobRequest) -> str:
        """Start an execution and return its name.

        Raises:
            NoCapacityError: The platform has no capacity now; nothing was started.
            StartRefusedError: The platform refuses for another reason, which may pass; nothing was started.
            UnavailableError: No answer; it may have started.
        """
        ...

    def describe(self, execution: str) -> ExecutionReport:
        """Look up an execution.

        Raises:
            UnavailableError: No answer.
        """
        ...

    def cancel(self, execution: str) -> None:
        """Stop an execution. It is not an error if it has ended or is unknown.

        Raises:
            UnavailableError: No answer.
        """
        ...
