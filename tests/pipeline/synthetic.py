"""Large count files, written in blocks: gzipped CSR as anndata writes it."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from shared.bundle import CARD_NAME, parse_card

BLOCK = 5_000


def write_counts(path: Path, *, n_cells: int, per_cell: int, seed: int, genes: list[str] | None = None) -> None:
    """A file of ``n_cells`` x 30,000 with about ``per_cell`` counts a cell, the model's genes among the genes."""
    rng = np.random.default_rng(seed)
    names = _genes(genes or [])
    with h5py.File(path, "w") as file:
        file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        _frame(file, "obs", [f"cell-{n}" for n in range(n_cells)])
        _frame(file, "var", names)
        matrix = file.create_group("X")
        matrix.attrs.update(
            {"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": [n_cells, len(names)]}
        )
        how = {"maxshape": (None,), "chunks": (65_536,), "compression": "gzip", "compression_opts": 4}
        data = matrix.create_dataset("data", (0,), "f4", **how)
        indices = matrix.create_dataset("indices", (0,), "i4", **how)
        pointers = [np.zeros(1, np.int64)]
        popularity = rng.gamma(0.3, size=len(names))
        popularity /= popularity.sum()
        for start in range(0, n_cells, BLOCK):
            drawn = rng.choice(len(names), size=(min(BLOCK, n_cells - start), per_cell), p=popularity)
            drawn.sort(axis=1)
            fresh = np.diff(drawn, axis=1, prepend=-1) > 0
            ends = np.append(np.flatnonzero(fresh.ravel()), fresh.size)
            _append(indices, drawn[fresh].astype("i4"))
            _append(data, np.diff(ends).astype("f4"))
            pointers.append(pointers[-1][-1] + np.cumsum(fresh.sum(axis=1)))
        matrix.create_dataset("indptr", data=np.concatenate(pointers).astype("i4"))


def genes_of(bundle: Path) -> list[str]:
    """The symbols that a bundle knows."""
    card = parse_card((bundle / CARD_NAME).read_bytes(), where=str(bundle))
    return [symbol for symbol in card.features.symbol if symbol]


def _genes(known: list[str], n_genes: int = 30_000) -> list[str]:
    return (known + [f"GENE{n}" for n in range(n_genes)])[:n_genes]


def _frame(file: h5py.File, name: str, index: list[str]) -> None:
    group = file.create_group(name)
    group.attrs.update({"encoding-type": "dataframe", "encoding-version": "0.2.0", "_index": "_index"})
    group.attrs["column-order"] = np.array([], dtype=h5py.string_dtype())
    column = group.create_dataset("_index", data=index, dtype=h5py.string_dtype())
    column.attrs.update({"encoding-type": "string-array", "encoding-version": "0.2.0"})


def _append(dataset: h5py.Dataset, values: np.ndarray) -> None:
    dataset.resize((len(dataset) + len(values),))
    dataset[-len(values) :] = values
