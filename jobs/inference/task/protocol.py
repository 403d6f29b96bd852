"""What task and finalizer share: the task's identity, the computation's interface, and the pacing of heartbeats."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from shared.domain.errors import (
    CelldropError,
    DeviceUnavailableError,
    InputError,
    InvalidBundleError,
    ModelNotFoundError,
    ObjectRefusedError,
    TaskCrashedError,
)
from shared.domain.geometry import Rows
from shared.domain.submission import Receipt, Result, Submission
from shared.telemetry import event

log = logging.getLogger(__name__)

PERMANENT = (
    InputError,
    InvalidBundleError,
    ModelNotFoundError,
    ObjectRefusedError,
    DeviceUnavailableError,
    TaskCrashedError,
)
"""Permanent errors, which every attempt would have. They end the submission with their own code."""


@dataclass(frozen=True, slots=True)
class TaskIdentity:
    """The identity of a task attempt.

    Attributes:
        index: The task's number in its execution, from 0.
        count: The number of tasks of the execution.
        log: Where its log is, for users; empty if unknown.
    """

    submission_id: str
    epoch: int
    index: int
    count: int
    attempt: int
    execution: str
    finalize_only: bool = False
    log: str = ""

    @property
    def part_name(self) -> str:
        """The name of its part, different for every attempt."""
        return f"{self.submission_id}/{self.epoch}/{self.execution}/{self.index:05d}-{self.attempt}.arrow"


class Computation(Protocol):
    """The computation of a task. It is an interface, as the simulation uses a stand-in."""

    def annotate(self, record: Submission, rows: Rows, part_name: str, beat: Callable[[int], None]) -> Receipt:
        """Annotate ``rows`` into a part, written create-only. Calls ``beat(rows_done)`` at least every two seconds.

        Raises:
            InputError: The input cannot be used or is gone.
            PreconditionFailedError: A part of that name exists.
        """
        ...

    def merge(self, record: Submission, receipts: Sequence[Receipt], prefix: str, beat: Callable[[], None]) -> Result:
        """Merge the parts, in row order, into results under ``prefix``. Calls ``beat`` at least every two seconds.

        Raises:
            InputError: The input cannot be used or is gone.
            CorruptBlobError: A part does not match its receipt.
        """
        ...

    def discard(self, prefix: str) -> None:
        """Delete the results under a prefix that was never committed."""
        ...


class Ended(StrEnum):
    """How a task ended. All have exit status 0."""

    COMMITTED = "committed"
    PART_WRITTEN = "part written"
    STALE = "nothing to do here any more"
    FAILED = "this attempt or the submission failed, and that is recorded"


class Paced:
    """Calls an action at most once per interval, however often it is called itself.

    A retryable error is logged, and the action is tried again at the next call: a late heartbeat must not end the work.
    """

    def __init__(self, seconds: Callable[[], float], interval_s: float, action: Callable[[], None]) -> None:
        self._seconds = seconds
        self._interval_s = interval_s
        self._action = action
        self._last_s = seconds()

    def __call__(self) -> None:
        """Call the action if the interval has passed."""
        now_s = self._seconds()
        if now_s - self._last_s < self._interval_s:
            return
        try:
            self._action()
        except CelldropError as error:
            if not error.retryable:
                raise
            event(log, "beat missed", level=logging.WARNING, code=error.code, problem=error.message)
        else:
            self._last_s = now_s
