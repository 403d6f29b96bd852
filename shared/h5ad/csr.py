"""Rows of a CSR matrix: only the bytes of the rows asked for, inflated in threads ahead of their use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import h5py
import numpy as np

from shared.domain.geometry import BLOCK_ROWS, Rows
from shared.h5ad.ahead import in_order
from shared.h5ad.arrays import SlicedArray, StoredArray, fetch
from shared.h5ad.blocks import Genes, Pointers, RowBlock, as_float32, check_pointers, checked_columns, finished
from shared.h5ad.decoding import decoding
from shared.h5ad.source import RangeSource

BATCH_BYTES = 12 * 2**20
"""Raw bytes of one batch; with up to four workers, five batches and their stored bytes make about 100 MB."""
MOST_WORKERS = 4
_WINDOW = 256 * BLOCK_ROWS


@dataclass(frozen=True, slots=True)
class _Batch:
    """Whole blocks that are fetched together; ``pointers`` has those of all their rows."""

    rows: Rows
    pointers: Pointers


@dataclass(frozen=True, slots=True)
class CsrReader:
    """A CSR matrix of the file.

    Attributes:
        n_cells: Rows.
        genes: Its columns.
    """

    source: RangeSource
    where: str
    n_cells: int
    genes: Genes
    pointers: h5py.Dataset
    indices: StoredArray
    data: StoredArray
    nnz: int

    @property
    def n_genes(self) -> int:
        """Columns that are genes."""
        return self.genes.n_genes

    def blocks(self, rows: Rows) -> Iterator[RowBlock]:
        """The blocks of ``rows``, in order.

        Raises:
            BadValuesError: NaN, infinite or negative values.
            TruncatedFileError: The bytes do not decode, or make no matrix.
            InputChangedError: The pinned generation is gone.
        """
        for blocks in in_order(self._load, self._batches(rows), workers=self._workers()):
            yield from blocks

    def _workers(self) -> int:
        sliced = isinstance(self.data, SlicedArray) or isinstance(self.indices, SlicedArray)
        large = max(self.data.chunk_bytes, self.indices.chunk_bytes) > BATCH_BYTES // 4
        return 1 if sliced or large else min(MOST_WORKERS, os.cpu_count() or 1)

    def _batches(self, rows: Rows) -> Iterator[_Batch]:
        """Whole blocks, as many together as a batch may be large."""
        most = BATCH_BYTES // (self.data.dtype.itemsize + self.indices.dtype.itemsize)
        for window in _windows(rows):
            pointers = self._pointers(window)
            start = window.start
            for block in window.blocks():
                size = pointers[block.stop - window.start] - pointers[start - window.start]
                if size > most and block.start > start:
                    yield _batch(Rows(start, block.start), window, pointers)
                    start = block.start
            yield _batch(Rows(start, window.stop), window, pointers)

    def _pointers(self, window: Rows) -> Pointers:
        with decoding(self.where):
            pointers = np.asarray(self.pointers[window.start : window.stop + 1]).astype(np.int64, copy=False)
        check_pointers(pointers, self.nnz, self.where)
        if window.stop == self.n_cells:
            check_pointers(np.array([self.nnz, pointers[-1]]), self.nnz, self.where)
        if window.start == 0:
            check_pointers(np.array([pointers[0], 0]), self.nnz, self.where)
        return pointers

    def _load(self, batch: _Batch) -> list[RowBlock]:
        start, stop = int(batch.pointers[0]), int(batch.pointers[-1])
        spans = self.indices.spans(start, stop)
        cut = len(spans)
        parts = fetch(self.source, [*spans, *self.data.spans(start, stop)])
        with decoding(self.where):
            indices = self.indices.decode(start, stop, parts[:cut])
            data = as_float32(self.data.decode(start, stop, parts[cut:]))
        columns = checked_columns(indices, self.genes.n_columns, self.where)
        blocks = []
        for rows in batch.rows.blocks():
            pointers = batch.pointers[rows.start - batch.rows.start : rows.stop - batch.rows.start + 1]
            place = slice(pointers[0] - start, pointers[-1] - start)
            block = RowBlock(rows, pointers - pointers[0], columns[place], data[place])
            blocks.append(finished(block, self.genes, self.where))
        return blocks


def _batch(rows: Rows, window: Rows, pointers: Pointers) -> _Batch:
    return _Batch(rows, pointers[rows.start - window.start : rows.stop - window.start + 1])


def _windows(rows: Rows) -> Iterator[Rows]:
    """Stretches of rows whose pointers are read at once, cut at absolute block boundaries."""
    start = rows.start
    while start < rows.stop:
        stop = min((start // _WINDOW + 1) * _WINDOW, rows.stop)
        yield Rows(start, stop)
        start = stop
