"""Results on a busy machine: ``python -m benchmarks.busy FILE.h5ad [--runs 20] [--busy 14] [--files 12] [--cores 2]``.

Starts that many processes that do nothing but compute, on as many cores; runs the file again and again with
``celldrop run``, each time in a home of its own; then drops copies of it in the inbox of one ``celldrop serve``. Prints
how each ended, how often work was lost on the way, and the longest silence of every stage; the exit status is 1 where
anything but results came out, or a silence was longer than a third of its lease.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.silence import silences, table
from shared.adapters.local.status import SqliteStatusStore
from shared.domain.submission import State, Submission
from shared.settings import REPOSITORY

FOREVER = "while True: pass"
TIMEOUT_S = 3600.0
LOOK_S = 0.5
STOP_S = 60.0
HEARD = {"CELLDROP_LOG_LEVEL": "DEBUG", "CELLDROP_LOG_FORMAT": "json", "PYTHONPATH": str(REPOSITORY)}


@dataclass(frozen=True, slots=True)
class Ended:
    """How one file ended.

    Attributes:
        lost: What had to be done again: starts beyond the first, and finalizers beyond the first.
    """

    what: str
    state: str
    seconds: float
    lost: int
    note: str


def main() -> int:
    """Run it all, and say what came of it."""
    asked = _asked()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: asked.cores])
    with tempfile.TemporaryDirectory(prefix="celldrop-busy-") as work, _busy(asked.busy):
        folder = Path(work)
        ended = [_told(_run(asked.file, folder / f"run-{n}")) for n in range(asked.runs)]
        homes = [folder / f"run-{n}" for n in range(asked.runs)]
        if asked.files:
            ended += [_told(one) for one in _served(asked.file, asked.files, folder / "serve")]
            homes.append(folder / "serve")
        found = silences(homes)
    good = sum(one.state == State.SUCCEEDED for one in ended)
    print(f"{good} of {len(ended)} with a result; {sum(one.lost for one in ended)} times work was done again")
    print(table(found))
    return int(good < len(ended) or any(one.longest_s > one.third_s for one in found))


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.busy", description=__doc__)
    parser.add_argument("file", type=Path, help="an .h5ad that has results on a quiet machine")
    parser.add_argument("--runs", type=int, default=20, help="by `celldrop run`, one after the other")
    parser.add_argument("--busy", type=int, default=14, help="processes that compute beside them")
    parser.add_argument("--files", type=int, default=12, help="through one `celldrop serve`")
    parser.add_argument("--cores", type=int, default=2, help="that all of them share")
    asked = parser.parse_args()
    if not asked.file.is_file():
        parser.error(f"no such file: {asked.file}")
    return asked


@contextmanager
def _busy(n: int) -> Iterator[None]:
    others = [subprocess.Popen([sys.executable, "-S", "-c", FOREVER]) for _ in range(n)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def _run(file: Path, home: Path) -> Ended:
    began_s = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "cli.main", "run", str(file.resolve()), "--out", str(home)],
        env={**os.environ, **HEARD},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return _ended(home.name, next(iter(_records(home)), None), time.monotonic() - began_s)


def _served(file: Path, n: int, home: Path) -> list[Ended]:
    inbox = home / "inbox"
    inbox.mkdir(parents=True)
    began_s = time.monotonic()
    server = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "serve", "--out", str(home), "--port", "0"],
        env={**os.environ, **HEARD},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for number in range(n):
            shutil.copy(file, inbox / f"file-{number}.part")
            (inbox / f"file-{number}.part").rename(inbox / f"file-{number}.h5ad")
        done = _wait_for(n, home, began_s)
    finally:
        server.terminate()
        server.wait(STOP_S)
    return done


def _wait_for(n: int, home: Path, began_s: float) -> list[Ended]:
    done: dict[str, Ended] = {}
    records: Sequence[Submission] = ()
    while len(done) < n and time.monotonic() - began_s < TIMEOUT_S:
        records = _records(home)
        for record in records:
            if record.state.final and record.id not in done:
                name = Path(record.source.name).name
                done[record.id] = _ended(name, record, time.monotonic() - began_s)
        time.sleep(LOOK_S)
    late = [_ended(record.source.name, record, TIMEOUT_S) for record in records if record.id not in done]
    unseen = n - len(done) - len(late)
    return [*done.values(), *late, *(_ended("not taken in", None, TIMEOUT_S) for _ in range(unseen))]


def _records(home: Path) -> list[Submission]:
    path = home / ".celldrop" / "status.sqlite"
    if not path.is_file():
        return []
    store = SqliteStatusStore(path, lambda: datetime.now(UTC))
    try:
        return [stored.value for stored in store.find(limit=10_000)]
    finally:
        store.close()


def _ended(what: str, record: Submission | None, seconds: float) -> Ended:
    if record is None:
        return Ended(what, "no record", seconds, 0, "")
    note = record.failure.message if record.failure else record.last_problem
    left_out = str(record.result.summary.get("no_map", "")) if record.result else ""
    lost = max(0, record.epoch - 1) + record.finalize_attempts
    return Ended(what, record.state, seconds, lost, " ".join(part for part in (note, left_out) if part))


def _told(ended: Ended) -> Ended:
    print(f"{ended.what:<14}{ended.state:<11}{ended.seconds:>8.1f} s  {ended.note}", flush=True)
    return ended


if __name__ == "__main__":
    sys.exit(main())
