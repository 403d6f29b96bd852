"""A large file needs no more memory than a small one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipeline.large_files import genes_of, write_large
from tests.pipeline.memory import Tree

LIMIT_BYTES = 1 << 30
PER_CELL = 3_328
BYTES_OF_A_VALUE = 8
"""Four of the value, and four of its column."""
JUST_TOO_MANY = 41_008
"""Cells whose values would not fit; 16 times an odd number, so that a few thousand are written over and over."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n_cells", "map_"), [(JUST_TOO_MANY, "off"), pytest.param(100_000, "on", marks=pytest.mark.exhaustive)]
)
def test_as_many_values_as_would_not_fit_fit_in_a_gibibyte(
    n_cells: int, map_: str, environment: dict[str, str], celltypist_models: Path, tmp_path: Path
) -> None:
    assert n_cells * PER_CELL * BYTES_OF_A_VALUE > LIMIT_BYTES
    file = tmp_path / "large.h5ad"
    genes = genes_of(celltypist_models / "adams-45-f-0" / "1")
    write_large(file, n_cells=n_cells, per_cell=PER_CELL, genes=genes)
    command = [sys.executable, "-m", "cli.main", "run", str(file), "--json", "--set", f"map={map_}"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    tree = Tree(process)
    status = process.wait()
    tree.stop()
    assert status == 0
    assert tree.peak_bytes < LIMIT_BYTES, f"{tree.peak_bytes / 2**20:.0f} MiB"
