"""The SQLite status store keeps the contract, between processes too."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest

from shared.adapters.local.status import SqliteStatusStore
from shared.ports.status import StatusStore
from shared.records.documents import Document
from tests.contracts.elsewhere import Elsewhere
from tests.contracts.racing import StatusDoor
from tests.contracts.status_contract import FreshDoors, StatusStoreContract
from tests.contracts.unreadable_contract import Rewrite


class TestSqliteStatusStore(StatusStoreContract):
    @pytest.fixture
    def door(self, scratch: Path) -> StatusDoor:
        return partial(SqliteStatusStore, scratch / "status.sqlite", partial(datetime.now, UTC))

    @pytest.fixture
    def raw(self, scratch: Path) -> Callable[[str], Document]:
        def document(submission_id: str) -> Any:
            with closing(sqlite3.connect(scratch / "status.sqlite")) as connection:
                query = "SELECT document FROM submissions WHERE id = ?"
                return json.loads(connection.execute(query, (submission_id,)).fetchone()[0])

        return document

    @pytest.fixture
    def rewrite(self, scratch: Path) -> Rewrite:
        def rewrite(submission_id: str, text: str) -> None:
            with closing(sqlite3.connect(scratch / "status.sqlite")) as connection, connection:
                query = "UPDATE submissions SET document = ? WHERE id = ?"
                connection.execute(query, (text, submission_id))

        return rewrite

    @pytest.fixture
    def racers(self, processes: Executor) -> Executor:
        return processes

    @pytest.fixture
    def fresh_doors(self, scratch: Path, processes: Executor) -> FreshDoors:
        numbers = count()

        def make() -> list[StatusDoor]:
            door = partial(SqliteStatusStore, scratch / f"fresh-{next(numbers)}.sqlite", partial(datetime.now, UTC))
            return [_Reopening(door), lambda: cast("StatusStore", Elsewhere(door, processes))]

        return make


class _Reopening:
    """A door that closes the store which it opened before."""

    def __init__(self, door: Callable[[], SqliteStatusStore]) -> None:
        self._door = door
        self._open: SqliteStatusStore | None = None

    def __call__(self) -> StatusStore:
        if self._open is not None:
            self._open.close()
        self._open = self._door()
        return self._open
