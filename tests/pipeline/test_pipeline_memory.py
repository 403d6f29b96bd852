"""A large file needs no more memory than a small one."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from tests.pipeline.synthetic import genes_of, write_counts

LIMIT_BYTES = 1 << 30


class Tree:
    """Watches the memory of a process and everything below it, summed, until it ends."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.peak_bytes = 0
        self._process = psutil.Process(process.pid)
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._look)
        self._watch.start()

    def stop(self) -> None:
        self._over.set()
        self._watch.join()

    def _look(self) -> None:
        while not self._over.wait(0.02):
            try:
                family = [self._process, *self._process.children(recursive=True)]
                self.peak_bytes = max(self.peak_bytes, sum(_memory(member) for member in family))
            except psutil.NoSuchProcess:
                return


def _memory(process: psutil.Process) -> int:
    try:
        resident: int = process.memory_info().rss
    except psutil.NoSuchProcess:
        return 0
    return resident


@pytest.mark.slow
def test_a_hundred_thousand_cells_fit_in_a_gibibyte(
    environment: dict[str, str], celltypist_models: Path, tmp_path: Path
) -> None:
    file = tmp_path / "large.h5ad"
    genes = genes_of(celltypist_models / "adams-45-f-0" / "1")
    write_counts(file, n_cells=100_000, per_cell=2_500, seed=0, genes=genes)
    process = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "run", str(file), "--json"], env=environment, stdout=subprocess.DEVNULL
    )
    tree = Tree(process)
    status = process.wait()
    tree.stop()
    assert status == 0
    assert tree.peak_bytes < LIMIT_BYTES, f"{tree.peak_bytes / 2**20:.0f} MiB"
