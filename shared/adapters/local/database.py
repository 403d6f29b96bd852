"""The SQLite file of the status store: its schema, connections and transactions."""

from __future__ import annotations

import os
import sqlite3
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.adapters.local.locks import exclusive
from shared.domain.errors import SettingsError, UnavailableError

SCHEMA_VERSION = 1
BUSY_TIMEOUT_S = 30.0

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)",
    """CREATE TABLE IF NOT EXISTS submissions (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        revision INTEGER NOT NULL,
        state TEXT NOT NULL,
        owes INTEGER NOT NULL,
        created_at TEXT NOT NULL,
        updated_at TEXT NOT NULL,
        document TEXT NOT NULL,
        tell_at TEXT,
        tend_at TEXT
    )""",
    "CREATE INDEX IF NOT EXISTS submissions_latest ON submissions (created_at, number)",
    "CREATE INDEX IF NOT EXISTS submissions_by_state ON submissions (state, created_at, number)",
    "CREATE INDEX IF NOT EXISTS submissions_owing ON submissions (created_at, number) WHERE owes > 0",
    "CREATE INDEX IF NOT EXISTS submissions_to_tell ON submissions (tell_at, number) WHERE tell_at IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS submissions_to_tend ON submissions (tend_at, number) WHERE tend_at IS NOT NULL",
    """CREATE TABLE IF NOT EXISTS tasks (
        submission_id TEXT NOT NULL,
        epoch INTEGER NOT NULL,
        task INTEGER NOT NULL,
        revision INTEGER NOT NULL,
        created_at TEXT NOT NULL,
        updated_at TEXT NOT NULL,
        document TEXT NOT NULL,
        PRIMARY KEY (submission_id, epoch, task)
    ) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS events (
        id TEXT NOT NULL PRIMARY KEY,
        document TEXT NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS pages (
        submission_id TEXT NOT NULL,
        n INTEGER NOT NULL,
        document TEXT NOT NULL,
        PRIMARY KEY (submission_id, n)
    ) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS history (
        submission_id TEXT NOT NULL,
        n INTEGER NOT NULL,
        document TEXT NOT NULL,
        PRIMARY KEY (submission_id, n)
    ) WITHOUT ROWID""",
)

_ADDED = ("tell_at", "tend_at")
"""Columns that were added to submissions later."""


class Database:
    """A pool of connections to one file. Each connection is used by one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pid = 0
        self._idle: deque[sqlite3.Connection] = deque()
        self._inherited: list[deque[sqlite3.Connection]] = []

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection for single statements. Each of them sees a consistent state of the file.

        Raises:
            UnavailableError: The file is locked for too long, or there is no space or no permission.
            SettingsError: The file is not a status database.
        """
        with self._answering(), self._connection() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """An exclusive write transaction, committed at the end and rolled back by any exception.

        Raises:
            UnavailableError: The file is locked for too long, or there is no space or no permission.
            SettingsError: The file is not a status database.
        """
        with self.reading() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                connection.rollback()
                raise

    def close(self) -> None:
        """Close all idle connections. A later call opens new ones."""
        while self._idle:
            self._idle.pop().close()

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        connection = self._taken()
        try:
            yield connection
        except sqlite3.Error:
            connection.close()
            raise
        except BaseException:
            self._idle.append(connection)
            raise
        else:
            self._idle.append(connection)

    def _taken(self) -> sqlite3.Connection:
        if self._pid != os.getpid():
            self._begin()
        try:
            return self._idle.pop()
        except IndexError:
            return self._opened()

    def _begin(self) -> None:
        if self._pid:
            # A forked child must neither use nor close its parent's connections: keep them out of reach.
            self._inherited.append(self._idle)
        self._idle = deque()
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # Switching to the write-ahead log fails while another process opens the file, whatever the timeout.
            with exclusive(self._path.with_name(f"{self._path.name}.lock")):
                self._idle.append(self._set_up())
        except OSError as error:
            raise _unavailable(error, self._path) from error
        self._pid = os.getpid()

    def _set_up(self) -> sqlite3.Connection:
        connection = self._opened()
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("BEGIN IMMEDIATE")
            self._widen(connection)
            for statement in _SCHEMA:
                connection.execute(statement)
            self._check_version(connection)
            connection.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
        return connection

    def _widen(self, connection: sqlite3.Connection) -> None:
        """Add missing columns to a file of an earlier version, which can still read the file afterwards."""
        there = {row[1] for row in connection.execute("PRAGMA table_info(submissions)")}
        for column in _ADDED:
            if there and column not in there:
                connection.execute(f"ALTER TABLE submissions ADD COLUMN {column} TEXT")

    def _check_version(self, connection: sqlite3.Connection) -> None:
        row = connection.execute("SELECT version FROM schema_version").fetchone()
        if row is None:
            connection.execute("INSERT INTO schema_version VALUES (?)", (SCHEMA_VERSION,))
        elif row[0] != SCHEMA_VERSION:
            raise SettingsError(
                f"the status database has schema {row[0]}",
                expected=f"schema {SCHEMA_VERSION}",
                where=str(self._path),
                hint="Use the version of celldrop that wrote it, or move the file away: results stay where they are.",
            )

    def _opened(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise _unavailable(error, self._path) from error
        except sqlite3.DatabaseError as error:
            # Its subclasses are our own bugs; the class itself means a damaged file or not a database.
            if type(error) is not sqlite3.DatabaseError:
                raise
            raise SettingsError(
                f"the status database cannot be read: {error}",
                expected="a SQLite file that celldrop wrote",
                where=str(self._path),
                hint="Move the file away: results stay where they are.",
            ) from error


def _unavailable(error: Exception, path: Path) -> UnavailableError:
    return UnavailableError(
        f"the status database failed: {error}",
        where=str(path),
        hint="Check for a full disk, missing write permission, or another program that locks the file.",
    )
