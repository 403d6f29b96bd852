"""The status store in memory."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from typing_extensions import override

from shared.domain import owed
from shared.domain.admission import Request
from shared.domain.errors import PreconditionFailedError, SubmissionNotFoundError, UnreadableRecordError
from shared.domain.submission import Requester, State, Submission, TaskRecord
from shared.ports.status import Found, HistoryEntry, StatusStore, Stored, TransactedChange
from shared.records.finding import readable
from shared.records.history import history_entry
from tests.fakes.calls import Hook, call, nothing

T = TypeVar("T")


class MemoryStatusStore(StatusStore):
    """Records are kept as they are: they are frozen.

    Attributes:
        unreadable: The ids of records that this version cannot read. They are found by their last readable value, as
            the fields that real stores search by are kept apart from the record.
    """

    def __init__(self, clock: Callable[[], datetime], hook: Hook = nothing) -> None:
        self.hook = hook
        self._clock = clock
        self._lock = threading.RLock()
        self.records: dict[str, Stored[Submission]] = {}
        self.unreadable: set[str] = set()
        self.events: dict[str, Request] = {}
        self.pages: dict[tuple[str, int], tuple[Requester, ...]] = {}
        self._tasks: dict[tuple[str, int, int], Stored[TaskRecord]] = {}
        self._history: dict[str, list[HistoryEntry]] = defaultdict(list)

    @override
    def resolved(self, event: str) -> Request | None:
        with call(self.hook, "status.resolved"), self._lock:
            return self.events.get(event)

    @override
    def resolve(self, event: str, request: Request) -> Request:
        with call(self.hook, "status.resolve"), self._lock:
            return self.events.setdefault(event, request)

    @override
    def create(self, record: Submission) -> Stored[Submission]:
        with call(self.hook, "status.create"), self._lock:
            if record.id in self.records:
                raise PreconditionFailedError(f"submission {record.id} exists", expected="none of that id")
            return self._write(None, record)

    @override
    def get(self, submission_id: str) -> Stored[Submission]:
        with call(self.hook, "status.get"), self._lock:
            return self._existing(submission_id)

    @override
    def replace(self, record: Submission, *, if_version: str) -> Stored[Submission]:
        with call(self.hook, "status.replace"), self._lock:
            before = self._existing(record.id)
            _check(before.version, if_version)
            return self._write(before, record)

    @override
    def transact(self, submission_id: str, change: TransactedChange) -> Stored[Submission]:
        with call(self.hook, "status.transact"), self._lock:
            before = self._existing(submission_id)
            tasks = [task.value for task in self._tasks_of(submission_id, before.value.epoch)]
            return self._write(before, change(before.value, tasks, before.read_at))

    @override
    def find(
        self,
        states: Iterable[State] = (),
        *,
        limit: int = 100,
        with_outbox: bool = False,
        oldest_first: bool = False,
    ) -> Found:
        wanted = set(states)
        with call(self.hook, "status.find"), self._lock:
            found = [
                stored
                for stored in reversed(self.records.values())
                if (not wanted or stored.value.state in wanted) and (stored.value.outbox or not with_outbox)
            ]
            latest_first = sorted(found, key=lambda stored: stored.created_at, reverse=True)
            return self._read(latest_first[::-1] if oldest_first else latest_first, limit)

    @override
    def find_owing(self, *, messages: bool, limit: int = 100) -> Found:
        with call(self.hook, "status.find_owing"), self._lock:
            return self._owing(self.records.values(), messages, limit)

    def _owing(self, records: Iterable[Stored[Submission]], messages: bool, limit: int) -> Found:
        now = self._clock()
        dated = [(owed.due_at(stored.value, messages=messages), stored) for stored in records]
        due = sorted(((at, stored) for at, stored in dated if at is not None and at <= now), key=lambda pair: pair[0])
        return self._read([stored for _, stored in due], limit)

    def _read(self, found: list[Stored[Submission]], limit: int) -> Found:
        return readable(lambda n: found[:n], self._readable, limit)

    def _readable(self, found: Stored[Submission]) -> Stored[Submission]:
        if found.value.id in self.unreadable:
            raise UnreadableRecordError("the record cannot be read", where=found.value.id)
        return self._now(found)

    @override
    def put_page(self, submission_id: str, number: int, requesters: tuple[Requester, ...]) -> None:
        with call(self.hook, "status.put_page"), self._lock:
            self.pages[submission_id, number] = requesters

    @override
    def page(self, submission_id: str, number: int) -> tuple[Requester, ...]:
        with call(self.hook, "status.page"), self._lock:
            return self.pages.get((submission_id, number), ())

    @override
    def history(self, submission_id: str) -> list[HistoryEntry]:
        with call(self.hook, "status.history"), self._lock:
            return list(self._history.get(submission_id, ()))

    @override
    def put_task(self, submission_id: str, task: TaskRecord, *, if_version: str | None) -> Stored[TaskRecord]:
        key = (submission_id, task.epoch, task.index)
        with call(self.hook, "status.put_task"), self._lock:
            before = self._tasks.get(key)
            _check(before.version if before else None, if_version)
            self._tasks[key] = self._next(before, task)
            return self._tasks[key]

    @override
    def get_task(self, submission_id: str, epoch: int, index: int) -> Stored[TaskRecord] | None:
        with call(self.hook, "status.get_task"), self._lock:
            found = self._tasks.get((submission_id, epoch, index))
            return self._now(found) if found else None

    @override
    def tasks(self, submission_id: str, epoch: int) -> list[Stored[TaskRecord]]:
        with call(self.hook, "status.tasks"), self._lock:
            return self._tasks_of(submission_id, epoch)

    def _tasks_of(self, submission_id: str, epoch: int) -> list[Stored[TaskRecord]]:
        keys = sorted(key for key in self._tasks if key[:2] == (submission_id, epoch))
        return [self._now(self._tasks[key]) for key in keys]

    def _existing(self, submission_id: str) -> Stored[Submission]:
        found = self.records.get(submission_id)
        if found is None:
            raise SubmissionNotFoundError(f"no submission {submission_id}")
        return self._readable(found)

    def _write(self, before: Stored[Submission] | None, record: Submission) -> Stored[Submission]:
        stored = self.records[record.id] = self._next(before, record)
        log = self._history[record.id]
        entry = history_entry(before.value if before else None, record, n=len(log) + 1, at=stored.updated_at)
        if entry is not None:
            log.append(entry)
        return stored

    def _next(self, before: Stored[T] | None, value: T) -> Stored[T]:
        now = self._clock()
        version = str(int(before.version) + 1) if before else "1"
        return Stored(value, version, now, before.created_at if before else now, now)

    def _now(self, stored: Stored[T]) -> Stored[T]:
        return replace(stored, read_at=self._clock())


def _check(found: str | None, expected: str | None) -> None:
    if found != expected:
        raise PreconditionFailedError(f"found version {found}", expected=f"version {expected}")
