"""A large file needs no more memory than a small one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipeline.large_files import genes_of, write_large
from tests.pipeline.memory import Tree

LIMIT_BYTES = 1 << 30


@pytest.mark.slow
def test_a_hundred_thousand_cells_fit_in_a_gibibyte(
    environment: dict[str, str], celltypist_models: Path, tmp_path: Path
) -> None:
    file = tmp_path / "large.h5ad"
    genes = genes_of(celltypist_models / "adams-45-f-0" / "1")
    write_large(file, n_cells=100_000, per_cell=3_328, genes=genes)
    process = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "run", str(file), "--json"], env=environment, stdout=subprocess.DEVNULL
    )
    tree = Tree(process)
    status = process.wait()
    tree.stop()
    assert status == 0
    assert tree.peak_bytes < LIMIT_BYTES, f"{tree.peak_bytes / 2**20:.0f} MiB"
