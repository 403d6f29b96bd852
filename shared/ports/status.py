"""The status store: submissions, their tasks and their history, with conditional writes and the server's time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Protocol, TypeAlias, TypeVar

from shared.domain.admission import Request
from shared.domain.submission import Requester, State, Submission, TaskRecord

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Stored(Generic[T]):
    """A value as read.

    Attributes:
        version: Opaque; differs after every write.
        read_at: The store's own time at this read: the only clock that leases are judged by.
        created_at: The store's time at the first write.
        updated_at: The store's time at the latest write.
    """

    value: T
    version: str
    read_at: datetime
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One change of state.

    Attributes:
        n: From 1, in the order of the changes.
        note: The problem or the reason, where there was one.
    """

    n: int
    at: datetime
    state: State
    epoch: int
    note: str = ""


TransactedChange: TypeAlias = Callable[[Submission, Sequence[TaskRecord], datetime], Submission]
"""From the record, the tasks of its present epoch and the store's time to the new record; raises to write nothing."""


class StatusStore(Protocol):
    """Firestore's promises, and no more. Every method raises UnavailableError when the store does not answer.

    A write that answers UnavailableError may have happened.
    """

    def resolved(self, event: str) -> Request | None:
        """What an event asks for, as it was resolved at its first delivery; None where there was none."""
        ...

    def resolve(self, event: str, request: Request) -> Request:
        """Keep what an event asks for, unless an earlier delivery has kept something; what is kept.

        Args:
            event: Of ``event_key``.
        """
        ...

    def create(self, record: Submission) -> Stored[Submission]:
        """The first write of a submission, with its first history entry.

        Raises:
            PreconditionFailedError: A submission of that id exists.
        """
        ...

    def get(self, submission_id: str) -> Stored[Submission]:
        """The record.

        Raises:
            SubmissionNotFoundError: No submission of that id.
        """
        ...

    def replace(self, record: Submission, *, if_version: str) -> Stored[Submission]:
        """Write over the version that was read; a change of state or epoch appends to the history in the same write.

        Raises:
            PreconditionFailedError: The record has another version by now.
            SubmissionNotFoundError: No submission of that id.
        """
        ...

    def transact(self, submission_id: str, change: TransactedChange) -> Stored[Submission]:
        """Read record and tasks, change the record and write it, all as one: for the commit.

        ``change`` may be called more than once and must be pure. What it raises passes through, and nothing is written.

        Raises:
            SubmissionNotFoundError: No submission of that id.
        """
        ...

    def find(
        self,
        states: Iterable[State] = (),
        *,
        limit: int = 100,
        with_outbox: bool = False,
        oldest_first: bool = False,
    ) -> list[Stored[Submission]]:
        """Submissions in any of the states (all when empty), latest first.

        Args:
            with_outbox: Only those that still owe something.
            oldest_first: The other way round, so that a bounded look starves nobody.
        """
        ...

    def find_owing(self, *, messages: bool, limit: int = 100) -> list[Stored[Submission]]:
        """Submissions that owe something that is due by the store's time, the one that is due longest first.

        What was put off comes when it is due again, behind what was never tried, so that a bounded look starves nobody.

        Args:
            messages: Whether they owe messages; otherwise upkeep (``owed.UPKEEP``).
        """
        ...

    def put_page(self, submission_id: str, number: int, requesters: tuple[Requester, ...]) -> None:
        """Keep a full page of requesters beside the record; written again, it is what it was."""
        ...

    def page(self, submission_id: str, number: int) -> tuple[Requester, ...]:
        """A full page of requesters; empty where none was kept."""
        ...

    def history(self, submission_id: str) -> list[HistoryEntry]:
        """Every change of state, oldest first; empty for an unknown id."""
        ...

    def put_task(self, submission_id: str, task: TaskRecord, *, if_version: str | None) -> Stored[TaskRecord]:
        """Write one task's document.

        Args:
            if_version: The version that was read; None writes only where there is none yet.

        Raises:
            PreconditionFailedError: The document has another version, or exists.
        """
        ...

    def get_task(self, submission_id: str, epoch: int, index: int) -> Stored[TaskRecord] | None:
        """One task's document, or None before its first write."""
        ...

    def tasks(self, submission_id: str, epoch: int) -> list[Stored[TaskRecord]]:
        """Every task document of an epoch, by index."""
        ...
