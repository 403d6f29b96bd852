"""Rows onto a model's features: by compiled loops and by NumPy the same, and as the matrix says."""

from __future__ import annotations

import io
import os
from dataclasses import replace

import h5py
import numpy as np
import numpy.typing as npt
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.errors import BadValuesError, CelldropError, TruncatedFileError
from shared.domain.geometry import Rows
from shared.domain.verdict import MatrixChoice
from shared.h5ad.read import csr, native, projecting
from shared.h5ad.read.blocks import RowBlock, genes_from
from shared.h5ad.read.projected import NOT_A_GENE, ProjectedBlock, RowBuffers, ScratchBuffers, features_of_columns
from shared.h5ad.read.projecting import Projector, projected_by_numpy
from shared.h5ad.read.rows import open_matrix
from shared.h5ad.source import BytesSource
from tests.h5ad.h5ad_files import Recipe, only_matrix, random_counts, write_file
from tests.h5ad.test_h5ad_rows import GZIP, RECIPES

Map = npt.NDArray[np.int32]
STRAIGHT = (
    "contiguous",
    "gzip",
    "chunks of different length",
    "shuffle",
    "shuffle without gzip",
    "uncompressed chunks",
    "int64 everywhere",
    "float64",
    "uint16",
    "uint8",
)
"""What the compiled loops take as it lies in the file."""


@pytest.fixture(params=["compiled", "numpy"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "numpy":
        monkeypatch.setattr(native, "_library", lambda: None)
    elif not native.available():
        pytest.skip("the inner loops are not compiled here")
    return str(request.param)


def some_features(n_genes: int, seed: int = 1) -> Map:
    """Half of the genes known, in no order."""
    rng = np.random.default_rng(seed)
    features = np.full(n_genes, -1, np.int32)
    known = rng.choice(n_genes, n_genes // 2, replace=False)
    features[known] = rng.permutation(n_genes // 2)
    return features


def read(source: BytesSource, choice: MatrixChoice, features: Map, rows: Rows | None = None) -> list[ProjectedBlock]:
    with open_matrix(source, choice) as reader:
        return list(reader.projected(Rows(0, choice.n_cells) if rows is None else rows, features, lambda block: block))


def check(blocks: list[ProjectedBlock], matrix: sp.csr_matrix, features: Map) -> None:
    dense = matrix.toarray()
    wanted = np.zeros((dense.shape[0], int(features.max(initial=-1)) + 1), np.float32)
    wanted[:, features[features >= 0]] = dense[:, features >= 0]
    found = np.zeros_like(wanted)
    first = blocks[0].rows.start if blocks else 0
    for block in blocks:
        for row in range(len(block.rows)):
            place = slice(block.indptr[row], block.indptr[row + 1])
            found[block.rows.start - first + row, block.feature[place]] = block.value[place]
    np.testing.assert_array_equal(found, wanted)
    assert np.concatenate([block.total_n for block in blocks]).tolist() == dense.sum(axis=1).tolist()
    assert np.concatenate([block.n_genes_n for block in blocks]).tolist() == (dense != 0).sum(axis=1).tolist()
    for block in blocks:
        assert (block.value > 0).all()
        kinds = [str(part.dtype) for part in (block.indptr, block.feature, block.value, block.total_n, block.n_genes_n)]
        assert kinds == ["int32", "int32", "float32", "float64", "int32"]


def test_the_compiled_loops_are_there_in_ci() -> None:
    if not os.environ.get("CI"):
        pytest.skip("a machine without a compiler may read with NumPy")
    assert native.available()


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES.keys())
def test_every_encoding_is_projected_as_the_matrix_says(recipe: Recipe, way: str) -> None:
    del way
    matrix, features = random_counts(600, 200), some_features(200)
    source = BytesSource(write_file(matrix, recipe))
    blocks = read(source, only_matrix(source), features)
    assert [block.rows for block in blocks] == list(Rows(0, 600).blocks())
    check(blocks, matrix, features)


@pytest.mark.parametrize("name", STRAIGHT)
def test_usual_encodings_go_straight_through_the_compiled_loops(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if not native.available():
        pytest.skip("the inner loops are not compiled here")
    matrix, features = random_counts(600, 200), some_features(200)
    source = BytesSource(write_file(matrix, RECIPES[name]))
    choice = only_matrix(source)

    def refuse(projector: Projector, block: RowBlock) -> ProjectedBlock:
        raise AssertionError(projector, block)

    monkeypatch.setattr(Projector, "project", refuse)
    check(read(source, choice, features), matrix, features)


_MATRIX = random_counts(900, 70)
_FEATURES = some_features(70)
_SOURCE = BytesSource(write_file(_MATRIX, Recipe(data_options=GZIP, index_options={"chunks": (99,)})))
_CHOICE = only_matrix(_SOURCE)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 900), st.integers(0, 900))
def test_any_range_of_rows_is_projected(left: int, right: int) -> None:
    rows = Rows(min(left, right), max(left, right))
    blocks = read(_SOURCE, _CHOICE, _FEATURES, rows)
    assert sum(len(block.rows) for block in blocks) == len(rows)
    if blocks:
        check(blocks, _MATRIX[rows.start : rows.stop], _FEATURES)


@st.composite
def blocks_of_any_shape(draw: st.DrawFn) -> tuple[RowBlock, Map]:
    n_rows, n_genes = draw(st.integers(0, 12)), draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    counts = rng.poisson(1.0, (n_rows, n_genes)) * (rng.random((n_rows, n_genes)) < draw(st.floats(0, 1)))
    csr_matrix = sp.csr_matrix((counts * draw(st.sampled_from([1, 0.3, 2.0**20]))).astype(np.float32))
    csr_matrix.data[rng.random(csr_matrix.nnz) < draw(st.sampled_from([0.0, 0.2]))] = 0
    pointers, columns = csr_matrix.indptr.astype(np.int64), csr_matrix.indices.astype(np.int32)
    features = some_features(n_genes, seed=draw(st.integers(0, 99)))
    return RowBlock(Rows(3, 3 + n_rows), pointers, columns, csr_matrix.data), features


@settings(max_examples=200, deadline=None)
@given(blocks_of_any_shape())
def test_both_ways_give_the_same_bytes(case: tuple[RowBlock, Map]) -> None:
    if not native.available():
        pytest.skip("the inner loops are not compiled here")
    block, features = case
    room = RowBuffers.of(block.indptr, features, ScratchBuffers())
    assert native.project(room, block.indices, block.data)
    found, wanted = room.block(block.rows), projected_by_numpy(block, features)
    for name in ("indptr", "feature", "value", "n_genes_n"):
        assert getattr(found, name).tobytes() == getattr(wanted, name).tobytes(), name
    # Whole numbers are summed exactly; fractions in another order.
    np.testing.assert_allclose(found.total_n, wanted.total_n, rtol=1e-12)


def test_totals_are_of_genes_alone_where_other_things_were_measured(way: str) -> None:
    del way
    mask = np.array([True, False, True, True, False, True])
    genes = genes_from(6, mask)
    features = np.array([1, -1, 0, -1], np.int32)
    assert features_of_columns(features, genes).tolist() == [1, NOT_A_GENE, -1, 0, NOT_A_GENE, -1]
    matrix = sp.csr_matrix(np.array([[5.0, 9, 1, 2, 7, 0], [0, 4, 0, 0, 0, 3]], np.float32))
    source = BytesSource(write_file(matrix))
    with open_matrix(source, only_matrix(source)) as reader:
        assert isinstance(reader, csr.CsrReader)
        (block,) = replace(reader, genes=genes).projected(Rows(0, 2), features, lambda block: block)
    assert block.total_n.tolist() == [8, 3]
    assert block.n_genes_n.tolist() == [3, 1]
    assert block.feature.tolist() == [1, 0]
    assert block.value.tolist() == [5, 2]


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
@pytest.mark.parametrize("known", [True, False])
def test_a_value_that_cannot_be_is_refused_whether_the_model_knows_its_gene_or_not(
    value: float, known: bool, way: str
) -> None:
    del way
    matrix = random_counts(400, 30)
    matrix.data[matrix.indptr[300]] = value
    column = matrix.indices[matrix.indptr[300]]
    features = np.full(30, -1, np.int32)
    features[column if known else (column + 1) % 30] = 0
    source = BytesSource(write_file(random_counts(400, 30), Recipe(data_options=GZIP)))
    choice = only_matrix(source)
    with pytest.raises(BadValuesError, match="cell 300"):
        read(BytesSource(write_file(matrix, Recipe(data_options=GZIP))), choice, features)


@pytest.mark.parametrize("wrong", [30, -1, 2**31 - 1])
@pytest.mark.parametrize("index_dtype", ["int32", "int64"])
def test_a_column_outside_the_matrix_is_refused(wrong: int, index_dtype: str, way: str) -> None:
    del way
    matrix = random_counts(400, 30)
    data = write_file(matrix, Recipe(data_options=GZIP, index_dtype=index_dtype))
    choice = only_matrix(BytesSource(data))
    matrix.indices[matrix.indptr[300]] = wrong
    damaged = BytesSource(write_file(matrix, Recipe(data_options=GZIP, index_dtype=index_dtype)))
    with pytest.raises(TruncatedFileError, match="indices"):
        read(damaged, choice, some_features(30))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 255))
