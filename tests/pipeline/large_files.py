"""Files as large as users have them, in anndata's own gzip layout, written in seconds: a few chunks over and over."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from pathlib import Path

import anndata
import h5py
import numpy as np
import numpy.typing as npt
import pandas as pd

from shared.bundles.card import CARD_NAME
from shared.bundles.stored import parse_card
from shared.settings import REPOSITORY

N_GENES = 30_000
PER_CELL = 2_240
"""Stored values of a cell, as in the files that the design was measured on."""
LEVEL = 4
"""Of h5py's gzip, where none is asked for."""
_KINDS = (("data", "f4"), ("indices", "i4"))


def write_large(path: Path, *, n_cells: int, per_cell: int, genes: Sequence[str] = (), n_genes: int = N_GENES) -> None:
    """Counts of ``n_cells`` x ``n_genes``, ``per_cell`` stored values each.

    obs, var and the empty rest are anndata's own writing. The layout of X is as anndata's: h5py chooses the chunks, and
    they are stored in order. Only their deflating is done once for all that are alike.

    Args:
        genes: The names of the first ones.
    """
    rng = np.random.default_rng(7)
    names = [*genes, *(f"GENE{n}" for n in range(n_genes))][:n_genes]
    with h5py.File(path, "w") as file:
        file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        _matrix(file.create_group("X"), rng, (n_cells, n_genes), per_cell)
        written = {"dataset_kwargs": {"compression": "gzip"}}
        anndata.io.write_elem(file, "obs", _obs(rng, n_cells), **written)
        anndata.io.write_elem(file, "var", _var(names), **written)
        for name in ("layers", "obsm", "obsp", "uns", "varm", "varp"):
            anndata.io.write_elem(file, name, {}, **written)


def kept_large(folder: Path, n_cells: int) -> Path:
    """A file of so many cells with the genes of the default bundle, made in ``folder`` unless it is there."""
    file = folder / f"{n_cells}.h5ad"
    if not file.exists():
        write_large(file, n_cells=n_cells, per_cell=PER_CELL, genes=genes_of(REPOSITORY / "models/pbmc-sorted/1.0.0"))
    return file


def genes_of(bundle: Path) -> list[str]:
    """The symbols that a bundle knows."""
    card = parse_card((bundle / CARD_NAME).read_bytes(), where=str(bundle))
    return [symbol for symbol in card.features.symbol if symbol]


def _matrix(group: h5py.Group, rng: np.random.Generator, shape: tuple[int, int], per_cell: int) -> None:
    n_cells, n_genes = shape
    group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": np.array(shape)})
    data, indices = (
        group.create_dataset(name, (n_cells * per_cell,), kind, compression="gzip") for name, kind in _KINDS
    )
    # So many rows end where a chunk does: from there on it is the same chunks again.
    period = math.lcm(per_cell, *data.chunks)
    _fill(data, rng.geometric(0.45, period))
    _fill(indices, np.concatenate([_row(rng, n_genes, per_cell) for _ in range(period // per_cell)]))
    pointers = np.arange(n_cells + 1, dtype=np.int64) * per_cell
    small = pointers[-1] < np.iinfo(np.int32).max
    group.create_dataset("indptr", data=pointers.astype(np.int32) if small else pointers, compression="gzip")


def _row(rng: np.random.Generator, n_genes: int, per_cell: int) -> npt.NDArray[np.int64]:
    return np.sort(rng.choice(n_genes, per_cell, replace=False))


def _fill(dataset: h5py.Dataset, period: npt.NDArray[np.int64]) -> None:
    """Make it ``period`` over and over."""
    (length,) = dataset.chunks
    values = period.astype(dataset.dtype).reshape(-1, length)
    deflated = [zlib.compress(chunk.tobytes(), LEVEL) for chunk in values]
    for place, start in enumerate(range(0, len(dataset), length)):
        dataset.id.write_direct_chunk((start,), deflated[place % len(deflated)])


def _obs(rng: np.random.Generator, n_cells: int) -> pd.DataFrame:
    letters = np.array(list("ACGT"))[rng.integers(0, 4, (n_cells, 16))]
    barcodes = [f"{''.join(row)}-{n}" for n, row in enumerate(letters.tolist())]
    donors = pd.Categorical([f"donor {n * 8 // n_cells}" for n in range(n_cells)])
    quality = {"pct_counts_mt": rng.random(n_cells), "doublet_score": rng.random(n_cells)}
    return pd.DataFrame({"donor": donors, **quality}, index=barcodes)


def _var(genes: list[str]) -> pd.DataFrame:
    ids = [f"ENSG{n:011d}" for n in range(len(genes))]
    kinds = pd.Categorical(["Gene Expression"] * len(genes))
    return pd.DataFrame({"gene_ids": ids, "feature_types": kinds}, index=genes)
