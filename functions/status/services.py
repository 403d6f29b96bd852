"""Status: look a submission up, wait for its news, list, cancel, and open one file of its result."""

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
    UnavailableError,
)
from shared.domain.submission import ID_LENGTH, State, Submission, TaskRecord
from shared.ports.status import HistoryEntry, StatusStore, Stored
from shared.records.outbox import Outbox
from shared.records.updates import update

MAX_WAIT_S = 30.0
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 3.0
"""Pauses between two looks grow up to this: each look costs a read of the record and of every task's document."""

MOST_IN_LINE = 10_000
"""Of those that are queued, how many are counted."""

_ID = re.compile(f"[0-9a-f]{{{ID_LENGTH}}}")
_COMPUTING = frozenset({State.RUNNING, State.FINALIZING})

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A submission as it stood at one read.

    Attributes:
        tasks: Of the present epoch; empty once it succeeded, and where nothing computes in a list.
        history: Every change of state; left out in a list.
        files: Of the committed result; left out in a list.
        place: In the queue of this machine, from 1, where it waits there; left out in a list.
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
        """Opaque; differs after every write of the record and after every cell's progress."""
        return f"{self.stored.version}.{self.rows_done}"

    @property
    def rows_total(self) -> int:
        """Cells to annotate; 0 before they were counted."""
        if self.record.plan is not None:
            return self.record.plan.n_cells
        return self.record.verdict.n_cells if self.record.verdict else 0

    @property
    def rows_done(self) -> int:
        """Cells annotated so far in the present epoch."""
        if self.record.state is State.SUCCEEDED:
            return self.rows_total
        return min(self.rows_total, sum(_rows_done(task.value) for task in self.tasks))

    @property
    def tasks_total(self) -> int:
        """Tasks of the plan; 0 before there is one."""
        return self.record.plan.n_tasks if self.record.plan else 0

    @property
    def tasks_done(self) -> int:
        """Tasks whose part is whole."""
        if self.record.state is State.SUCCEEDED:
            return self.tasks_total
        return sum(task.value.receipt is not None for task in self.tasks)

    @property
    def last_beat_at(self) -> datetime | None:
        """When a task last reported."""
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
    """The service. It reads, and writes one thing only: a cancellation.

    Attributes:
        sleep: Waits seconds, between two looks of a watch.
        clock: Seconds that never run backwards, for a watch's deadline.
        in_line: Whether what is queued waits for its turn on this machine, one behind the other.
    """

    store: StatusStore
    outbox: Outbox
    data: ResultData
    sleep: Callable[[float], None]
    clock: Callable[[], float]
    in_line: bool = False

    def look_up(self, submission_id: str) -> Snapshot:
        """Everything about a submission, now.

        Raises:
            SubmissionNotFoundError: No submission of that id.
            UnavailableError: A store did not answer.
        """
        return self._complete(self._glance(submission_id))

    def watch(self, submission_id: str, *, seen: str | None, wait_s: float) -> Snapshot:
        """Everything about a submission, as soon as its version is not the one ``seen``, or after ``wait_s``.

        Args:
            seen: The version that the caller knows; None waits for the first change from now on.
            wait_s: Seconds, of which at most MAX_WAIT_S are waited. A submission that is over is never waited for.

        Raises:
            SubmissionNotFoundError: No submission of that id.
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
        """The latest submissions in any of the states (all when empty), at most ``limit``.

        Raises:
            UnavailableError: The store did not answer.
        """
        found = self.store.find(states, limit=limit + 1)
        return Listing(tuple(self._with_progress(stored) for stored in found[:limit]), len(found) > limit)

    def cancel(self, submission_id: str) -> Snapshot:
        """End a submission that is not over, and stop what computes for it.

        Idempotent: one that was cancelled stays as it is, and what it still owes is paid again. What cannot be
        paid now stays in its outbox, for reconcile.

        Raises:
            SubmissionNotFoundError: No submission of that id.
            IllegalTransitionError: It ended in another way.
            UnavailableError: The store did not answer.
        """
        stored = update(self.store, _checked(submission_id), _cancelled)
        try:
            stored = self.outbox.pay(stored)
        except UnavailableError as error:
            log.warning("cancelled %s; reconcile pays what it owes: %s", submission_id, error.message)
        return self._complete(self._with_progress(stored))

    def open_file(self, submission_id: str, name: str) -> ResultFile:
        """One file of the committed result.

        Raises:
            SubmissionNotFoundError: No submission of that id.
            ResultNotReadyError: There is no result, not yet or not at all.
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
    """Which of those that are queued it is, from 1, oldest first; None where it is not queued.

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
            "that is not the id of a submission",
            expected=f"{ID_LENGTH} hexadecimal digits",
            hint="Look for it in the list of submissions.",
        )
    return submission_id


def _cancelled(record: Submission, now: datetime) -> Submission:
    if record.state is State.CANCELLED:
        return record
    if record.state.final:
        raise IllegalTransitionError(
            f"the submission is {record.state} already",
            expected="one that is not over",
            hint="There is nothing left to cancel.",
        )
    return machine.cancel(record, now=now)


def _rows_done(task: TaskRecord) -> int:
    return len(task.rows) if task.receipt is not None else task.rows_done


def _wait_hint(record: Submission) -> str:
    if record.state.final:
        return "It ended without results; its failure says why."
    return "Results appear once it has SUCCEEDED; watch it until then."