def test_damaged_chunks_end_alike_by_both_ways(seed: int, flip: int) -> None:
    data = bytearray(_SOURCE.data)
    place = _chunk_of_data(seed)
    data[place] ^= flip
    ends = []
    for library in (native._library, lambda: None):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(native, "_library", library)
            ends.append(_ended(BytesSource(bytes(data))))
    assert ends[0] == ends[1]


def _chunk_of_data(seed: int) -> int:
    """A byte in one of the stored chunks of the values."""
    rng = np.random.default_rng(seed)
    with h5py.File(io.BytesIO(_SOURCE.data), "r") as file:
        info = file["X/data"].id.get_chunk_info(int(rng.integers(file["X/data"].id.get_num_chunks())))
    return int(info.byte_offset + rng.integers(info.size))


def _ended(source: BytesSource) -> object:
    try:
        blocks = read(source, _CHOICE, _FEATURES)
    except CelldropError as error:
        return (type(error), error.message)
    return [block.value.tobytes() + block.total_n.tobytes() for block in blocks]


def test_a_library_of_another_version_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    if not native.available():
        pytest.skip("the inner loops are not compiled here")
    monkeypatch.setattr(native, "VERSION", native.VERSION + 1)
    native._library.cache_clear()
    try:
        assert not native.available()
        block = RowBlock(Rows(0, 1), np.array([0, 1]), np.array([0], np.int32), np.array([2.0], np.float32))
        assert projecting.project(block, np.array([0], np.int32)).value.tolist() == [2.0]
    finally:
        monkeypatch.undo()
        native._library.cache_clear()
