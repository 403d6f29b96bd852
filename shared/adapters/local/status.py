"""Submissions, tasks and history in a SQLite file: the status store of the local backend."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

from typing_extensions import override

from shared.adapters.local.database import Database
from shared.domain import owed
from shared.domain.admission import Request
from shared.domain.errors import InternalError, PreconditionFailedError, SubmissionNotFoundError
from shared.domain.submission import Requester, State, Submission, TaskRecord
from shared.ports.status import Found, HistoryEntry, StatusStore, Stored, TransactedChange
from shared.records.documents import (
    Document,
    history_document,
    history_from,
    page_document,
    page_from,
    parsed,
    request_document,
    request_from,
    submission_document,
    submission_from,
    task_document,
    task_from,
)
from shared.records.finding import readable
from shared.records.history import history_entry

_RECORD = "SELECT id, document, revision, created_at, updated_at FROM submissions"
_TASK = (
    "SELECT submission_id, document, revision, created_at, updated_at FROM tasks WHERE submission_id = ? AND epoch = ?"
)
_Row: TypeAlias = tuple[str, str, int, str, str]


class SqliteStatusStore(StatusStore):
    """SQLite as a status store; safe for many threads and processes on one machine, but not on a network disk.

    Args:
        clock: The store's time, as aware datetimes; the same for every process that opens the file.
    """

    def __init__(self, path: Path, clock: Callable[[], datetime]) -> None:
        self._database = Database(path)
        self._clock = clock

    @override
    def resolved(self, event: str) -> Request | None:
        with self._database.reading() as connection:
            row = connection.execute("SELECT document FROM events WHERE id = ?", (event,)).fetchone()
        return parsed(row[0], request_from, event) if row else None

    @override
    def resolve(self, event: str, request: Request) -> Request:
        with self._database.writing() as connection:
            row = (event, _json(request_document(request)))
            connection.execute("INSERT OR IGNORE INTO events (id, document) VALUES (?, ?)", row)
            (text,) = connection.execute("SELECT document FROM events WHERE id = ?", (event,)).fetchone()
        return parsed(text, request_from, event)

    @override
    def create(self, record: Submission) -> Stored[Submission]:
        with self._database.writing() as connection:
            if _found(connection, record.id) is not None:
                raise PreconditionFailedError(f"submission {record.id} exists", expected="none of that id")
            return self._insert(connection, record)

    @override
    def get(self, submission_id: str) -> Stored[Submission]:
        with self._database.reading() as connection:
            return self._existing(connection, submission_id)

    @override
    def replace(self, record: Submission, *, if_version: str) -> Stored[Submission]:
        with self._database.writing() as connection:
            before = self._existing(connection, record.id)
            if before.version != if_version:
                raise PreconditionFailedError(
                    f"submission {record.id} is at version {before.version}", expected=f"version {if_version}"
                )
            return self._update(connection, before, record)

    @override
    def transact(self, submission_id: str, change: TransactedChange) -> Stored[Submission]:
        with self._database.writing() as connection:
            before = self._existing(connection, submission_id)
            tasks = self._tasks(connection, submission_id, before.value.epoch)
            after = change(before.value, [task.value for task in tasks], before.read_at)
            if after.id != submission_id:
                raise InternalError(f"a change of {submission_id} made {after.id}")
            return self._update(connection, before, after)

    @override
    def find(
        self,
        states: Iterable[State] = (),
        *,
        limit: int = 100,
        with_outbox: bool = False,
        oldest_first: bool = False,
    ) -> Found:
        wanted = [str(state) for state in states]
        conditions = [f"state IN ({', '.join('?' * len(wanted))})"] if wanted else []
        conditions += ["owes > 0"] if with_outbox else []
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        order = "ASC" if oldest_first else "DESC"
        query = f"{_RECORD} {where} ORDER BY created_at {order}, number {order} LIMIT ?"
        return self._found(query, wanted, limit)

    @override
    def find_owing(self, *, messages: bool, limit: int = 100) -> Found:
        column = "tell_at" if messages else "tend_at"
        query = f"{_RECORD} WHERE {column} <= ? ORDER BY {column}, number LIMIT ?"
        return self._found(query, [_text(self._now())], limit)

    @override
    def put_page(self, submission_id: str, number: int, requesters: tuple[Requester, ...]) -> None:
        with self._database.writing() as connection:
            row = (submission_id, number, _json(page_document(requesters)))
            connection.execute("INSERT OR REPLACE INTO pages (submission_id, n, document) VALUES (?, ?, ?)", row)

    @override
    def page(self, submission_id: str, number: int) -> tuple[Requester, ...]:
        query = "SELECT document FROM pages WHERE submission_id = ? AND n = ?"
        with self._database.reading() as connection:
            row = connection.execute(query, (submission_id, number)).fetchone()
        return parsed(row[0], page_from, submission_id) if row else ()

    @override
    def history(self, submission_id: str) -> list[HistoryEntry]:
        query = "SELECT document FROM history WHERE submission_id = ? ORDER BY n"
        with self._database.reading() as connection:
            rows = connection.execute(query, (submission_id,)).fetchall()
        return [parsed(text, history_from, submission_id) for (text,) in rows]

    @override
    def put_task(self, submission_id: str, task: TaskRecord, *, if_version: str | None) -> Stored[TaskRecord]:
        with self._database.writing() as connection:
            before = self._task(connection, submission_id, task.epoch, task.index)
            found = before.version if before else None
            if found != if_version:
                raise PreconditionFailedError(
                    f"task {task.index} of {submission_id} is at version {found}", expected=f"version {if_version}"
                )
            return self._write_task(connection, submission_id, before, task)

    @override
    def get_task(self, submission_id: str, epoch: int, index: int) -> Stored[TaskRecord] | None:
        with self._database.reading() as connection:
            return self._task(connection, submission_id, epoch, index)

    @override
    def tasks(self, submission_id: str, epoch: int) -> list[Stored[TaskRecord]]:
        with self._database.reading() as connection:
            return self._tasks(connection, submission_id, epoch)

    def close(self) -> None:
        """Close the file. A later call opens it again."""
        self._database.close()

    # --- Records ---

    def _found(self, query: str, values: list[str], limit: int) -> Found:
        with self._database.reading() as connection:

            def ask(n: int) -> list[_Row]:
                return connection.execute(query, [*values, n]).fetchall()

            return readable(ask, lambda row: self._stored(row, submission_from), limit)

    def _existing(self, connection: sqlite3.Connection, submission_id: str) -> Stored[Submission]:
        row = _found(connection, submission_id)
        if row is None:
            raise SubmissionNotFoundError(f"no submission {submission_id}", hint="Check the id.")
        return self._stored(row, submission_from)

    def _insert(self, connection: sqlite3.Connection, record: Submission) -> Stored[Submission]:
        now = self._now()
        connection.execute(
            "INSERT INTO submissions (id, revision, state, owes, tell_at, tend_at, created_at, updated_at, document)"
            " VALUES (?, 1, ?, ?, ?, ?, ?, ?, ?)",
            (record.id, *_searched(record), _text(now), _text(now), _json(submission_document(record))),
        )
        _append_history(connection, None, record, now)
        return Stored(record, "1", now, now, now)

    def _update(
        self, connection: sqlite3.Connection, before: Stored[Submission], record: Submission
    ) -> Stored[Submission]:
        now, revision = self._now(), int(before.version) + 1
        connection.execute(
            "UPDATE submissions SET revision = ?, state = ?, owes = ?, tell_at = ?, tend_at = ?, updated_at = ?,"
            " document = ? WHERE id = ?",
            (revision, *_searched(record), _text(now), _json(submission_document(record)), record.id),
        )
        _append_history(connection, before.value, record, now)
        return Stored(record, str(revision), now, before.created_at, now)

    # --- Tasks ---

    def _task(
        self, connection: sqlite3.Connection, submission_id: str, epoch: int, index: int
    ) -> Stored[TaskRecord] | None:
        row = connection.execute(f"{_TASK} AND task = ?", (submission_id, epoch, index)).fetchone()
        return self._stored(row, task_from) if row else None

    def _tasks(self, connection: sqlite3.Connection, submission_id: str, epoch: int) -> list[Stored[TaskRecord]]:
        rows = connection.execute(f"{_TASK} ORDER BY task", (submission_id, epoch)).fetchall()
        return [self._stored(row, task_from) for row in rows]

    def _write_task(
        self, connection: sqlite3.Connection, submission_id: str, before: Stored[TaskRecord] | None, task: TaskRecord
    ) -> Stored[TaskRecord]:
        now = self._now()
        revision, created_at = (int(before.version) + 1, before.created_at) if before else (1, now)
        connection.execute(
            "INSERT OR REPLACE INTO tasks (submission_id, epoch, task, revision, created_at, updated_at, document)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                submission_id,
                task.epoch,
                task.index,
                revision,
                _text(created_at),
                _text(now),
                _json(task_document(task)),
            ),
        )
        return Stored(task, str(revision), now, created_at, now)

    # --- Rows and time ---

    def _stored(self, row: _Row, parse: Callable[[Document], Any]) -> Stored[Any]:
        submission_id, text, revision, created_at, updated_at = row
        return Stored(
            parsed(text, parse, submission_id),
            str(revision),
            self._now(),
            datetime.fromisoformat(created_at),
            datetime.fromisoformat(updated_at),
        )

    def _now(self) -> datetime:
        return self._clock().astimezone(UTC)


def _searched(record: Submission) -> tuple[str, int, str | None, str | None]:
    """The columns to query by: state, number of outbox entries, and since when messages and upkeep are due."""
    tell_at, tend_at = (owed.due_at(record, messages=messages) for messages in (True, False))
    return record.state, len(record.outbox), _text(tell_at) if tell_at else None, _text(tend_at) if tend_at else None


def _found(connection: sqlite3.Connection, submission_id: str) -> _Row | None:
    row: _Row | None = connection.execute(f"{_RECORD} WHERE id = ?", (submission_id,)).fetchone()
    return row


def _append_history(
    connection: sqlite3.Connection, before: Submission | None, after: Submission, now: datetime
) -> None:
    query = "SELECT coalesce(max(n), 0) FROM history WHERE submission_id = ?"
    n = 1 + int(connection.execute(query, (after.id,)).fetchone()[0])
    entry = history_entry(before, after, n=n, at=now)
    if entry is not None:
        connection.execute("INSERT INTO history VALUES (?, ?, ?)", (after.id, n, _json(history_document(entry))))


def _json(document: Document) -> str:
    # ASCII only: names from damaged files can contain characters that UTF-8 cannot encode.
    return json.dumps(document, separators=(",", ":"))


def _text(moment: datetime) -> str:
    # A fixed width and time zone, so that texts sort like times.
    return moment.isoformat(timespec="microseconds")
