"""What the SQLite status store promises beyond the contract: crashes, forks, locks, files that are not its own."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta, timezone
from pathlib import Path

import pytest

from shared.adapters.local import database
from shared.adapters.local.status import SqliteStatusStore
from shared.domain.errors import InternalError, SettingsError, UnavailableError
from shared.domain.submission import State
from tests.contracts.records_made import owing, plain, task
from tests.fakes.clock import START, SettableClock

KILLED_IN_A_TRANSACTION = """
import os, signal, sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from shared.adapters.local.status import SqliteStatusStore
store = SqliteStatusStore(Path(sys.argv[1]), lambda: datetime.now(UTC))
store.transact("s1", lambda record, tasks, now: replace(record, attempts=1))
store.transact("s1", lambda record, tasks, now: os.kill(os.getpid(), signal.SIGKILL))
"""

FORKED = """
import os, sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from shared.adapters.local.status import SqliteStatusStore
store = SqliteStatusStore(Path(sys.argv[1]), lambda: datetime.now(UTC))
def count():
    for _ in range(20):
        store.transact("s1", lambda record, tasks, now: replace(record, attempts=record.attempts + 1))
count()
children = []
for _ in range(3):
    child = os.fork()
    if child == 0:
        count()
        sys.exit(0)
    children.append(child)
count()
assert all(os.waitpid(child, 0)[1] == 0 for child in children)
count()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "status.sqlite"


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def store(path: Path, clock: SettableClock) -> Iterator[SqliteStatusStore]:
    store = SqliteStatusStore(path, clock)
    yield store
    store.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.05)


def _in_another_process(script: str, path: Path) -> int:
    return subprocess.run([sys.executable, "-c", script, path], check=False, timeout=60).returncode


def test_records_outlive_the_process(store: SqliteStatusStore, path: Path, clock: SettableClock) -> None:
    store.create(plain())
    store.put_task("s1", task(), if_version=None)
    store.close()
    with closing(SqliteStatusStore(path, clock)) as again:
        assert again.get("s1").value == plain()
        assert [stored.value for stored in again.tasks("s1", 1)] == [task()]
    assert store.get("s1").value == plain()


def test_a_process_killed_in_a_transaction_leaves_the_record_as_it_was(store: SqliteStatusStore, path: Path) -> None:
    store.create(plain())
    assert _in_another_process(KILLED_IN_A_TRANSACTION, path) == -9
    assert store.get("s1").value.attempts == 1
    assert store.transact("s1", lambda record, _tasks, _now: replace(record, attempts=2)).value.attempts == 2


def test_forked_processes_share_the_file_and_no_connection(store: SqliteStatusStore, path: Path) -> None:
    store.create(plain())
    assert _in_another_process(FORKED, path) == 0
    assert store.get("s1").value.attempts == 120


def test_times_are_those_of_the_clock_in_utc(store: SqliteStatusStore, clock: SettableClock) -> None:
    clock.now = START.astimezone(timezone(timedelta(hours=2)))
    store.create(plain())
    clock.advance(timedelta(seconds=90))
    found = store.get("s1")
    assert (found.created_at, found.read_at) == (START, START + timedelta(seconds=90))
    assert found.read_at.utcoffset() == timedelta(0)


@pytest.mark.usefixtures("impatient")
def test_a_reader_is_not_held_up_by_a_writer(store: SqliteStatusStore, path: Path) -> None:
    store.create(plain())
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        assert store.get("s1").value == plain()
        assert len(store.find([State.QUEUED])) == 1


@pytest.mark.usefixtures("impatient")
def test_a_file_locked_for_too_long_does_not_answer(store: SqliteStatusStore, path: Path) -> None:
    store.create(plain())
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        with pytest.raises(UnavailableError, match="locked"):
            store.replace(plain(), if_version="1")
    assert store.replace(plain(), if_version="1").version == "2"


