"""Rows of a CSR matrix: only the bytes of the rows asked for, inflated in threads ahead of their use."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from shared.domain.geometry import BLOCK_ROWS, Rows
from shared.h5ad.read import native
from shared.h5ad.read.ahead import cores, in_order
from shared.h5ad.read.arrays import SlicedArray, StoredArray, Window, fetch
from shared.h5ad.read.blocks import (
    Columns,
    Genes,
    Pointers,
    RowBlock,
    as_float32,
    check_pointers,
    checked_columns,
    finished,
)
from shared.h5ad.read.held import Held
from shared.h5ad.read.opening import decoding
from shared.h5ad.read.projected import ProjectedBlock, RowBuffers, ScratchBuffers, features_of_columns
from shared.h5ad.read.projecting import Projector
from shared.h5ad.read.settling import COUNTS, Stored
from shared.h5ad.source import RangeSource

Found = TypeVar("Found")
Result = TypeVar("Result")

BATCH_BYTES = 12 * 2**20
"""Raw bytes of one batch. Their stored bytes are a quarter of it, what a model keeps of them mostly less."""
FETCHED_AHEAD = 3
"""Batches on their way from the store: a request to a bucket takes as long as inflating one."""
MOST_WORKERS = 8
_WINDOW = 64 * BLOCK_ROWS


@dataclass(frozen=True, slots=True)
class _Batch:
    """Whole blocks that are fetched together, and the stretch of the file that has them.

    Attributes:
        pointers: Those of all their rows.
    """

    rows: Rows
    pointers: Pointers
    indices: Window
    data: Window


@dataclass(frozen=True, slots=True)
class _Fetched:
    """The stored bytes of a batch."""

    batch: _Batch
    indices: list[memoryview]
    data: list[memoryview]


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
    pointers: Held
    indices: StoredArray
    data: StoredArray
    nnz: int
    stored: Stored = COUNTS

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
        for blocks in self._through(self._decoded, rows):
            yield from blocks

    def projected(
        self, rows: Rows, feature_of_gene: Columns, then: Callable[[ProjectedBlock], Result]
    ) -> Iterator[Result]:
        """As in ``MatrixReader``; other genes' values are never kept.

        Raises:
            As ``blocks``.
        """
        features = features_of_columns(feature_of_gene, self.genes)
        projector = Projector.of(feature_of_gene, self.stored)
        expected, all_genes = projector.expected, self.genes.position is None
        mine = threading.local()

        def found(fetched: _Fetched) -> list[Result]:
            if expected is not None:
                scratch = mine.__dict__.setdefault("scratch", ScratchBuffers())
                room = RowBuffers.of(fetched.batch.pointers, features, scratch, only_genes=all_genes, expected=expected)
                if _filled(room, fetched):
                    return [then(projector.completed(block)) for block in room.blocks(fetched.batch.rows)]
            return [then(projector.project(block)) for block in self._decoded(fetched)]

        for results in self._through(found, rows):
            yield from results

    def _through(self, decode: Callable[[_Fetched], Found], rows: Rows) -> Iterator[Found]:
        """Batches fetched ahead, and decoded ahead by as many threads as there are cores."""
        sliced = isinstance(self.data, SlicedArray) or isinstance(self.indices, SlicedArray)
        large = max(self.data.chunk_bytes, self.indices.chunk_bytes) > BATCH_BYTES // 4
        if sliced or large:  # What one batch leaves inflated is of use to the next.
            return in_order(lambda batch: decode(self._fetched(batch)), self._batches(rows), workers=1)
        fetched = in_order(self._fetched, self._batches(rows), workers=FETCHED_AHEAD)
        return in_order(decode, fetched, workers=min(cores(), MOST_WORKERS))

    def _batches(self, rows: Rows) -> Iterator[_Batch]:
        """Whole blocks, as many together as a batch may be large."""
        most = BATCH_BYTES // (self.data.dtype.itemsize + self.indices.dtype.itemsize)
        for whole in in_order(self._opened, _windows(rows), workers=1):
            window = whole.rows
            pointers = whole.pointers
            start = window.start
            for block in window.blocks():
                size = pointers[block.stop - window.start] - pointers[start - window.start]
                if size > most and block.start > start:
                    yield _part(whole, Rows(start, block.start))
                    start = block.start
            yield _part(whole, Rows(start, window.stop))

    def _opened(self, window: Rows) -> _Batch:
        pointers = self._pointers(window)
        first, last = int(pointers[0]), int(pointers[-1])
        with decoding(self.where):
            return _Batch(window, pointers, self.indices.window(first, last), self.data.window(first, last))

    def _pointers(self, window: Rows) -> Pointers:
        with decoding(self.where):
            pointers = np.asarray(self.pointers(window.start, window.stop + 1)).astype(np.int64, copy=False)
        check_pointers(pointers, self.nnz, self.where)
        if window.start == 0:
            check_pointers(np.array([pointers[0], 0]), self.nnz, self.where)
        return pointers

    def _fetched(self, batch: _Batch) -> _Fetched:
        start, stop = int(batch.pointers[0]), int(batch.pointers[-1])
        spans = batch.indices.spans(start, stop)
        cut = len(spans)
        parts = fetch(self.source, [*spans, *batch.data.spans(start, stop)])
        return _Fetched(batch, parts[:cut], parts[cut:])

    def _decoded(self, fetched: _Fetched) -> list[RowBlock]:
        batch = fetched.batch
        start, stop = int(batch.pointers[0]), int(batch.pointers[-1])
        with decoding(self.where):
            indices = batch.indices.decode(start, stop, fetched.indices)
            data = as_float32(batch.data.decode(start, stop, fetched.data))
        columns = checked_columns(indices, self.genes.n_columns, self.where)
        blocks = []
        for rows in batch.rows.blocks():
            pointers = batch.pointers[rows.start - batch.rows.start : rows.stop - batch.rows.start + 1]
            place = slice(pointers[0] - start, pointers[-1] - start)
            block = RowBlock(rows, pointers - pointers[0], columns[place], data[place])
            blocks.append(finished(block, self.genes, self.where))
        return blocks


def _filled(room: RowBuffers, fetched: _Fetched) -> bool:
    """Whether the compiled loops could take these bytes."""
    batch = fetched.batch
    start, stop = int(batch.pointers[0]), int(batch.pointers[-1])
    data = batch.data.stored(start, stop, fetched.data)
    indices = batch.indices.stored(start, stop, fetched.indices)
    return data is not None and indices is not None and native.load(room, data, indices)


def _part(whole: _Batch, rows: Rows) -> _Batch:
    pointers = whole.pointers[rows.start - whole.rows.start : rows.stop - whole.rows.start + 1]
    return replace(whole, rows=rows, pointers=pointers)


def _windows(rows: Rows) -> Iterator[Rows]:
    """Stretches of rows whose pointers are read at once, cut at absolute block boundaries."""
    start = rows.start
    while start < rows.stop:
        stop = min((start // _WINDOW + 1) * _WINDOW, rows.stop)
        yield Rows(start, stop)
        start = stop
