"""How long a task's rows take to read, from a file and from a bucket: ``python -m benchmarks.reading [FOLDER]``.

One of seven tasks, and all rows, of 0.5 GB; the store answers at once, as a file does, and after 20 ms a request. Five
turns, in turns; what stands still beside them is all rows from a file. The file is made in FOLDER (a temporary one
without it) and kept there for the next time.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from shared.adapters.local.blobs import DirectoryBlobStore
from shared.domain.geometry import Rows, task_rows
from shared.h5ad.inspection import inspect
from shared.h5ad.matrices import choose
from shared.h5ad.rows import open_matrix
from shared.h5ad.source import BlobSource
from tests.fakes.counted import CountedBlobStore
from tests.pipeline.large_files import kept_large

LATENCY_S = 0.02
TURNS = 5
N_CELLS = 100_000
SHARES = {"all rows": (1, 0), "task 3 of 7": (7, 3)}


@dataclass(frozen=True)
class Read:
    """What one reading took."""

    seconds: float
    requests: int
    megabytes: float


def main(folder: Path) -> None:
    """Measure, and print a line a case."""
    file = kept_large(folder, N_CELLS)
    cases = [(share, latency_s) for share in SHARES for latency_s in (0.0, LATENCY_S)]
    turns = [{case: _read(file, *case) for case in cases} for _ in range(TURNS)]
    still = statistics.median(turn[cases[0]].seconds for turn in turns)
    print(f"{'rows':<14}{'latency':>9}{'requests':>10}{'MB':>8}{'median s':>10}{'ratio':>8}")
    for case in cases:
        seconds = statistics.median(turn[case].seconds for turn in turns)
        one = turns[0][case]
        print(
            f"{case[0]:<14}{1000 * case[1]:>6.0f} ms{one.requests:>10}{one.megabytes:>8.1f}"
            f"{seconds:>10.2f}{seconds / still:>8.2f}"
        )


def _read(file: Path, share: str, latency_s: float) -> Read:
    store = CountedBlobStore(DirectoryBlobStore({"b": file.parent}, frozenset({"b"})), 0)
    info = store.stat("b", file.name)
    source = BlobSource(store, info.ref, info.size_bytes)
    choice = choose(inspect(source).candidates, "X").choice
    assert choice is not None
    tasks, index = SHARES[share]
    rows: Rows = task_rows(choice.n_cells, tasks, index)
    store.requests, store.latency_s = 0, latency_s
    store.log.clear()
    started = time.perf_counter()
    with open_matrix(source, choice) as matrix:
        for _ in matrix.blocks(rows):
            pass
    return Read(time.perf_counter() - started, store.requests, store.bytes_read / 1e6)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as made:
            main(Path(made))
