"""Files that would hang a task or a merge, or burst in it, end soon, in little memory, and with a code."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from tests.h5ad.bombs import COMPRESSIONS, packed_zeros, with_broken_heap
from tests.pipeline.few_cells import few_cells
from tests.pipeline.measured import measured

MOST_MB = 600
LIMIT_S = 300.0
MANY = 51_000
"""Cells of which an inspection reads the first thousand ids."""


@dataclass(frozen=True)
class Ended:
    """How a run ended, and the largest of its processes."""

    status: int
    peak_mb: float
    said: dict[str, Any]


Run = Callable[[Path], Ended]


@pytest.fixture
def run(environment: dict[str, str], tmp_path: Path) -> Run:
    def ended(file: Path) -> Ended:
        command = [sys.executable, "-m", "cli.main", "run", str(file), "--json", "--set", "map=off"]
        took = measured(command, environment, tmp_path, LIMIT_S)
        return Ended(took.status, took.peak_mb, json.loads(took.stdout))

    return ended


@pytest.fixture(scope="module")
def genes(data_dir: Path) -> list[str]:
    return list(few_cells(data_dir, 300).var_names)


def cells_of(genes: list[str], n_cells: int, depth: int = 20) -> anndata.AnnData:
    """Cells of a few genes each."""
    random = np.random.default_rng(0)
    indices = np.sort(random.integers(0, len(genes), (n_cells, depth)), axis=1).astype("i4").ravel()
    counts = random.integers(1, 9, n_cells * depth).astype("f4")
    matrix = sp.csr_matrix((counts, indices, np.arange(n_cells + 1) * depth), shape=(n_cells, len(genes)))
    matrix.sum_duplicates()
    names = pd.DataFrame(index=[f"cell{number:06}" for number in range(n_cells)])
    return anndata.AnnData(matrix, obs=names, var=pd.DataFrame(index=genes))


def test_a_task_that_would_hang_on_an_id_is_refused(run: Run, genes: list[str], tmp_path: Path) -> None:
    path = tmp_path / "hangs.h5ad"
    cells_of(genes, MANY).write_h5ad(path)
    path.write_bytes(with_broken_heap(path.read_bytes(), b"cell020000").data)
    ended = run(path)
    assert (ended.status, ended.said["state"], ended.said["code"]) == (3, "FAILED", "FILE_UNSAFE")
    assert ended.peak_mb < MOST_MB


def test_ids_that_burst_beyond_the_first_are_refused_in_little_memory(
    run: Run, genes: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "bursts.h5ad"
    cells_of(genes, MANY).write_h5ad(path)
    with h5py.File(path, "r+") as file:
        ids = file["obs/_index"][()].astype("S40")
        del file["obs/_index"]
        made = file.create_dataset("obs/_index", data=ids, chunks=(MANY // 2,), compression="gzip")
        made.id.write_direct_chunk((MANY // 2,), packed_zeros(COMPRESSIONS["gzip"], 2**30))
    ended = run(path)
    assert (ended.status, ended.said["state"], ended.said["code"]) == (3, "FAILED", "FILE_UNSAFE")
    assert ended.peak_mb < MOST_MB


def test_one_id_that_is_long_keeps_nobody_from_being_annotated(run: Run, genes: list[str], tmp_path: Path) -> None:
    path = tmp_path / "long.h5ad"
    cells = cells_of(genes, 200, depth=300)
    long = "x" * 500_000
    cells.obs_names = [long if number == 3 else name for number, name in enumerate(cells.obs_names)]
    cells.write_h5ad(path)
    ended = run(path)
    assert (ended.status, ended.said["state"]) == (0, "SUCCEEDED")
    assert ended.peak_mb < MOST_MB
    annotated = anndata.read_h5ad(Path(ended.said["results"]) / "annotated.h5ad", backed="r")
    assert annotated.obs_names[3] == long


def test_a_merge_that_would_hang_on_a_column_is_refused(run: Run, genes: list[str], tmp_path: Path) -> None:
    path = tmp_path / "hangs.h5ad"
    cells = cells_of(genes, 60, depth=300)
    text = h5py.string_dtype()
    with h5py.File(path, "w") as file:
        group = file.create_group("X")
        group.attrs["h5sparse_format"], group.attrs["h5sparse_shape"] = "csr", cells.shape
        group["data"], group["indices"], group["indptr"] = cells.X.data, cells.X.indices, cells.X.indptr
        rows = [(name.encode(), number % 3) for number, name in enumerate(cells.obs_names)]
        file["obs"] = np.array(rows, [("index", text), ("kind", "i1")])
        file["var"] = np.array([(name.encode(),) for name in genes], [("index", text)])
    with h5py.File(path, "r+") as file:  # Anew, so that these lie in a heap of their own, which only a merge reads.
        names = np.array(["zzkind0", "zzkind1", "zzkind2"], object)
        file.create_group("uns").create_dataset("kind_categories", data=names, dtype=text)
    path.write_bytes(with_broken_heap(path.read_bytes(), b"zzkind1").data)
    ended = run(path)
    assert (ended.status, ended.said["state"], ended.said["code"]) == (3, "FAILED", "FILE_UNSAFE")


def test_a_chunk_of_values_that_bursts_outside_the_sample_is_refused_in_little_memory(
    run: Run, genes: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "bursts.h5ad"
    cells_of(genes, 2_000, depth=300).write_h5ad(path)
    with h5py.File(path, "r+") as file:
        values = file["X/data"][()]
        del file["X/data"]
        made = file.create_dataset("X/data", data=values, chunks=(5_000,), **COMPRESSIONS["zstd"])
        made.id.write_direct_chunk((5_000 * 17,), packed_zeros(COMPRESSIONS["zstd"], 2**30))
    ended = run(path)
    assert (ended.status, ended.said["state"]) == (3, "FAILED")
    assert ended.said["code"] in {"FILE_UNSAFE", "FILE_DAMAGED"}
    assert ended.peak_mb < MOST_MB
