"""Rows of a CSC matrix, transposed band by band in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from shared.domain.geometry import Rows
from shared.h5ad.read.ahead import in_order
from shared.h5ad.read.arrays import StoredArray, Window, fetch
from shared.h5ad.read.blocks import (
    Columns,
    Genes,
    Pointers,
    RowBlock,
    Values,
    as_float32,
    check_pointers,
    checked_columns,
    finished,
)
from shared.h5ad.read.held import Held
from shared.h5ad.read.opening import decoding
from shared.h5ad.read.projected import ProjectedBlock
from shared.h5ad.read.projecting import Projector
from shared.h5ad.read.settling import COUNTS, Stored
from shared.h5ad.source import RangeSource

Result = TypeVar("Result")

BAND_VALUES = 24 * 2**20
"""Values of one band: 8 bytes each, 192 MiB. Each band reads the whole matrix once, so that fewer are faster."""
STRETCH_VALUES = 2**20


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Consecutive stored values."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class _Whole:
    """Both arrays, as far as the pointers go: a writer may have left room behind.

    Attributes:
        used: Values.
    """

    used: int
    indices: Window
    data: Window


@dataclass(frozen=True, slots=True)
class CscReader:
    """A CSC matrix of the file: values lie column by column, so every band of rows needs all of them."""

    source: RangeSource
    where: str
    n_cells: int
    genes: Genes
    pointers: Held
    indices: StoredArray
    data: StoredArray
    nnz: int
    stored: Stored = COUNTS
    band_values: int = BAND_VALUES

    @property
    def n_genes(self) -> int:
        """Columns that are genes."""
        return self.genes.n_genes

    def blocks(self, rows: Rows) -> Iterator[RowBlock]:
        """The blocks of ``rows``, in order, columns ascending in each row.

        Raises:
            BadValuesError: NaN, infinite or negative values.
            TruncatedFileError: The bytes do not decode, or make no matrix.
            InputChangedError: The pinned generation is gone.
        """
        if not len(rows):
            return
        pointers = self._pointers()
        with decoding(self.where):
            used = int(pointers[-1])
            whole = _Whole(used, self.indices.window(0, used), self.data.window(0, used))
        counts = self._count(rows, whole)
        for band in self._bands(rows, counts):
            mine = counts[band.start - rows.start : band.stop - rows.start]
            yield from self._transposed(band, mine, pointers, whole)

    def projected(
        self, rows: Rows, feature_of_gene: Columns, then: Callable[[ProjectedBlock], Result]
    ) -> Iterator[Result]:
        """As in ``MatrixReader``; one block after the other.

        Raises:
            As ``blocks``.
        """
        projector = Projector.of(feature_of_gene, self.stored)
        return (then(projector.project(block)) for block in self.blocks(rows))

    def _pointers(self) -> Pointers:
        with decoding(self.where):
            pointers = np.asarray(self.pointers()).astype(np.int64, copy=False)
        check_pointers(pointers, self.nnz, self.where)
        check_pointers(np.array([pointers[0], 0]), self.nnz, self.where)
        return pointers

    def _count(self, rows: Rows, whole: _Whole) -> npt.NDArray[np.int64]:
        """Stored values of each row."""
        counts = np.zeros(len(rows), np.int64)
        for cells in in_order(partial(self._cells_of, whole), _stretches(whole.used), workers=1):
            mine = cells[(cells >= rows.start) & (cells < rows.stop)] - rows.start
            counts += np.bincount(mine, minlength=len(rows))
        return counts

    def _bands(self, rows: Rows, counts: npt.NDArray[np.int64]) -> Iterator[Rows]:
        """Whole blocks, together at most ``band_values`` where a block is not larger than that."""
        start, held = rows.start, 0
        for block in rows.blocks():
            size = int(counts[block.start - rows.start : block.stop - rows.start].sum())
            if held and held + size > self.band_values:
                yield Rows(start, block.start)
                start, held = block.start, 0
            held += size
        yield Rows(start, rows.stop)

    def _transposed(
        self, band: Rows, counts: npt.NDArray[np.int64], pointers: Pointers, whole: _Whole
    ) -> Iterator[RowBlock]:
        starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        columns, values = np.empty(starts[-1], np.int32), np.empty(starts[-1], np.float32)
        free = starts[:-1].copy()
        for stretch, cells, data in in_order(partial(self._values_of, whole), _stretches(whole.used), workers=1):
            chosen = np.flatnonzero((cells >= band.start) & (cells < band.stop))
            genes = np.searchsorted(pointers, chosen + stretch.start, side="right") - 1
            _scatter(cells[chosen] - band.start, (genes.astype(np.int32), data[chosen]), (columns, values), free)
        for rows in band.blocks():
            first, last = starts[rows.start - band.start], starts[rows.stop - band.start]
            here = starts[rows.start - band.start : rows.stop - band.start + 1] - first
            yield finished(RowBlock(rows, here, columns[first:last], values[first:last]), self.genes, self.where)

    def _cells_of(self, whole: _Whole, stretch: _Stretch) -> Columns:
        parts = fetch(self.source, whole.indices.spans(stretch.start, stretch.stop))
        with decoding(self.where):
            cells = whole.indices.decode(stretch.start, stretch.stop, parts)
        return checked_columns(cells, self.n_cells, self.where)

    def _values_of(self, whole: _Whole, stretch: _Stretch) -> tuple[_Stretch, Columns, Values]:
        cells = self._cells_of(whole, stretch)
        parts = fetch(self.source, whole.data.spans(stretch.start, stretch.stop))
        with decoding(self.where):
            data = as_float32(whole.data.decode(stretch.start, stretch.stop, parts))
        return stretch, cells, data


def _stretches(used: int) -> Iterator[_Stretch]:
    for start in range(0, used, STRETCH_VALUES):
        yield _Stretch(start, min(start + STRETCH_VALUES, used))


def _scatter(
    rows: Columns, found: tuple[Columns, Values], into: tuple[Columns, Values], free: npt.NDArray[np.int64]
) -> None:
    """Put each value into the next free place of its row; ``free`` moves on."""
    order = np.argsort(rows, kind="stable")
    sorted_rows = rows[order]
    counts = np.bincount(sorted_rows, minlength=len(free))
    firsts = np.cumsum(counts) - counts
    places = free[sorted_rows] + np.arange(len(rows)) - firsts[sorted_rows]
    into[0][places] = found[0][order]
    into[1][places] = found[1][order]
    free += counts
