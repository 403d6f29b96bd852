"""Recognises bugs of ours by their place: a task that fails twice at the same place would fail there for ever."""

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
"""Errors that are handled elsewhere, or that this machine may have caused: disk, network, too little memory."""


@dataclass(frozen=True, slots=True)
class Crash:
    """A bug of ours, and where it occurred.

    Attributes:
        place: Type of error, file, line and function: the same for the same bug.
        text: The error's message, which may differ each time.
    """

    place: str
    text: str

    @property
    def words(self) -> str:
        """Place and text, as recorded for the next attempt."""
        return f"{self.place}: {self.text}"

    def is_that_of(self, noted: str) -> bool:
        """Whether an earlier attempt recorded the same bug."""
        return noted.partition(": ")[0] == self.place


def crash_of(error: BaseException) -> Crash | None:
    """The bug that an error shows; None for other errors, such as those that another attempt may not have."""
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
    """The error that ends a submission in which the same bug occurred twice."""
    who = "writing the results" if merging else f"task {me.index}"
    return TaskCrashedError.of(who, crash.words, me.log or f"execution {me.execution}")
