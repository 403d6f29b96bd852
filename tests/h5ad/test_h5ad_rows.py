"""Blocks of rows against scipy's own view of the same matrix, in every way of storing one."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import anndata
import h5py
import hdf5plugin
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.errors import BadValuesError, CelldropError, InputChangedError, TruncatedFileError
from shared.domain.geometry import Rows, task_rows
from shared.domain.verdict import MatrixEncoding
from shared.h5ad.inspect.inspection import inspect
from shared.h5ad.judge.judging import validate
from shared.h5ad.judge.matrices import choose
from shared.h5ad.read.ahead import in_order
from shared.h5ad.read.csc import CscReader
from shared.h5ad.read.rows import open_matrix, read_embedding, read_genes
from shared.h5ad.source import BytesSource
from shared.ports.blobs import ByteRange
from tests.fakes.sources import CountingSource
from tests.h5ad.h5ad_files import (
    REAL_FILES,
    Recipe,
    only_matrix,
    put_frame,
    put_matrix,
    random_counts,
    read_all,
    real_file,
    write_file,
)

GZIP = {"compression": "gzip", "chunks": (700,)}
SHUFFLED = {"compression": "gzip", "shuffle": True, "chunks": (1000,)}
ZSTD = {"compression": hdf5plugin.Zstd(), "chunks": (700,)}
LZ4 = {"compression": hdf5plugin.LZ4(), "chunks": (700,)}
CHECKED = {"compression": "gzip", "fletcher32": True, "chunks": (700,)}

RECIPES = {
    "contiguous": Recipe(),
    "gzip": Recipe(data_options=GZIP, index_options=GZIP),
    "chunks of different length": Recipe(data_options=GZIP, index_options={"compression": "gzip", "chunks": (333,)}),
    "shuffle": Recipe(data_options=SHUFFLED, index_options=SHUFFLED),
    "shuffle without gzip": Recipe(data_options={"shuffle": True, "chunks": (50,)}),
    "uncompressed chunks": Recipe(data_options={"chunks": (64,)}, index_options={"chunks": (4096,)}),
    "lzf": Recipe(data_options={"compression": "lzf", "chunks": (700,)}),
    "fletcher32": Recipe(data_options=CHECKED, index_options=CHECKED),
    "zstd": Recipe(data_options=ZSTD, index_options=ZSTD),
    "lz4": Recipe(data_options=LZ4, index_options=LZ4),
    "int64 everywhere": Recipe(dtype="int64", index_dtype="int64", pointer_dtype="int64", data_options=GZIP),
    "float64": Recipe(dtype="float64", index_dtype="int64", data_options=SHUFFLED),
    "uint16": Recipe(dtype="uint16", index_dtype="uint16", data_options=GZIP),
    "uint8": Recipe(dtype="uint8", index_dtype="uint32", pointer_dtype="uint64"),
    "float16": Recipe(dtype="float16"),
    "big-endian": Recipe(dtype=">f4", index_dtype=">i4", data_options=GZIP, index_options=GZIP),
    "csc": Recipe(kind="csc", data_options=GZIP, index_options=GZIP),
    "csc of int64": Recipe(kind="csc", dtype="int64", index_dtype="int64", pointer_dtype="int64"),
    "dense": Recipe(kind="dense"),
    "dense gzip": Recipe(kind="dense", data_options={"compression": "gzip", "chunks": (100, 37)}),
    "dense int32": Recipe(kind="dense", dtype="int32", data_options={"chunks": (1, 200)}),
    "dense float64 by columns": Recipe(kind="dense", dtype="float64", data_options={"chunks": (600, 1)}),
}


def same(left: sp.csr_matrix, right: sp.csr_matrix) -> bool:
    return left.shape == right.shape and sp.csr_matrix(left - right).nnz == 0


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES.keys())
def test_blocks_equal_the_matrix_that_was_written(recipe: Recipe) -> None:
    matrix = random_counts(600, 200)
    source = BytesSource(write_file(matrix, recipe))
    assert same(read_all(source, only_matrix(source)), matrix)


@pytest.mark.parametrize(("name", "said"), [("zstd", "float32, zstd"), ("lzf", "float32, lzf"), ("shuffle", "")])
def test_the_slower_way_of_reading_is_said_and_the_fast_one_is_not(
    name: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    source = BytesSource(write_file(random_counts(300, 40), RECIPES[name]))
    choice = only_matrix(source)
    with caplog.at_level("INFO"), open_matrix(source, choice):
        found = {getattr(record, "dataset", ""): getattr(record, "found", "") for record in caplog.records}
    assert found.get("/X/data", "") == said


@pytest.mark.parametrize("recipe", [RECIPES["gzip"], RECIPES["csc"], RECIPES["dense"]], ids=["csr", "csc", "dense"])
def test_any_cut_into_tasks_gives_the_same_blocks(recipe: Recipe) -> None:
    matrix = random_counts(1100, 50)
    source = BytesSource(write_file(matrix, recipe))
    choice = only_matrix(source)

    @settings(max_examples=15, deadline=None)
    @given(st.integers(1, 7))
    def check(n_tasks: int) -> None:
        parts = [read_all(source, choice, task_rows(1100, n_tasks, index)) for index in range(n_tasks)]
        assert same(sp.vstack(parts).tocsr(), matrix)

    check()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 900), st.integers(0, 900))
def test_any_range_of_rows_can_be_read(left: int, right: int) -> None:
    rows = Rows(min(left, right), max(left, right))
    assert same(read_all(_SOURCE, _CHOICE, rows), _MATRIX[rows.start : rows.stop])


_MATRIX = random_counts(900, 70)
_SOURCE = BytesSource(write_file(_MATRIX, Recipe(data_options=GZIP, index_options={"chunks": (99,)})))
_CHOICE = only_matrix(_SOURCE)


def test_empty_rows_and_a_single_cell_are_read() -> None:
    lonely = sp.csr_matrix(np.array([[0.0, 3.0, 0.0]], dtype=np.float32))
    filled = random_counts(300, 40).toarray()
    filled[5:290] = 0
    for matrix in (lonely, sp.csr_matrix(filled)):
        source = BytesSource(write_file(matrix))
        assert same(read_all(source, only_matrix(source)), matrix)


def test_indices_keep_the_order_they_are_stored_in() -> None:
    matrix = sp.csr_matrix((np.array([1.0, 2, 3]), np.array([4, 0, 2]), np.array([0, 2, 3])), shape=(2, 5))
    source = BytesSource(write_file(matrix))
    with open_matrix(source, only_matrix(source)) as reader:
        (block,) = reader.blocks(Rows(0, 2))
    assert block.indices.tolist() == [4, 0, 2]
    assert [str(part.dtype) for part in (block.indptr, block.indices, block.data)] == ["int64", "int32", "float32"]


def test_no_rows_are_no_blocks() -> None:
    for recipe in (Recipe(), RECIPES["csc"], RECIPES["dense"]):
        source = BytesSource(write_file(random_counts(600, 200), recipe))
        with open_matrix(source, only_matrix(source)) as reader:
            assert list(reader.blocks(Rows(5, 5))) == []


def test_chunks_never_written_hold_the_fill_value() -> None:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        put_frame(file, "obs", ["a", "b"])
        put_frame(file, "var", ["G1", "G2"])
        put_matrix(file, "X", sp.csr_matrix(np.ones((2, 2), np.float32)), Recipe())
        del file["X/data"]
        file.create_dataset("X/data", shape=(4,), dtype="f4", chunks=(2,), fillvalue=7.0)[:2] = 5.0
    source = BytesSource(buffer.getvalue())
    assert read_all(source, only_matrix(source)).toarray().tolist() == [[5.0, 5.0], [7.0, 7.0]]


def test_large_chunks_are_inflated_once_each() -> None:
    matrix = random_counts(1500, 1000, density=0.8)
    options = {"compression": "gzip", "chunks": (790_000,)}
    data = write_file(matrix, Recipe(data_options=options, index_options=options))
    source = CountingSource(BytesSource(data))
    choice = only_matrix(source)
    assert same(read_all(source, choice), matrix)
    with open_matrix(source, choice) as reader:
        before = source.bytes_read
        assert sum(block.nnz for block in reader.blocks(Rows(0, 1500))) == matrix.nnz
    assert source.bytes_read - before < 1.1 * len(data)


def test_a_task_fetches_only_what_its_rows_need() -> None:
    matrix = _wide_counts(6000)
    data = write_file(matrix, Recipe(data_options=GZIP, index_options=GZIP))
    counting = CountingSource(BytesSource(data))
    choice = only_matrix(counting)
    rows = task_rows(6000, 20, 7)
    with open_matrix(counting, choice) as reader:
        before = counting.bytes_read
        list(reader.blocks(rows))
    assert counting.bytes_read - before < len(data) / 8


def test_a_band_smaller_than_the_matrix_gives_the_same_rows() -> None:
    matrix = random_counts(1500, 60)
    source = BytesSource(write_file(matrix, Recipe(kind="csc")))
    with open_matrix(source, only_matrix(source)) as reader:
        assert isinstance(reader, CscReader)
        blocks = list(replace(reader, band_values=500).blocks(Rows(0, 1500)))
    assert same(sp.csr_matrix(np.vstack([_dense(block, 60) for block in blocks])), matrix)


def _dense(block: Any, n_genes: int) -> np.ndarray:
    shape = (len(block.rows), n_genes)
    return sp.csr_matrix((block.data, block.indices, block.indptr), shape=shape).toarray()


def _wide_counts(n_cells: int) -> sp.csr_matrix:
    """500 values in each cell, made faster than by chance."""
    indices = np.tile(np.arange(0, 1000, 2, dtype=np.int32), n_cells)
    data = ((np.arange(len(indices)) % 7 + 1) * (1 + np.arange(len(indices)) // 500 % 3)).astype(np.float32)
    return sp.csr_matrix((data, indices, np.arange(n_cells + 1) * 500), shape=(n_cells, 1000))


def test_memory_stays_bounded_while_reading() -> None:
    matrix = _wide_counts(12_000)
    source = BytesSource(
        write_file(matrix, Recipe(data_options={"chunks": (10_000,)}, index_options={"chunks": (10_000,)}))
    )
    choice = only_matrix(source)
    tracemalloc.start()
    with open_matrix(source, choice) as reader:
        for _ in reader.blocks(Rows(0, 12_000)):
            pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6


# --- What must be refused -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
@pytest.mark.parametrize("kind", ["csr", "csc", "dense"])
def test_a_bad_value_names_its_cell(value: float, kind: str) -> None:
    matrix = random_counts(600, 20)
    choice = only_matrix(BytesSource(write_file(matrix, Recipe(kind=kind))))
    spoiled = matrix.toarray()
    spoiled[300, 7] = value
    with pytest.raises(BadValuesError, match=r"cell 300 .*column 7"):
        read_all(BytesSource(write_file(sp.csr_matrix(spoiled), Recipe(kind=kind))), choice)


def test_a_value_too_large_for_float32_is_bad() -> None:
    matrix = sp.csr_matrix(np.array([[1e300, 1.0]]))
    source = BytesSource(write_file(matrix, Recipe(dtype="float64")))
    with pytest.raises(BadValuesError):
        read_all(source, only_matrix(source))


def spoiled_sparse(name: str, place: int, value: int, kind: str = "csr") -> bytes:
    buffer = io.BytesIO(write_file(random_counts(600, 200), Recipe(kind=kind)))
    with h5py.File(buffer, "r+") as file:
        file[f"X/{name}"][place] = value
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["csr", "csc"])
@pytest.mark.parametrize(
    ("name", "place", "value"),
    [("indices", 77, 100_000), ("indices", 77, -1), ("indptr", 10, -5), ("indptr", -1, 10), ("indptr", 0, 3)],
)
def test_positions_outside_the_matrix_are_damage(name: str, place: int, value: int, kind: str) -> None:
    choice = only_matrix(BytesSource(write_file(random_counts(600, 200), Recipe(kind=kind))))
    with pytest.raises(TruncatedFileError):
        read_all(BytesSource(spoiled_sparse(name, place, value, kind)), choice)


def test_a_chunk_that_does_not_inflate_is_damage() -> None:
    recipe = RECIPES["gzip"]
    data = bytearray(write_file(random_counts(600, 200), recipe))
    choice = only_matrix(BytesSource(bytes(data)))
    with h5py.File(io.BytesIO(bytes(data))) as file:
        offset = file["X/data"].id.get_chunk_info(3).byte_offset
    data[offset : offset + 40] = bytes(40)
    with pytest.raises(TruncatedFileError):
        read_all(BytesSource(bytes(data)), choice)


def test_another_file_than_was_inspected_is_refused() -> None:
    choice = only_matrix(BytesSource(write_file(random_counts(600, 200))))
    with pytest.raises(TruncatedFileError):
        read_all(BytesSource(write_file(random_counts(500, 200))), choice)


def test_a_change_while_reading_is_a_changed_input() -> None:
    class Changing(BytesSource):
        __slots__ = ()

        def read_many(self, spans: Any) -> list[bytes]:
            if len(spans) > 0 and spans[0].offset > 0:
                raise InputChangedError("gone")
            return [self.read(ByteRange(span.offset, span.length)) for span in spans]

    data = write_file(random_counts(600, 200), RECIPES["gzip"])
    choice = only_matrix(BytesSource(data))
    with pytest.raises(InputChangedError):
        read_all(Changing(data), choice)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(2048, 60_000), st.integers(1, 255)), min_size=1, max_size=5))
def test_flipped_matrix_bytes_are_values_or_an_error_of_ours(flips: list[tuple[int, int]]) -> None:
    data = bytearray(_FLIPPED)
    for place, change in flips:
        data[min(place, len(data) - 1)] ^= change
    source = BytesSource(bytes(data))
    verdict = validate(source)
    if not verdict.accepted or verdict.matrix is None:
        return
    try:
        read_all(source, verdict.matrix)
    except CelldropError as error:
        assert error.code in {"FILE_DAMAGED", "BAD_VALUES"}  # noqa: PT017  # both outcomes are right


_FLIPPED = write_file(random_counts(600, 200), RECIPES["gzip"])


# --- Real files ---------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")  # anndata has much to say about old files
@pytest.mark.parametrize("name", [path.name for path in REAL_FILES if path.suffix == ".h5ad"])
def test_every_readable_matrix_of_a_real_file_is_what_anndata_reads(name: str) -> None:
    path = next(path for path in REAL_FILES if path.name == name)
    source = BytesSource(path.read_bytes())
    oracle = anndata.read_h5ad(path)
    for candidate in inspect(source).candidates:
        choice = choose([candidate]).choice
        if choice is None or candidate.evidence.n_nan:
            continue
        expected = sp.csr_matrix(_matrix_of(oracle, candidate.path)).astype(np.float32)
        assert same(read_all(source, choice), expected[:, _genes_of(oracle, candidate.path)]), candidate.path


def _genes_of(oracle: Any, path: str) -> Any:
    """All features but spike-ins, by their names or as CELLxGENE's files call them."""
    var = oracle.raw.var if path.startswith("raw") else oracle.var
    kinds = var.get("feature_biotype")
    genes = ~var.index.str.startswith("ERCC-")
    return genes if kinds is None else genes & (kinds != "spike-in").to_numpy()


