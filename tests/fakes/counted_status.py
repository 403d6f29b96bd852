"""A status store that counts what is asked of another one, in the units that Firestore charges by."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from typing_extensions import override

from shared.domain.admission import Request
from shared.domain.submission import Requester, State, Submission, TaskRecord
from shared.ports.status import Found, HistoryEntry, StatusStore, Stored, TransactedChange
from shared.records.documents import submission_document, task_document
from shared.records.history import history_entry


@dataclass
class CountedStatusStore(StatusStore):
    """Reading through to ``inner``, as ``shared.adapters.gcp.status`` does it in Firestore.

    A change reads the document that it writes over, once more than its caller did; a query that finds nothing is one
    read. What is refused is charged for its reads alone. A test compares with the real adapter on the emulator.

    Attributes:
        reads: Documents read.
        writes: Documents written, history entries among them.
        record_writes: Those of the record alone: one document, which no two may write at a time.
        record_bytes: The largest record, as JSON.
        task_bytes: The largest document of a task, likewise.
        weighing: Whether documents are weighed; it takes most of the time.
    """

    inner: StatusStore
    reads: int = 0
    writes: int = 0
    record_writes: int = 0
    record_bytes: int = 0
    task_bytes: int = 0
    weighing: bool = True

    @override
    def resolved(self, event: str) -> Request | None:
        self.reads += 1
        return self.inner.resolved(event)

    @override
    def resolve(self, event: str, request: Request) -> Request:
        kept = self.inner.resolve(event, request)
        self.writes += 1
        return kept

    @override
    def create(self, record: Submission) -> Stored[Submission]:
        stored = self.inner.create(record)
        self._wrote(None, record)
        return stored

    @override
    def get(self, submission_id: str) -> Stored[Submission]:
        self.reads += 1
        return self.inner.get(submission_id)

    @override
    def replace(self, record: Submission, *, if_version: str) -> Stored[Submission]:
        self.reads += 1
        before = self.inner.get(record.id)
        stored = self.inner.replace(record, if_version=if_version)
        self._wrote(before.value, record)
        return stored

    @override
    def transact(self, submission_id: str, change: TransactedChange) -> Stored[Submission]:
        seen: list[Submission] = []

        def counted(record: Submission, tasks: Sequence[TaskRecord], now: datetime) -> Submission:
            self.reads += 1 + max(1, len(tasks))
            seen.append(record)
            return change(record, tasks, now)

        stored = self.inner.transact(submission_id, counted)
        self._wrote(seen[-1], stored.value)
        return stored

    @override
    def find(
        self,
        states: Iterable[State] = (),
        *,
        limit: int = 100,
        with_outbox: bool = False,
        oldest_first: bool = False,
    ) -> Found:
        found = self.inner.find(states, limit=limit, with_outbox=with_outbox, oldest_first=oldest_first)
        self.reads += max(1, len(found) + len(found.unreadable))
        return found

    @override
    def find_owing(self, *, messages: bool, limit: int = 100) -> Found:
        found = self.inner.find_owing(messages=messages, limit=limit)
        self.reads += max(1, len(found) + len(found.unreadable))
        return found

    @override
    def put_page(self, submission_id: str, number: int, requesters: tuple[Requester, ...]) -> None:
        self.inner.put_page(submission_id, number, requesters)
        self.writes += 1

    @override
    def page(self, submission_id: str, number: int) -> tuple[Requester, ...]:
        self.reads += 1
        return self.inner.page(submission_id, number)

    @override
    def history(self, submission_id: str) -> list[HistoryEntry]:
        found = self.inner.history(submission_id)
        self.reads += max(1, len(found))
        return found

    @override
    def put_task(self, submission_id: str, task: TaskRecord, *, if_version: str | None) -> Stored[TaskRecord]:
        self.reads += if_version is not None
        stored = self.inner.put_task(submission_id, task, if_version=if_version)
        self.writes += 1
        if self.weighing:
            self.task_bytes = max(self.task_bytes, _json_bytes(task_document(task)))
        return stored

    @override
    def get_task(self, submission_id: str, epoch: int, index: int) -> Stored[TaskRecord] | None:
        self.reads += 1
        return self.inner.get_task(submission_id, epoch, index)

    @override
    def tasks(self, submission_id: str, epoch: int) -> list[Stored[TaskRecord]]:
        found = self.inner.tasks(submission_id, epoch)
        self.reads += max(1, len(found))
        return found

    def _wrote(self, before: Submission | None, after: Submission) -> None:
        entry = history_entry(before, after, n=1, at=datetime.min)  # noqa: DTZ901  # only whether there is one
        self.record_writes += 1
        self.writes += 1 + (entry is not None)
        if self.weighing:
            self.record_bytes = max(self.record_bytes, _json_bytes(submission_document(after)))


def _json_bytes(document: dict[str, object]) -> int:
    return len(json.dumps(document, separators=(",", ":")))
