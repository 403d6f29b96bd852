"""Small files in many layouts, made by h5py directly so that every storage detail can be chosen."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.sparse as sp

from shared.domain.geometry import Rows
from shared.domain.verdict import MatrixChoice
from shared.h5ad.inspect.inspection import inspect
from shared.h5ad.judge.matrices import choose
from shared.h5ad.read.rows import open_matrix
from shared.h5ad.source import BytesSource, RangeSource

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
REAL_FILES = sorted(path for folder in ("h5ad", "awkward") for path in (DATA / folder).glob("*.h5*"))


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a synthetic file is stored."""

    kind: str = "csr"
    dtype: str = "float32"
    index_dtype: str = "int32"
    pointer_dtype: str = "int32"
    data_options: Mapping[str, Any] = field(default_factory=dict)
    index_options: Mapping[str, Any] = field(default_factory=dict)
    genes: Sequence[str] | None = None
    cells: Sequence[str] | None = None


def put_matrix(parent: h5py.Group, name: str, matrix: sp.csr_matrix, recipe: Recipe) -> None:
    """Write one matrix."""
    if recipe.kind == "dense":
        values = matrix.toarray().astype(recipe.dtype)
        node = parent.create_dataset(name, data=values, **recipe.data_options)
        node.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
        return
    stored = matrix.tocsr() if recipe.kind == "csr" else matrix.tocsc()
    group = parent.create_group(name)
    shape = np.array(matrix.shape)
    group.attrs.update({"encoding-type": f"{recipe.kind}_matrix", "encoding-version": "0.1.0", "shape": shape})
    group.create_dataset("data", data=stored.data.astype(recipe.dtype), **recipe.data_options)
    group.create_dataset("indices", data=stored.indices.astype(recipe.index_dtype), **recipe.index_options)
    group.create_dataset("indptr", data=stored.indptr.astype(recipe.pointer_dtype))


def put_frame(parent: h5py.Group, name: str, index: Sequence[str], columns: Mapping[str, Any] | None = None) -> None:
    """Write obs or var."""
    group = parent.create_group(name)
    columns = columns or {}
    group.attrs.update({"encoding-type": "dataframe", "encoding-version": "0.2.0", "_index": "_index"})
    group.attrs["column-order"] = np.array(list(columns), dtype=h5py.string_dtype())
    group.create_dataset("_index", data=np.array(index, dtype=object), dtype=h5py.string_dtype())
    for key, values in columns.items():
        text = values and isinstance(values[0], str)
        kind = h5py.string_dtype() if text else None
        group.create_dataset(key, data=np.array(values, dtype=object if text else None), dtype=kind)


def write_file(matrix: sp.csr_matrix, recipe: Recipe | None = None, **layers: sp.csr_matrix) -> bytes:
    """A whole AnnData file with ``matrix`` as X."""
    recipe = recipe or Recipe()
    n_cells, n_genes = matrix.shape
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        put_matrix(file, "X", matrix, recipe)
        put_frame(file, "obs", recipe.cells or [f"cell{i}" for i in range(n_cells)])
        put_frame(file, "var", recipe.genes or [f"ENSG{i:011d}" for i in range(n_genes)])
        group = file.create_group("layers")
        for name, layer in layers.items():
            put_matrix(group, name, layer, recipe)
    return buffer.getvalue()


def random_counts(n_cells: int, n_genes: int, seed: int = 0, density: float = 0.1) -> sp.csr_matrix:
    """Small whole numbers, mostly zero."""
    rng = np.random.default_rng(seed)
    dense = rng.poisson(2.0, (n_cells, n_genes)) * (rng.random((n_cells, n_genes)) < density)
    return sp.csr_matrix(dense.astype(np.float32))


def read_all(source: RangeSource, choice: MatrixChoice, rows: Rows | None = None) -> sp.csr_matrix:
    """Every block of ``rows`` as one matrix."""
    rows = Rows(0, choice.n_cells) if rows is None else rows
    with open_matrix(source, choice) as reader:
        blocks = list(reader.blocks(rows))
        n_genes = reader.n_genes
    assert [block.rows for block in blocks] == list(rows.blocks())
    counts = np.concatenate([np.zeros(1, np.int64), *(np.diff(block.indptr) for block in blocks)])
    data = np.concatenate([np.empty(0, np.float32), *(block.data for block in blocks)])
    indices = np.concatenate([np.empty(0, np.int32), *(block.indices for block in blocks)])
    return sp.csr_matrix((data, indices, np.cumsum(counts)), shape=(len(rows), n_genes))


def real_file(name: str) -> BytesSource:
    """A real file, or a skip."""
    path = DATA / name
    if not path.exists():
        pytest.skip(f"the real data are not here: {path}")
    return BytesSource(path.read_bytes())


def spoiled(spoil: Callable[[h5py.File], object]) -> BytesSource:
    """A sound AnnData file after something was done to it."""
    buffer = io.BytesIO(write_file(random_counts(20, 30)))
    with h5py.File(buffer, "r+") as file:
        spoil(file)
    return BytesSource(buffer.getvalue())


def only_matrix(source: RangeSource, path: str = "X") -> MatrixChoice:
    """The choice of one matrix, as validation makes it."""
    choice = choose(inspect(source).candidates, path).choice
    assert choice is not None
    return choice