def _matrix_of(oracle: Any, path: str) -> Any:
    if path == "X":
        return oracle.X
    return oracle.raw.X if path.startswith("raw") else oracle.layers[path.removeprefix("layers/")]


def test_cell_rangers_own_file_is_read() -> None:
    source = real_file("awkward/10x_v3_filtered_feature_bc_matrix.h5")
    verdict = validate(source)
    assert verdict.matrix is not None
    found = read_all(source, verdict.matrix)
    with h5py.File(io.BytesIO(source.data)) as file:
        stored = file["matrix"]
        shape = tuple(stored["shape"][()])
        oracle = sp.csc_matrix((stored["data"][()], stored["indices"][()], stored["indptr"][()]), shape=shape)
    assert same(found, oracle.T.tocsr().astype(np.float32))
    assert read_genes(source, verdict)[0].startswith("ENSG")


def test_an_embedding_of_the_old_layout_is_read() -> None:
    source = real_file("h5ad/pbmc68k_reduced_v050.h5ad")
    found = read_embedding(source, Rows(10, 20))
    assert found is not None
    assert (found.name, found.xy_n2.shape, str(found.xy_n2.dtype)) == ("X_umap", (10, 2), "float32")
    with h5py.File(io.BytesIO(source.data)) as file:
        assert np.array_equal(found.xy_n2, file["obsm"]["X_umap"][10:20].astype(np.float32))


