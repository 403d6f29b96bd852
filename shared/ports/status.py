"""The status store: submissions, their tasks and their history, with conditional writes and server times."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Protocol, TypeAlias, TypeVar

from shared.domain.admission import Request
from shared.domain.errors import UnreadableRecordError
from shared.domain.submission import Requester, State, Submission, TaskRecord

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Stored(Generic[T]):
    """A value with its version and times.

    Attributes:
        version: Opaque; changes with every write.
        read_at: The store's time at this read. It is the only clock that leases are compared with.
        created_at: The store's time at the first write.
        updated_at: The store's time at the latest write.
    """

    value: T
    version: str
    read_at: datetime
    created_at: datetime
    updated_at: datetime


class Found(list[Stored[Submission]]):
    """The submissions that a query found.

    Attributes:
        unreadable: The errors of the records that it passed over because this version cannot read them. Each names the
            id of its submission in ``where``.
    """

    def __init__(
        self,
        readable: Iterable[Stored[Submission]] = (),
        unreadable: Iterable[UnreadableRecordError] = (),
    ) -> None:
        super().__init__(readable)
        self.unreadable = list(unreadable)


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One change of state.

    Attributes:
        n: From 1, in the order of the changes.
        note: The problem or the reason; empty if there is none.
    """

    n: int
    at: datetime
    state: State
    epoch: int
    note: str = ""


TransactedChange: TypeAlias = Callable[[Submission, Sequence[TaskRecord], datetime], Submission]
"""Makes the new record from the current one, the tasks of its epoch and the store's time. Raises to write nothing."""


class StatusStore(Protocol):
    """A store with Firestore's guarantees. Every method raises UnavailableError if the store does not answer.

    A write that raises UnavailableError may have happened. A method that reads one record, or writes over it, raises
    UnreadableRecordError if this version cannot read the record. So what a newer version wrote is never overwritten.
    """

    def resolved(self, event: str) -> Request | None:
        """The request that an event's first delivery was resolved to; None if this is the first delivery."""
        ...

    def resolve(self, event: str, request: Request) -> Request:
        """Store the request of an event, unless an earlier delivery has stored one. Returns the stored request.

        Args:
            event: A key made by ``event_key``.
        """
        ...

    def create(self, record: Submission) -> Stored[Submission]:
        """The first write of a submission, with its first history entry.

        Raises:
            PreconditionFailedError: A submission with that id exists.
        """
        ...

    def get(self, submission_id: str) -> Stored[Submission]:
        """Read a record.

        Raises:
            SubmissionNotFoundError: There is no submission with that id.
        """
        ...

    def replace(self, record: Submission, *, if_version: str) -> Stored[Submission]:
        """Overwrite the version that was read. A change of state or epoch is added to the history in the same write.

        Raises:
            PreconditionFailedError: The record has another version.
            SubmissionNotFoundError: There is no submission with that id.
        """
        ...

    def transact(self, submission_id: str, change: TransactedChange) -> Stored[Submission]:
        """Read record and tasks, change the record and write it, in one transaction.

        ``change`` may be called more than once and must be pure. If it raises, nothing is written.

        Raises:
            SubmissionNotFoundError: There is no submission with that id.
        """
        ...

    def find(
        self,
        states: Iterable[State] = (),
        *,
        limit: int = 100,
        with_outbox: bool = False,
        oldest_first: bool = False,
    ) -> Found:
        """Find submissions in any of the states (empty: all states), latest first.

        Records that this version cannot read are passed over, and do not count towards the limit.

        Args:
            with_outbox: Only those with a non-empty outbox.
            oldest_first: Reverse the order. With a limit, newer submissions are found once older ones have left.
        """
        ...

    def find_owing(self, *, messages: bool, limit: int = 100) -> Found:
        """Find submissions with outbox entries that are due by the store's time, longest due first.

        Records that this version cannot read are passed over, and do not count towards the limit.

        Postponed entries come when they are due again, after entries that were never tried. So what cannot be paid
        does not hide newer submissions from a query with a limit.

        Args:
            messages: Look for messages; otherwise for upkeep (``owed.UPKEEP``).
        """
        ...

    def put_page(self, submission_id: str, number: int, requesters: tuple[Requester, ...]) -> None:
        """Store a full page of requesters beside the record. Writing it again changes nothing."""
        ...

    def page(self, submission_id: str, number: int) -> tuple[Requester, ...]:
        """Read a full page of requesters; empty if there is none."""
        ...

    def history(self, submission_id: str) -> list[HistoryEntry]:
        """Every change of state, oldest first; empty for an unknown id."""
        ...

    def put_task(self, submission_id: str, task: TaskRecord, *, if_version: str | None) -> Stored[TaskRecord]:
        """Write one task's document.

        Args:
            if_version: The version that was read; None writes only if there is no document yet.

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
