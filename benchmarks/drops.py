"""How long a small file waits in ``celldrop serve``: ``python -m benchmarks.drops FILE.h5ad [--other CHECKOUT]``.

Drops that many copies of a file in the inbox of one server, each when the one before has its result, and prints the
seconds from the drop to the event, and the CPU seconds of server and tasks. With ``--other``, the same follows for
another checkout with the same environment, in the same minutes: only the ratio of the two says something.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import h5py

from shared.settings import REPOSITORY

SUCCEEDED = "submission.succeeded"
LOOK_S = 0.01
TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class Waited:
    """What the drops took: seconds of each, and CPU seconds of all."""

    seconds: list[float]
    cpu_s: float


def main() -> None:
    """Serve, drop, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drops", description=__doc__)
    parser.add_argument("file", type=Path, help="a small .h5ad")
    parser.add_argument("--files", type=int, default=20)
    parser.add_argument("--other", type=Path, help="another checkout to compare with")
    asked = parser.parse_args()
    print("| checkout | first, s | median of the others, s | last, s | CPU for all, s |\n|---|---|---|---|---|")
    for tree in filter(None, (REPOSITORY, asked.other)):
        with tempfile.TemporaryDirectory(prefix="celldrop-drops-") as work:
            found = served(tree.resolve(), asked.file, asked.files, Path(work))
        first, *others = found.seconds
        print(f"| {tree} | {first:.2f} | {statistics.median(others):.2f} | {others[-1]:.2f} | {found.cpu_s:.1f} |")


def served(tree: Path, file: Path, n_files: int, work: Path) -> Waited:
    """Drop copies in the inbox of a server of that checkout, one after the other.

    Raises:
        TimeoutError: One had no result in time.
    """
    home, before = work / "home", _cpu_s()
    inbox, events = home / "inbox", home / ".celldrop" / "events.jsonl"
    inbox.mkdir(parents=True)
    server = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "serve", "--out", str(home), "--port", "0"],
        env={**os.environ, "PYTHONPATH": str(tree)},
        cwd=tree,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        seconds = [_dropped(file, number, inbox, events) for number in range(n_files)]
    finally:
        server.terminate()
        server.wait()
    return Waited(seconds, _cpu_s() - before)


def _dropped(file: Path, number: int, inbox: Path, events: Path) -> float:
    part = inbox / f"file-{number}.part"
    shutil.copyfile(file, part)
    with h5py.File(part, "r+") as changed:
        changed.attrs["number"] = number  # Each has bytes of its own, so that none has results already.
    began_s = time.monotonic()
    part.rename(part.with_suffix(".h5ad"))
    while not events.exists() or events.read_text().count(SUCCEEDED) <= number:
        if time.monotonic() - began_s > TIMEOUT_S:
            raise TimeoutError(f"file {number} has no result")
        time.sleep(LOOK_S)
    return time.monotonic() - began_s


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
