"""What the parts of a task's protocol share: who it is, what it computes with, how it paces its heartbeats."""

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
"""Faults that another attempt would meet again: they end the submission with their own code."""


@dataclass(frozen=True, slots=True)
class TaskIdentity:
    """Which task of which execution this is.

    Attributes:
        log: Where what it says is kept, for people; empty where whoever started it did not tell.
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
        """Where its part goes: no two attempts of anything share a name."""
        return f"{self.submission_id}/{self.epoch}/{self.execution}/{self.index:05d}-{self.attempt}.arrow"


class Computation(Protocol):
    """The heavy part, behind an argument: the simulator has a stand-in for it."""

    def annotate(self, record: Submission, rows: Rows, part_name: str, beat: Callable[[int], None]) -> Receipt:
        """Annotate ``rows`` into a part, written create-only; call ``beat(rows done)`` at least every second or two.

        Raises:
            InputError: The input cannot be used, or is no longer there.
            PreconditionFailedError: A part of that name exists.
        """
        ...

    def merge(self, record: Submission, receipts: Sequence[Receipt], prefix: str, beat: Callable[[], None]) -> Result:
        """Merge the parts, in the order of their rows, into results under ``prefix``; call ``beat`` likewise.

        Raises:
            InputError: The input cannot be used, or is no longer there.
            CorruptBlobError: A part is not what its receipt says.
        """
        ...

    def discard(self, prefix: str) -> None:
        """Remove what a merge wrote under a prefix that was never committed."""
        ...


class Ended(StrEnum):
    """How a task ended; each is exit status 0."""

    COMMITTED = "committed"
    PART_WRITTEN = "part written"
    STALE = "nothing to do here any more"
    FAILED = "this attempt or the submission failed, and that is recorded"


class Paced:
    """Calls an action at most once in an interval, however often it is asked to.

    A service that does not answer is asked again the next time: a beat that is late is not worth the work.
    """

    def __init__(self, seconds: Callable[[], float], interval_s: float, action: Callable[[], None]) -> None:
        self._seconds = seconds
        self._interval_s = interval_s
        self._action = action
        self._last_s = seconds()

    def __call__(self) -> None:
        """Act, if the interval has passed."""
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
