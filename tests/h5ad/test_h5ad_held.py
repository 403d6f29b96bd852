"""What is read slice after slice is fetched and inflated once, however large its chunks are."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

import h5py
import numpy as np
import pytest

from shared.domain.geometry import Rows
from shared.h5ad.read.cells import WINDOW_ROWS, open_cell_ids
from shared.h5ad.read.rows import open_matrix
from shared.h5ad.source import BytesSource
from tests.fakes.sources import CountingSource
from tests.h5ad.h5ad_files import Recipe, only_matrix, random_counts, write_file
from tests.h5ad.test_h5ad_inflating import grown_bytes

N_CELLS = 150_000
AS_IT_IS: Mapping[str, Any] = {"compression": "gzip", "compression_opts": 0}
"""Stored as large as it is, so that every reading of a chunk shows in the bytes that were asked for."""
IDS = [f"cell{number:06}" for number in range(N_CELLS)]


def plain(file: h5py.File) -> None:
    """Strings of any length, the 16 bytes of each in one chunk."""
    words = np.array(IDS, object)
    file["obs"].create_dataset("_index", data=words, dtype=h5py.string_dtype(), chunks=(N_CELLS,), **AS_IT_IS)


def fixed(file: h5py.File) -> None:
    file["obs"].create_dataset("_index", data=np.array(IDS, "S64"), chunks=(N_CELLS,), **AS_IT_IS)


def categorical(file: h5py.File) -> None:
    group = file["obs"].create_group("_index")
    group.attrs.update({"encoding-type": "categorical", "encoding-version": "0.2.0", "ordered": False})
    group["categories"] = np.array(IDS[::-1], "S10")
    group.create_dataset("codes", data=np.arange(N_CELLS)[::-1].astype("i8"), chunks=(N_CELLS,), **AS_IT_IS)


def nullable(file: h5py.File) -> None:
    group = file["obs"].create_group("_index")
    group.attrs.update({"encoding-type": "nullable-string-array", "encoding-version": "0.1.0"})
    group.create_dataset("values", data=np.array(IDS, "S64"), chunks=(N_CELLS,), **AS_IT_IS)
    group.create_dataset("mask", data=np.zeros(N_CELLS, bool), chunks=(N_CELLS,), **AS_IT_IS)


def compound(file: h5py.File) -> None:
    del file["obs"]
    table = np.zeros(N_CELLS, [("index", "S64"), ("size", "f8")])
    table["index"] = np.array(IDS, "S64")
    file.create_dataset("obs", data=table, chunks=(N_CELLS,), **AS_IT_IS)


FORMS = [plain, fixed, categorical, nullable, compound]


def in_one_chunk(put: Callable[[h5py.File], None]) -> BytesSource:
    """Many cells of nothing, whose ids lie in one chunk."""
    buffer = io.BytesIO(write_file(random_counts(4, 30)))
    with h5py.File(buffer, "r+") as file:
        nnz = file["X/data"].shape[0]
        for name in ("X/indptr", "obs/_index"):
            del file[name]
        file["X"].attrs["shape"] = [N_CELLS, 30]
        file["X/indptr"] = np.minimum(np.arange(N_CELLS + 1), nnz)
        put(file)
    return BytesSource(buffer.getvalue())


@pytest.mark.parametrize("put", FORMS)
def test_ids_in_one_chunk_are_fetched_once(put: Callable[[h5py.File], None]) -> None:
    source = CountingSource(in_one_chunk(put))
    with open_cell_ids(source) as ids:
        found = [one for start in range(0, N_CELLS, WINDOW_ROWS) for one in ids.ids(_window(start))]
    assert found == IDS
    # Once to be looked at, once to be inflated.
    assert source.bytes_read < 3 * source.size_bytes


def _window(start: int) -> Rows:
    return Rows(start, min(start + WINDOW_ROWS, N_CELLS))


def test_row_pointers_in_one_chunk_are_fetched_once() -> None:
    buffer = io.BytesIO(in_one_chunk(plain).data)
    with h5py.File(buffer, "r+") as file:
        pointers = file["X/indptr"][()]
        del file["X/indptr"]
        file["X"].create_dataset("indptr", data=pointers, chunks=(8 * len(pointers),), maxshape=(None,), **AS_IT_IS)
    source = CountingSource(BytesSource(buffer.getvalue()))
    with open_matrix(source, only_matrix(source)) as matrix:
        before = source.bytes_read
        assert sum(len(block.rows) for block in matrix.blocks(Rows(0, N_CELLS))) == N_CELLS
    assert source.bytes_read - before < 3 * 64 * N_CELLS


def test_a_dense_chunk_as_tall_as_the_matrix_is_fetched_once() -> None:
    n_cells, n_genes = 3_000, 700
    how = Recipe(kind="dense", data_options={"chunks": (n_cells, n_genes), **AS_IT_IS})
    data = BytesSource(write_file(random_counts(n_cells, n_genes), how))
    choice, source = only_matrix(data), CountingSource(data)
    with open_matrix(source, choice) as matrix:
        assert sum(len(block.rows) for block in matrix.blocks(Rows(0, n_cells))) == n_cells
    assert source.bytes_read < 3 * source.size_bytes


@pytest.mark.parametrize("shuffle", [False, True])
def test_of_a_chunk_declared_far_too_large_little_is_kept(shuffle: bool) -> None:
    how = {"chunks": (24 * 2**20,), "maxshape": (None,), "compression": "gzip", "shuffle": shuffle}
    counts = random_counts(300, 200)
    data = BytesSource(write_file(counts, Recipe(data_options=how, index_options=how)))
    choice = only_matrix(data)
    with open_matrix(data, choice) as matrix:

        def read() -> None:
            assert sum(block.nnz for block in matrix.blocks(Rows(0, 300))) == counts.nnz

        assert grown_bytes(read) < 140 * 2**20  # One chunk at a time is 96 MiB.
