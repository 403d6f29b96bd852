"""Rows of a dense matrix, sparsified slab by slab."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import h5py
import numpy as np

from shared.domain.geometry import Rows
from shared.h5ad.read.ahead import in_order
from shared.h5ad.read.blocks import Columns, Genes, RowBlock, as_float32, finished
from shared.h5ad.read.held import with_room
from shared.h5ad.read.inflating import sliced
from shared.h5ad.read.opening import decoding
from shared.h5ad.read.projected import ProjectedBlock
from shared.h5ad.read.projecting import Projector
from shared.h5ad.read.settling import COUNTS, Stored

Result = TypeVar("Result")

SLAB_BYTES = 16 * 2**20
CACHE_BYTES = 96 * 2**20
"""Chunks kept inflated, so that a chunk taller than a slab is inflated once."""


@dataclass(frozen=True, slots=True)
class DenseReader:
    """A dense matrix of the file, cells x genes."""

    where: str
    n_cells: int
    genes: Genes
    matrix: h5py.Dataset
    stored: Stored = COUNTS
    seen: set[tuple[int, ...]] = field(default_factory=set)

    @property
    def n_genes(self) -> int:
        """Columns that are genes."""
        return self.genes.n_genes

    def blocks(self, rows: Rows) -> Iterator[RowBlock]:
        """The blocks of ``rows``, in order, without the zeros.

        Raises:
            BadValuesError: NaN, infinite or negative values.
            TruncatedFileError: The bytes do not decode.
        """
        return in_order(self._load, rows.blocks(), workers=1)

    def projected(
        self, rows: Rows, feature_of_gene: Columns, then: Callable[[ProjectedBlock], Result]
    ) -> Iterator[Result]:
        """As in ``MatrixReader``; one block after the other.

        Raises:
            As ``blocks``.
        """
        projector = Projector.of(feature_of_gene, self.stored)
        return (then(projector.project(block)) for block in self.blocks(rows))

    def _load(self, rows: Rows) -> RowBlock:
        height = max(1, SLAB_BYTES // max(1, self.genes.n_columns * self.matrix.dtype.itemsize))
        slabs = [self._slab(at, min(at + height, rows.stop)) for at in range(rows.start, rows.stop, height)]
        counts = np.concatenate([np.zeros(1, np.int64), *(slab[0] for slab in slabs)])
        columns = np.concatenate([slab[1] for slab in slabs])
        values = np.concatenate([slab[2] for slab in slabs])
        return finished(RowBlock(rows, np.cumsum(counts), columns, values), self.genes, self.where)

    def _slab(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Values in each row, then columns and values row by row."""
        with decoding(self.where):
            slab = as_float32(np.asarray(sliced(self.matrix, start, stop, seen=self.seen)))
        places = np.flatnonzero(slab)
        rows, columns = np.divmod(places, slab.shape[1]) if slab.shape[1] else (places, places)
        counts = np.bincount(rows, minlength=stop - start)
        return counts, columns.astype(np.int32), slab.ravel()[places]


def with_cache(dataset: h5py.Dataset) -> h5py.Dataset:
    """The same dataset, opened with room for the chunks that lie across a row; ``dataset`` itself is closed."""
    return with_room(dataset, CACHE_BYTES, 100_003)
