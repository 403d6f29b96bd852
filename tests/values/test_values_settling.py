"""Every row is read by what its own numbers prove, whatever the rows beside it hold."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import anndata
import h5py
import numpy as np
import numpy.typing as npt
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.geometry import Rows
from shared.domain.verdict import CellNote, MatrixState, Transform, Verdict
from shared.h5ad.judge.judging import validate
from shared.h5ad.read import native
from shared.h5ad.read.blocks import RowBlock
from shared.h5ad.read.projected import ProjectedBlock
from shared.h5ad.read.projecting import Projector
from shared.h5ad.read.rows import open_matrix
from shared.h5ad.read.settling import Stored, settle
from shared.h5ad.source import BytesSource
from tests.values.forms import Matrix, as_bytes, each, scaled, totals

N_GENES = 400
FORWARD: dict[Transform, Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]] = {
    Transform.NONE: lambda x: x,
    Transform.LOG1P: np.log1p,
    Transform.LOG2: lambda x: np.log2(x + 1),
    Transform.LOG10: lambda x: np.log10(x + 1),
    Transform.SQRT: np.sqrt,
    Transform.ARCSINH: np.arcsinh,
    Transform.LOG1P_TWICE: lambda x: np.log1p(np.log1p(x)),
}
"""Transformations that treat every value by itself."""


def cells(seed: int, n_cells: int = 40) -> Matrix:
    """Counts as single cells have them: many ones, a few large."""
    rng = np.random.default_rng(seed)
    level = rng.lognormal(0, 1.2, N_GENES) * rng.lognormal(0, 0.4, n_cells)[:, None]
    counts: Matrix = sp.csr_matrix(rng.poisson(level).astype(np.float32))
    return counts


def block_of(matrix: Matrix) -> RowBlock:
    stored = matrix.tocsr().astype(np.float32)
    rows = Rows(0, stored.shape[0])
    return RowBlock(rows, stored.indptr.astype(np.int64), stored.indices.astype(np.int32), stored.data)


def cp10k(values: npt.NDArray[np.float64], total_n: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return values / np.maximum(total_n, 1e-9)[:, None] * 1e4


def dense(block: RowBlock) -> npt.NDArray[np.float64]:
    shape = (len(block.rows), N_GENES)
    return sp.csr_matrix((block.data, block.indices, block.indptr), shape=shape).toarray().astype(np.float64)


@given(st.integers(0, 50), st.sampled_from(list(FORWARD)), st.sampled_from([1e4, 1e6, 3_210.0]))
def test_a_transformed_matrix_is_the_counts_again(seed: int, transform: Transform, total: float) -> None:
    counts = cells(seed)
    stored = Stored(transform, counts=False)
    settled = settle(block_of(each(scaled(counts, total), FORWARD[transform])), stored)
    np.testing.assert_allclose(cp10k(dense(settled.block), settled.total_n), scaled(counts).toarray(), rtol=2e-5)
    assert not settled.note_n.any()


@given(st.integers(0, 50), st.sampled_from([t for t in FORWARD if t is not Transform.NONE]), st.integers(0, 39))
def test_a_transformed_cell_among_counts_is_converted_and_noted(seed: int, transform: Transform, odd: int) -> None:
    counts = cells(seed)
    other = each(scaled(counts), FORWARD[transform])
    mixed = sp.vstack([counts[:odd], other[odd], counts[odd + 1 :]]).tocsr()
    settled = settle(block_of(mixed), Stored())
    np.testing.assert_allclose(cp10k(dense(settled.block), settled.total_n), scaled(counts).toarray(), rtol=2e-5)
    # A root may be larger than any logarithm: then it is in proportion to counts for all that can be told.
    if transform is not Transform.SQRT:
        assert settled.note_n.tolist() == [CellNote.CONVERTED if row == odd else CellNote.NONE for row in range(40)]


@given(
    st.integers(0, 50),
    st.sampled_from([t for t in FORWARD if t not in {Transform.LOG1P, Transform.SQRT}]),
    st.integers(0, 39),
)
def test_a_cell_of_another_kind_among_log1p_of_10_000_is_converted(seed: int, transform: Transform, odd: int) -> None:
    counts = cells(seed)
    usual = each(scaled(counts), np.log1p)
    other = counts if transform is Transform.NONE else each(scaled(counts), FORWARD[transform])
    mixed = sp.vstack([usual[:odd], other[odd], usual[odd + 1 :]]).tocsr()
    settled = settle(block_of(mixed), Stored(Transform.LOG1P, as_it_is=True, counts=False))
    np.testing.assert_allclose(dense(settled.block), usual.toarray(), rtol=2e-5)
    assert settled.note_n.tolist() == [CellNote.CONVERTED if row == odd else CellNote.NONE for row in range(40)]


@given(st.integers(0, 50), st.sampled_from([1e4, 1e6, 3_210.0, None]), st.booleans())
def test_logarithms_that_were_scaled_afterwards_are_the_counts_again(
    seed: int, total: float | None, twice: bool
) -> None:
    counts = cells(seed)
    logs = each(counts if total is None else scaled(counts, total), np.log1p)
    matrix = each(scaled(logs), np.log1p) if twice else scaled(logs)
    matrix = sp.vstack([matrix[:7], counts[7], matrix[8:]]).tocsr()
    transform = Transform.PREPROCESSED_TWICE if twice else Transform.SCALED_LOG1P
    settled = settle(block_of(matrix), Stored(transform, counts=False))
    np.testing.assert_allclose(cp10k(dense(settled.block), settled.total_n), scaled(counts).toarray(), rtol=2e-3)
    assert np.flatnonzero(settled.note_n).tolist() == [7]


@pytest.mark.parametrize("missing", [[1, 2], [2]])
def test_a_cell_whose_smallest_values_are_not_one_and_two_is_marked(missing: list[int]) -> None:
    counts = cells(3).tolil()
    row = counts[5].toarray()
    row[np.isin(row, missing)] = 0
    counts[5] = row
    matrix = scaled(each(counts.tocsr(), np.log1p))
    settled = settle(block_of(matrix), Stored(Transform.SCALED_LOG1P, counts=False))
    assert settled.note_n[5] == CellNote.UNCLEAR
    assert np.flatnonzero(settled.note_n).tolist() == [5]


def test_a_cell_that_proves_nothing_among_counts_is_marked() -> None:
    counts = cells(0)
    noise = each(counts[3], lambda x: np.log1p(x * np.random.default_rng(0).uniform(0.2, 7, len(x))))
    mixed = sp.vstack([counts[:3], noise, counts[4:]]).tocsr()
    settled = settle(block_of(mixed), Stored())
    assert settled.note_n[3] == CellNote.UNCLEAR
    assert np.flatnonzero(settled.note_n).tolist() == [3]


@given(st.integers(0, 30), st.sampled_from([Stored(), Stored(Transform.LOG1P, as_it_is=True, counts=False)]))
def test_a_row_has_the_same_bytes_whatever_rows_are_beside_it(seed: int, stored: Stored) -> None:
    counts = cells(seed, 12)
    values = each(scaled(counts), np.log1p) if stored.as_it_is else counts
    other = counts if stored.as_it_is else each(scaled(counts), np.log1p)
    features = np.arange(N_GENES, dtype=np.int32)
    projector = Projector.of(features, stored)
    plain = projector.project(block_of(values))
    mixed = projector.project(block_of(sp.vstack([values[:5], other[5], values[6:]]).tocsr()))
    for row in [*range(5), *range(6, 12)]:
        a, b = (slice(one.indptr[row], one.indptr[row + 1]) for one in (plain, mixed))
        assert plain.value[a].tobytes() == mixed.value[b].tobytes()
        assert plain.feature[a].tobytes() == mixed.feature[b].tobytes()
        assert plain.n_genes_n[row] == mixed.n_genes_n[row]
        if not stored.as_it_is:
            assert plain.total_n[row] == mixed.total_n[row]


@pytest.fixture(params=["compiled", "numpy"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "numpy":
        monkeypatch.setattr(native, "_library", lambda: None)
    elif not native.available():
        pytest.skip("the inner loops are not compiled here")
    return str(request.param)


def put(matrix: Matrix, kind: str, *, spare: int = 0) -> bytes:
    """A file whose sparse arrays are stored as they are, duplicates and all."""
    buffer = io.BytesIO(as_bytes(anndata.AnnData(sp.csr_matrix(np.zeros((matrix.shape[0], N_GENES), np.float32)))))
    with h5py.File(buffer, "r+") as file:
        group = file["X"]
        for name in ("data", "indices", "indptr"):
            del group[name]
            values = getattr(matrix, name)
            room = np.zeros(0 if name == "indptr" else spare, values.dtype)
            group.create_dataset(name, data=np.concatenate([values, room]), chunks=(97,), compression="gzip")
        group.attrs["encoding-type"] = f"{kind}_matrix"
    return buffer.getvalue()


def with_duplicates(counts: Matrix, cut: float) -> Matrix:
    """Every count above 1 as two entries of one place; ``cut`` of it is the first."""
    found = counts.tocoo()
    large = found.data > 1
    first = np.where(large, np.floor(found.data * cut), found.data)
    row, col = np.concatenate([found.row, found.row[large]]), np.concatenate([found.col, found.col[large]])
    data = np.concatenate([first, (found.data - first)[large]])
    order = np.lexsort((col, row))
    made = sp.csr_matrix(np.zeros(counts.shape, np.float32))
    pointers = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=counts.shape[0]))])
    made.data, made.indices = data[order].astype(np.float32), col[order].astype(np.int32)
    made.indptr = pointers.astype(np.int32)
    return made


def read(data: bytes) -> tuple[Verdict, list[ProjectedBlock]]:
    source = BytesSource(data)
    verdict = validate(source)
    assert verdict.matrix is not None
    with open_matrix(source, verdict.matrix) as matrix:
        features = np.arange(N_GENES, dtype=np.int32)
        return verdict, list(matrix.projected(Rows(0, verdict.n_cells), features, lambda block: block))


def check_counts(blocks: list[ProjectedBlock], counts: Matrix) -> None:
    found: npt.NDArray[Any] = np.zeros(counts.shape)
    for block in blocks:
        for row in range(len(block.rows)):
            place = slice(block.indptr[row], block.indptr[row + 1])
            assert len(set(block.feature[place].tolist())) == block.indptr[row + 1] - block.indptr[row]
            found[block.rows.start + row, block.feature[place]] = block.value[place]
    np.testing.assert_array_equal(found, counts.toarray())
    assert np.concatenate([block.total_n for block in blocks]).tolist() == counts.toarray().sum(axis=1).tolist()
    assert np.concatenate([block.n_genes_n for block in blocks]).tolist() == np.diff(counts.indptr).tolist()


@pytest.mark.parametrize("kind", ["csr", "csc"])
@pytest.mark.parametrize("cut", [0.5, 0.0, 2.0], ids=["halves", "an empty entry", "parts that cancel"])
def test_several_entries_of_one_gene_in_a_cell_are_summed(kind: str, cut: float, way: str) -> None:
    del way
    counts = cells(1, 300)
    stored = with_duplicates(counts if kind == "csr" else counts.T.tocsr(), cut)
    verdict, blocks = read(put(stored, kind) if kind == "csr" else put_csc(stored))
    assert verdict.matrix is not None
    assert verdict.matrix.state is MatrixState.COUNTS
    check_counts(blocks, counts)


def put_csc(stored: Matrix) -> bytes:
    """The same of genes x cells, which as CSR is our CSC."""
    buffer = io.BytesIO(as_bytes(anndata.AnnData(sp.csr_matrix(np.zeros((stored.shape[1], N_GENES), np.float32)))))
    with h5py.File(buffer, "r+") as file:
        group = file["X"]
        for name in ("data", "indices", "indptr"):
            del group[name]
            group.create_dataset(name, data=getattr(stored, name))
        group.attrs["encoding-type"] = "csc_matrix"
    return buffer.getvalue()


@pytest.mark.parametrize("spare", [1, 5_000])
def test_room_that_a_writer_left_behind_the_values_is_no_damage(spare: int, way: str) -> None:
    del way
    counts = cells(2, 300)
    check_counts(read(put(counts, "csr", spare=spare))[1], counts)


def test_unsorted_columns_are_read_as_sorted_ones(way: str) -> None:
    del way
    counts = cells(3, 300)
    shuffled = counts.copy()
    rng = np.random.default_rng(0)
    for row in range(300):
        place = slice(counts.indptr[row], counts.indptr[row + 1])
        order = rng.permutation(place.stop - place.start)
        shuffled.indices[place], shuffled.data[place] = counts.indices[place][order], counts.data[place][order]
    check_counts(read(put(shuffled, "csr"))[1], counts)


def test_genes_that_share_a_feature_are_summed() -> None:
    counts = cells(4, 30)
    features = np.arange(N_GENES, dtype=np.int32) // 2
    summed = counts.toarray().reshape(30, N_GENES // 2, 2).sum(axis=2)
    found = Projector.of(features, Stored()).project(block_of(counts))
    for row in range(30):
        place = slice(found.indptr[row], found.indptr[row + 1])
        assert dict(zip(found.feature[place].tolist(), found.value[place].tolist(), strict=True)) == {
            int(at): summed[row, at] for at in np.flatnonzero(summed[row])
        }
    as_it_is = Projector.of(features, Stored(Transform.LOG1P, as_it_is=True, counts=False))
    logged = as_it_is.project(block_of(each(scaled(counts), np.log1p)))
    expected = np.log1p(summed / totals(counts)[:, None] * 1e4)
    for row in range(30):
        place = slice(logged.indptr[row], logged.indptr[row + 1])
        np.testing.assert_allclose(logged.value[place], expected[row, logged.feature[place]], rtol=1e-5)


EVERY = [transform for transform in FORWARD if transform is not Transform.NONE]


@pytest.mark.parametrize("odd", list(FORWARD))
@pytest.mark.parametrize("usual", EVERY)
def test_a_cell_of_another_kind_in_any_transformed_matrix_is_converted(usual: Transform, odd: Transform) -> None:
    if usual is odd or {usual, odd} == {Transform.LOG1P, Transform.ARCSINH}:
        pytest.skip("they are of one kind, to a percent")
    if odd is Transform.LOG1P_TWICE:
        pytest.skip("of so few genes too few values tell")
    counts = cells(7)
    matrix = each(scaled(counts, 2_345.0), FORWARD[usual])
    other = counts if odd is Transform.NONE else each(scaled(counts), FORWARD[odd])
    mixed = sp.vstack([matrix[:9], other[9], matrix[10:]]).tocsr()
    settled = settle(block_of(mixed), Stored(usual, counts=False))
    found = cp10k(dense(settled.block), settled.total_n)
    np.testing.assert_allclose(found, scaled(counts).toarray(), rtol=5e-4)
    assert np.flatnonzero(settled.note_n).tolist() == [9]


@pytest.mark.parametrize("share", [0.03, 0.2])
def test_estimated_counts_of_shallow_cells_are_never_converted(share: float) -> None:
    rng = np.random.default_rng(0)
    counts = cells(3, 400)
    counts.data = rng.binomial(counts.data.astype(int), 0.3).astype(np.float32)
    counts.eliminate_zeros()
    estimated = counts.copy()
    chosen = rng.random(counts.nnz) < share
    estimated.data[chosen] += rng.choice([0.25, 1 / 3, 0.5], int(chosen.sum())).astype(np.float32)
    settled = settle(block_of(estimated), Stored())
    assert not settled.note_n.any()
    np.testing.assert_allclose(dense(settled.block), estimated.toarray(), rtol=1e-6)


def test_corrected_counts_are_never_taken_for_logarithms() -> None:
    noisy = each(cells(5, 400), lambda x: x * np.random.default_rng(0).gamma(20, 1 / 20, len(x)))
    settled = settle(block_of(noisy), Stored(counts=False))
    assert not settled.note_n.any()


@pytest.mark.parametrize(
    "stored", [Stored(Transform.LOG1P, 1e6, counts=False), Stored(Transform.NONE, 1e6, counts=False)]
)
def test_a_matrix_that_kept_its_scale_has_rows_of_counts_divided_by_their_own_total(stored: Stored) -> None:
    counts = cells(6)
    chosen = np.arange(0, N_GENES, 3)
    matrix = each(scaled(counts, 1e6), FORWARD[stored.transform])[:, chosen]
    usual = settle(block_of(matrix), stored)
    assert set(usual.total_n.tolist()) == {1e6}
    if stored.transform is Transform.LOG1P:
        mixed = sp.vstack([matrix[:4], counts[4][:, chosen], matrix[5:]]).tocsr()
        settled = settle(block_of(mixed), stored)
        assert settled.total_n[4] == counts[4][:, chosen].sum()
        assert np.flatnonzero(settled.note_n).tolist() == [4]


def test_a_logarithm_of_more_than_its_scale_allows_is_marked() -> None:
    counts = cells(8)
    chosen = np.arange(0, N_GENES, 3)
    matrix = each(scaled(counts), np.log1p)[:, chosen]
    noise = each(matrix[2], lambda x: x + np.random.default_rng(0).uniform(1, 3, len(x)))
    mixed = sp.vstack([matrix[:2], noise, matrix[3:]]).tocsr()
    settled = settle(block_of(mixed), Stored(Transform.LOG1P, 1e4, as_it_is=True, counts=False))
    assert settled.note_n[2] == CellNote.UNCLEAR
    assert np.flatnonzero(settled.note_n).tolist() == [2]
