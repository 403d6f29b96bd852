"""Status: look up, watch, list and cancel submissions, and open a file of a result."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from functions.status.data_manager import ResultData, ResultFile
from shared.domain import machine
from shared.domain.errors import (
    IllegalTransitionError,
    ResultNotReadyError,
    SubmissionNotFoundError,
)
from shared.domain.submission import ID_LENGTH, State, Submission, TaskRecord
from shared.ports.status import HistoryEntry, StatusStore, Stored
from shared.records.outbox import Outbox
from shared.records.updates import update

MAX_WAIT_S = 30.0
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 3.0
"""The longest pause between two polls. Each poll reads the record and every task's document."""

MOST_IN_LINE = 10_000
"""The most queued submissions that are read to find a place in the queue."""

_ID = re.compile(f"[0-9a-f]{{{ID_LENGTH}}}")
_COMPUTING = frozenset({State.RUNNING, State.FINALIZING})

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A submission as it was at one read.

    Attributes:
        tasks: The tasks of the current epoch. Empty once it succeeded; in a list, read only while it computes.
        history: Every change of state; empty in a list.
        files: The files of the committed result; empty in a list.
        place: Position in this machine's queue, from 1, if it waits there; None in a list.
    """

    stored: Stored[Submission]
    tasks: tuple[Stored[TaskRecord], ...] = ()
    history: tuple[HistoryEntry, ...] = ()
    files: tuple[ResultFile, ...] = ()
    place: int | None = None

    @property
    def record(self) -> Submission:
        """The submission's record."""
        return self.stored.value

    @property
    def version(self) -> str:
        """An opaque version. It changes with every write of the record and with the number of annotated cells."""
        return f"{self.stored.version}.{self.rows_done}"

    @property
    def rows_total(self) -> int:
        """Number of cells to annotate; 0 until they are counted."""
        if self.record.plan is not None:
            return self.record.plan.n_cells
        return self.record.verdict.n_cells if self.record.verdict else 0

    @property
    def rows_done(self) -> int:
        """Number of cells annotated so far in the current epoch."""
        if self.record.state is State.SUCCEEDED:
            return self.rows_total
        return min(self.rows_total, sum(_rows_done(task.value) for task in self.tasks))

    @property
    def tasks_total(self) -> int:
        """Number of tasks in the plan; 0 until there is a plan."""
        return self.record.plan.n_tasks if self.record.plan else 0

    @property
    def tasks_done(self) -> int:
        """Number of tasks whose receipt is recorded."""
        if self.record.state is State.SUCCEEDED:
            return self.tasks_total
        return sum(task.value.receipt is not None for task in self.tasks)

    @property
    def last_beat_at(self) -> datetime | None:
        """When a task last wrote its document; None if no task has."""
        return max((task.updated_at for task in self.tasks), default=None)


@dataclass(frozen=True, slots=True)
class Listing:
    """The latest submissions.

    Attributes:
        more: Whether older ones were left out.
    """

    snapshots: tuple[Snapshot, ...]
    more: bool


