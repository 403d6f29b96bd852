"""Every limit of inspection and judging, on both sides of where it lies."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from shared.bundles.card import Features
from shared.domain.verdict import Species, Verdict
from shared.h5ad.inspect.gathering import ALL_IDS
from shared.h5ad.judge.judging import ModelNeeds, validate
from shared.h5ad.read.limits import DEFAULT_LIMITS
from shared.h5ad.source import BytesSource
from tests.h5ad.h5ad_files import DATA, Recipe, random_counts, write_file

CHUNK = 500
N_GENES = 400
SOUND = write_file(random_counts(300, N_GENES), Recipe(data_options={"compression": "gzip", "chunks": (CHUNK,)}))
SLACK_BYTES = 2**20


def verdict_of(data: bytes, name: str, bound: int) -> Verdict:
    limits: dict[str, Any] = {name: bound}
    return validate(BytesSource(data), limits=replace(DEFAULT_LIMITS, **limits))


def codes(verdict: Verdict) -> list[str]:
    return [finding.code for finding in verdict.refusals]


def n_objects(data: bytes) -> int:
    """Groups and datasets outside uns, of which another number is looked at."""
    names: list[str] = []
    with h5py.File(io.BytesIO(data)) as file:
        file.visit(names.append)
    return len([name for name in names if name.partition("/")[0] != "uns"])


def declared_bytes(data: bytes) -> int:
    """What all datasets would take, inflated."""
    sizes: list[int] = []
    with h5py.File(io.BytesIO(data)) as file:
        file.visititems(lambda _, node: sizes.append(node.nbytes) if isinstance(node, h5py.Dataset) else None)
    return sum(sizes)


def changed(change: Callable[[h5py.File], object]) -> bytes:
    """The sound file, after something was added to it."""
    buffer = io.BytesIO(SOUND)
    with h5py.File(buffer, "r+") as file:
        change(file)
    return buffer.getvalue()


def deepen(file: h5py.File) -> None:
    file.create_group("uns/a/b/c")


def inflate(file: h5py.File) -> None:
    file.create_dataset("uns/zeros", data=np.zeros(2**25, "i1"), chunks=(2**20,), compression=9)


def inflate_often(file: h5py.File) -> None:
    for number in range(32):
        file.create_dataset(f"uns/zeros{number}", data=np.zeros(2**20, "i1"), chunks=(2**20,), compression=9)


def expansion_of(data: bytes) -> int:
    """The least that lets the file pass: what it declares beyond the slack, for each byte that it has."""
    return -(-(declared_bytes(data) - SLACK_BYTES) // len(data))


def with_a_long_id(n_characters: int) -> bytes:
    ids = [f"cell{i}" for i in range(60)]
    ids[7] = "x" * n_characters
    return write_file(random_counts(60, N_GENES), Recipe(cells=ids))


DEEP, ONE_BOMB, MANY_BOMBS = changed(deepen), changed(inflate), changed(inflate_often)
LONG_ID = with_a_long_id(70_000)
AT_LIMIT = (
    ("objects", SOUND, n_objects(SOUND)),
    ("depth", DEEP, 4),
    ("chunk_bytes", SOUND, CHUNK * 4),
    ("genes", SOUND, N_GENES),
    ("longest_id", LONG_ID, 70_000),
    ("expansion", ONE_BOMB, expansion_of(ONE_BOMB)),
    ("expansion", MANY_BOMBS, expansion_of(MANY_BOMBS)),
)


@pytest.mark.parametrize(("name", "data", "bound"), AT_LIMIT, ids=[name for name, *_ in AT_LIMIT])
def test_a_limit_holds_to_the_last_unit(name: str, data: bytes, bound: int) -> None:
    assert verdict_of(data, name, bound).accepted
    assert codes(verdict_of(data, name, bound - 1)) == ["FILE_UNSAFE"]


@pytest.mark.parametrize("name", ["reads", "read_bytes"])
def test_what_a_file_asks_for_is_counted_to_the_last(name: str) -> None:
    low, high = 0, 2 * len(SOUND)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if verdict_of(SOUND, name, middle).accepted else (middle, high)
    assert codes(verdict_of(SOUND, name, low)) == ["FILE_UNSAFE"]
    assert high > (0 if name == "reads" else len(SOUND) // 2)


@pytest.mark.parametrize(("n_cells", "told"), [(ALL_IDS, []), (ALL_IDS + 1, ["CELLS_NOT_ALL_CHECKED"])])
def test_so_many_cell_ids_are_compared_at_once(n_cells: int, told: list[str]) -> None:
    matrix = sp.csr_matrix(np.ones((n_cells, 1), np.float32))
    found = validate(BytesSource(write_file(matrix))).warnings
    assert [finding.code for finding in found if finding.code == "CELLS_NOT_ALL_CHECKED"] == told


@pytest.mark.parametrize(("n_genes", "few"), [(199, True), (200, False)])
def test_fewer_than_two_hundred_genes_are_few(n_genes: int, few: bool) -> None:  # of a table
    found = validate(BytesSource(write_file(random_counts(50, n_genes)))).warnings
    assert ("FEW_GENES" in [finding.code for finding in found]) is few


@pytest.mark.parametrize(
    ("n_shared", "code"),
    [(9, "GENES_DO_NOT_MATCH"), (10, "LOW_OVERLAP"), (49, "LOW_OVERLAP"), (50, None)],
)
def test_overlap_is_refused_below_a_tenth_and_low_below_a_half(n_shared: int, code: str | None) -> None:
    ids = tuple(f"ENSG{i:011d}" if i < n_shared else f"ENSG9{i:010d}" for i in range(100))
    model = ModelNeeds(Features(symbol=(None,) * 100, ensembl=ids), Species.HUMAN, 0.1)
    found = validate(BytesSource(write_file(random_counts(50, 300))), model).findings
    told = {finding.code for finding in found} & {"GENES_DO_NOT_MATCH", "LOW_OVERLAP"}
    assert told == ({code} if code else set())


# --- Genes cut away: real cells, whose obs says what each of them had -------------------------------------------------


def real_cells() -> anndata.AnnData:
    path = DATA / "h5ad" / "pbmc3k_raw_labelled.h5ad"
    if not path.exists():
        pytest.skip(f"the real data are not here: {path}")
    whole = anndata.read_h5ad(path)[:120]
    counts = sp.csr_matrix(whole.X).astype(np.float32)
    obs, var = pd.DataFrame(index=whole.obs_names), pd.DataFrame(index=whole.var_names)
    return anndata.AnnData(counts, obs=obs, var=var)


def saved(cells: anndata.AnnData, folder: object) -> BytesSource:
    path = f"{folder}/cells.h5ad"
    cells.write_h5ad(path)
    with open(path, "rb") as file:  # noqa: PTH123  # as AnnData was told
        return BytesSource(file.read())


def warnings_of(cells: anndata.AnnData, folder: object) -> list[str]:
    verdict = validate(saved(cells, folder))
    assert verdict.accepted
    return [finding.code for finding in verdict.warnings]


@pytest.mark.parametrize("cut_away", [0.03, 0.30])
def test_counts_that_lost_genes_are_told(cut_away: float, tmp_path: object) -> None:
    cells = real_cells()
    cells.obs["total_counts"] = np.rint(np.asarray(cells.X.sum(axis=1)).ravel() / (1 - cut_away))
    assert "SUBSET_OF_GENES" in warnings_of(cells, tmp_path)


def test_counts_that_lost_nothing_are_let_be(tmp_path: object) -> None:
    cells = real_cells()
    cells.obs["total_counts"] = np.asarray(cells.X.sum(axis=1)).ravel()
    assert "SUBSET_OF_GENES" not in warnings_of(cells, tmp_path)


def logarithms(cells: anndata.AnnData, kept: float) -> anndata.AnnData:
    """log1p of CP10k by totals of which the counts here are only a part."""
    totals = np.rint(np.asarray(cells.X.sum(axis=1)).ravel() / kept)
    cells.obs["total_counts"] = totals
    cells.X = sp.csr_matrix(sp.diags(1e4 / totals) @ cells.X.astype(np.float64)).log1p().astype(np.float32)
    return cells


@pytest.mark.parametrize("kept", [0.80, 0.60])
def test_logarithms_that_lost_genes_are_told(kept: float, tmp_path: object) -> None:
    assert "SUBSET_OF_GENES" in warnings_of(logarithms(real_cells(), kept), tmp_path)


def test_logarithms_that_lost_nothing_are_let_be(tmp_path: object) -> None:
    assert "SUBSET_OF_GENES" not in warnings_of(logarithms(real_cells(), 1.0), tmp_path)
