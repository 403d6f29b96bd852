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
from typing import Any

import pytest

from shared.adapters.local.status import SqliteStatusStore
from shared.records import Document
from tests.contracts.racing import StatusDoor
from tests.contracts.status_contract import StatusStoreContract


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
    def racers(self, processes: Executor) -> Executor:
        return processes

    @pytest.fixture
    def fresh(self, scratch: Path) -> StatusDoor:
        numbers = count()
        clock = partial(datetime.now, UTC)
        return lambda: SqliteStatusStore(scratch / f"fresh-{next(numbers)}.sqlite", clock)