def test_a_full_disk_does_not_answer_and_keeps_what_was(store: SqliteStatusStore, path: Path) -> None:
    created = store.create(plain())
    store.close()
    with closing(sqlite3.connect(path)) as other:
        (n_pages,) = other.execute("PRAGMA page_count").fetchone()
    # Each connection counts pages for itself, so the limit is set on the one that the store will use.
    with store._database.reading() as connection:
        connection.execute(f"PRAGMA max_page_count = {n_pages}")
    with pytest.raises(UnavailableError, match="full"):
        store.replace(replace(plain(), last_problem="x" * 100_000), if_version=created.version)
    assert store.get("s1").version == created.version


def test_a_write_whose_history_fails_is_undone(store: SqliteStatusStore, path: Path) -> None:
    created = store.create(plain())
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("ALTER TABLE history RENAME TO lost")
    with pytest.raises(UnavailableError):
        store.replace(plain(state=State.CANCELLED), if_version=created.version)
    assert store.get("s1").version == created.version


def test_a_place_where_no_file_can_be_does_not_answer(tmp_path: Path, clock: SettableClock) -> None:
    (tmp_path / "taken").write_bytes(b"")
    with pytest.raises(UnavailableError):
        SqliteStatusStore(tmp_path / "taken" / "status.sqlite", clock).find()


def test_another_programs_file_is_refused_and_left_alone(tmp_path: Path, clock: SettableClock) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(b"not a database " * 100)
    with pytest.raises(SettingsError) as caught:
        SqliteStatusStore(path, clock).find()
    assert "Move the file away" in caught.value.hint
    assert path.read_bytes() == b"not a database " * 100


def test_a_newer_schema_is_refused(store: SqliteStatusStore, path: Path, clock: SettableClock) -> None:
    store.create(plain())
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE schema_version SET version = 99")
    with pytest.raises(SettingsError, match="schema 99"):
        SqliteStatusStore(path, clock).get("s1")


def test_a_change_of_the_id_is_a_fault(store: SqliteStatusStore) -> None:
    store.create(plain())
    with pytest.raises(InternalError):
        store.transact("s1", lambda record, _tasks, _now: replace(record, id="s2"))
    assert [stored.value for stored in store.find()] == [plain()]


@pytest.mark.parametrize(
    ("condition", "index"),
    [("owes > 0", "submissions_owing"), ("state IN ('QUEUED')", "submissions_by_state"), ("1", "submissions_latest")],
)
def test_finding_does_not_scan_every_record(store: SqliteStatusStore, path: Path, condition: str, index: str) -> None:
    store.create(owing())
    query = f"SELECT document FROM submissions WHERE {condition} ORDER BY created_at DESC, number DESC LIMIT 9"
    with closing(sqlite3.connect(path)) as other:
        plan = " ".join(row[3] for row in other.execute(f"EXPLAIN QUERY PLAN {query}"))
    assert f"USING INDEX {index}" in plan
    assert "TEMP B-TREE" not in plan


def test_a_file_of_an_earlier_version_is_widened_and_its_debts_are_found(scratch: Path) -> None:
    path = scratch / "status.sqlite"
    store = SqliteStatusStore(path, SettableClock(tick=timedelta(seconds=1)))
    stored = store.create(owing("s1"))
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        for index in ("submissions_to_tell", "submissions_to_tend"):
            connection.execute(f"DROP INDEX {index}")
        for column in ("tell_at", "tend_at"):
            connection.execute(f"ALTER TABLE submissions DROP COLUMN {column}")
        connection.execute("DROP TABLE events")
        connection.commit()
    later = SqliteStatusStore(path, SettableClock(tick=timedelta(seconds=1)))
    assert [found.value.id for found in later.find(with_outbox=True)] == ["s1"]
    assert later.find_owing(messages=True) == []
    later.replace(owing("s1"), if_version=stored.version)
    assert [found.value.id for found in later.find_owing(messages=True)] == ["s1"]
    assert later.resolved("an event") is None