def test_a_file_without_embedding_has_none() -> None:
    assert read_embedding(BytesSource(write_file(random_counts(5, 5))), Rows(0, 5)) is None


# --- Features that are not genes ----------------------------------------------------------------------------------


def with_antibodies() -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        put_matrix(file, "X", random_counts(20, 6, density=0.9), Recipe())
        put_frame(file, "obs", [f"c{i}" for i in range(20)])
        kinds = ["Gene Expression", "Antibody Capture", "Gene Expression"] * 2
        put_frame(file, "var", ["ACTB", "CD3", "GAPDH", "B2M", "CD4", "MALAT1"], {"feature_types": kinds})
    return buffer.getvalue()


def test_features_that_are_not_genes_are_left_out() -> None:
    source = BytesSource(with_antibodies())
    verdict = validate(source)
    assert verdict.matrix is not None
    assert verdict.n_genes == 4
    assert "OTHER_FEATURES" in [finding.code for finding in verdict.warnings]
    assert read_genes(source, verdict) == ["ACTB", "GAPDH", "B2M", "MALAT1"]
    expected = random_counts(20, 6, density=0.9)[:, [0, 2, 3, 5]]
    assert same(read_all(source, verdict.matrix), expected.tocsr())


def test_work_ahead_keeps_order_and_bound() -> None:
    running: list[int] = []

    def items() -> Iterator[int]:
        for number in range(20):
            running.append(number)
            yield number

    results = in_order(lambda number: number * 2, items(), workers=3)
    assert next(results) == 0
    assert len(running) <= 5
    assert list(results) == [number * 2 for number in range(1, 20)]


def test_the_encoding_is_the_choices() -> None:
    source = BytesSource(write_file(random_counts(60, 20), Recipe(kind="csc")))
    assert only_matrix(source).encoding is MatrixEncoding.CSC
