"""Faults of ours as they are told apart: a task that breaks twice at the same place would break there for ever."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from pathlib import Path

from jobs.inference.task.protocol import PERMANENT, TaskIdentity
from shared.domain.errors import (
    BlobNotFoundError,
    CelldropError,
    CorruptBlobError,
    IllegalTransitionError,
    PreconditionFailedError,
    StaleWorkerError,
    SubmissionNotFoundError,
    TaskCrashedError,
)

_TEXT_LETTERS = 500
_HOUSE = Path(__file__).resolve().parents[3]
_ELSEWHERE = (
    *PERMANENT,
    StaleWorkerError,
    IllegalTransitionError,
    SubmissionNotFoundError,
    PreconditionFailedError,
    CorruptBlobError,
    BlobNotFoundError,
    OSError,
    MemoryError,
)
"""What has a way of its own, or may be this machine's doing: a disk, a network, too little memory."""


@dataclass(frozen=True, slots=True)
class Crash:
    """A fault of ours, and where.

    Attributes:
        place: Kind of error, file, line and function: the same for the same fault.
        text: What the error says; may differ from one time to the next.
    """

    place: str
    text: str

    @property
    def words(self) -> str:
        """Both; what is noted for the next attempt."""
        return f"{self.place}: {self.text}"

    def is_that_of(self, noted: str) -> bool:
        """Whether an earlier attempt noted the same fault."""
        return noted.partition(": ")[0] == self.place


def crash_of(error: BaseException) -> Crash | None:
    """The fault of ours that an error shows; None for trouble elsewhere, which another attempt may not meet."""
    if isinstance(error, _ELSEWHERE) or (isinstance(error, CelldropError) and error.retryable):
        return None
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(_HOUSE)] or frames
    kind, text = type(error).__name__, str(error)[:_TEXT_LETTERS]
    if not ours:
        return Crash(kind, text)
    last = ours[-1]
    return Crash(f"{kind} at {Path(last.filename).name}, line {last.lineno}, in {last.name}", text)


def twice(crash: Crash, me: TaskIdentity, *, merging: bool) -> TaskCrashedError:
    """The end of a submission that meets the same fault again."""
    who = "writing the results" if merging else f"task {me.index}"
    return TaskCrashedError.of(who, crash.words, me.log or f"execution {me.execution}")