@dataclass(frozen=True, slots=True)
class StatusService:
    """The status service. It reads submissions; its only write is a cancellation.

    Attributes:
        sleep: Waits for a number of seconds, between two polls of a watch.
        clock: A monotonic clock in seconds, for a watch's deadline.
        in_line: Whether queued submissions run one after another on this machine, so that each has a place.
    """

    store: StatusStore
    outbox: Outbox
    data: ResultData
    sleep: Callable[[float], None]
    clock: Callable[[], float]
    in_line: bool = False

    def look_up(self, submission_id: str) -> Snapshot:
        """Read everything about a submission.

        Raises:
            SubmissionNotFoundError: There is no submission with that id.
            UnavailableError: A store did not answer.
        """
        return self._complete(self._glance(submission_id))

    def watch(self, submission_id: str, *, seen: str | None, wait_s: float) -> Snapshot:
        """Long-poll: read everything about a submission once its version differs from ``seen``, or after ``wait_s``.

        Args:
            seen: The version that the caller already has; None waits for the next change.
            wait_s: Longest wait in seconds, capped at MAX_WAIT_S. A submission in a final state returns at once.

        Raises:
            SubmissionNotFoundError: There is no submission with that id.
            UnavailableError: A store did not answer.
        """
        deadline = self.clock() + min(wait_s, MAX_WAIT_S)
        glance = self._glance(submission_id)
        known, pause_s = seen or glance.version, FIRST_PAUSE_S
        while glance.version == known and not glance.record.state.final:
            left_s = deadline - self.clock()
            if left_s <= 0:
                break
            self.sleep(min(pause_s, left_s))
            pause_s = min(pause_s * 1.5, LONGEST_PAUSE_S)
            glance = self._glance(submission_id)
        return self._complete(glance)

    def list(self, states: Iterable[State] = (), *, limit: int) -> Listing:
        """List the latest submissions in any of the states (empty: all states), at most ``limit`` of them.

        Raises:
            UnavailableError: The store did not answer.
        """
        found = self.store.find(states, limit=limit + 1)
        return Listing(tuple(self._with_progress(stored) for stored in found[:limit]), len(found) > limit)

    def cancel(self, submission_id: str) -> Snapshot:
        """Cancel a submission and stop its executions.

        Idempotent: a cancelled submission stays as it is, and its outbox is drained again. Entries that cannot be
        delivered now stay in the outbox; reconcile retries them. Once the cancellation is stored, this succeeds: what
        cannot be read then is left out of the snapshot.

        Raises:
            SubmissionNotFoundError: There is no submission with that id.
            IllegalTransitionError: It already reached another final state.
            UnavailableError: The store did not answer.
        """
        stored = update(self.store, _checked(submission_id), _cancelled)
        try:
            stored = self.outbox.pay(stored)
        except Exception as error:  # it is cancelled, whatever becomes of its messages for now
            log.warning("cancelled %s; reconcile will drain its outbox", submission_id, exc_info=error)
        try:
            return self._complete(Snapshot(stored))
        except Exception as error:  # likewise
            log.warning("cancelled %s; its history cannot be read now", submission_id, exc_info=error)
            return Snapshot(stored)

    def open_file(self, submission_id: str, name: str) -> ResultFile:
        """Find one file of the committed result.

        Raises:
            SubmissionNotFoundError: There is no submission with that id.
            ResultNotReadyError: There is no result: it is not finished, or it ended without one.
            ResultFileNotFoundError: The result has no such file.
            UnavailableError: A store did not answer.
        """
        record = self.store.get(_checked(submission_id)).value
        if record.result is None:
            raise ResultNotReadyError(
                f"the submission is {record.state}", expected="SUCCEEDED", hint=_wait_hint(record)
            )
        return self.data.find(record.result, name)

    def _glance(self, submission_id: str) -> Snapshot:
        stored = self.store.get(_checked(submission_id))
        record = stored.value
        if record.state is State.SUCCEEDED or record.epoch == 0:
            return Snapshot(stored)
        return Snapshot(stored, tuple(self.store.tasks(record.id, record.epoch)))

    def _with_progress(self, stored: Stored[Submission]) -> Snapshot:
        record = stored.value
        if record.state not in _COMPUTING:
            return Snapshot(stored)
        return Snapshot(stored, tuple(self.store.tasks(record.id, record.epoch)))

    def _complete(self, glance: Snapshot) -> Snapshot:
        history = tuple(self.store.history(glance.record.id))
        result = glance.record.result
        place = place_in_line(self.store, glance.record) if self.in_line else None
        return Snapshot(glance.stored, glance.tasks, history, self.data.files(result) if result else (), place)


def place_in_line(store: StatusStore, record: Submission) -> int | None:
    """The submission's position among the queued ones, from 1 for the oldest; None if it is not queued.

    Raises:
        UnavailableError: The store did not answer.
    """
    if record.state is not State.QUEUED:
        return None
    queued = [stored.value.id for stored in store.find([State.QUEUED], limit=MOST_IN_LINE, oldest_first=True)]
    return queued.index(record.id) + 1 if record.id in queued else None


def _checked(submission_id: str) -> str:
    if _ID.fullmatch(submission_id) is None:
        raise SubmissionNotFoundError(
            "that is not a submission id",
            expected=f"{ID_LENGTH} hexadecimal digits",
            hint="Copy the id from the list of submissions.",
        )
    return submission_id


def _cancelled(record: Submission, now: datetime) -> Submission:
    if record.state is State.CANCELLED:
        return record
    if record.state.final:
        raise IllegalTransitionError(
            f"the submission is already {record.state}",
            expected="a submission that is not finished",
            hint="There is nothing left to cancel.",
        )
    return machine.cancel(record, now=now)


def _rows_done(task: TaskRecord) -> int:
    return len(task.rows) if task.receipt is not None else task.rows_done


def _wait_hint(record: Submission) -> str:
    if record.state.final:
        return "It ended without results. The submission's failure says why."
    return "Results appear once it has SUCCEEDED: watch it until then."
