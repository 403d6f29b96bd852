"""A sample of a matrix: a few rows in many places, or all of a small one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import h5py
import numpy as np
import numpy.typing as npt

from shared.domain.errors import TruncatedFileError
from shared.domain.verdict import MatrixEncoding
from shared.h5ad.read.chunk_index import Foresight
from shared.h5ad.read.held import Held
from shared.h5ad.read.inflating import sliced
from shared.h5ad.read.layouts import Shape
from shared.h5ad.read.limits import DEFAULT_LIMITS
from shared.h5ad.values.transforms import Floats, Ints
from shared.h5ad.values.weighing import GeneValues, Sample

Mask = npt.NDArray[np.bool_]

SMALL_NNZ = 250_000
"""Matrices up to this many stored values are looked at whole."""
PLACES = 16
ROWS_A_PLACE = 4
FEWER_PLACES = 4
"""Places of a large sparse matrix of which it is read which genes the values are of, too."""
_MOST_SAMPLED = 16 * 2**20
"""Values of the sampled rows together: a row has at most as many as there are genes, but for duplicate entries."""
DENSE_BYTES = 32 * 2**20
"""Raw bytes of chunks that a dense sample may inflate."""


def sample_rows(n_cells: int) -> list[int]:
    """Rows looked at in a large matrix: a few in a row at places spread over all of it."""
    if n_cells <= PLACES * ROWS_A_PLACE:
        return list(range(n_cells))
    starts = [place * (n_cells - ROWS_A_PLACE) // (PLACES - 1) for place in range(PLACES)]
    return sorted({start + step for start in starts for step in range(ROWS_A_PLACE)})


def take_sample(file: h5py.File, path: str, shape: Shape, foresight: Foresight, mask: Mask | None = None) -> Sample:
    """Read a sample of the matrix at ``path``.

    Several entries of one gene in a cell are summed only where some value is negative, since their parts may be so
    where the sums are counts; else they change nothing that a sample tells, and their places are not read.

    Args:
        mask: Which columns are genes; None where all are.

    Raises:
        TruncatedFileError: The row pointers make no sense.
    """
    node = file[path]
    small = shape.nnz <= SMALL_NNZ
    match shape.encoding:
        case MatrixEncoding.DENSE:
            return _dense(node, shape, mask, small=small)
        case MatrixEncoding.CSR:
            return _csr(_Sparse(node, shape, path, foresight, mask), small=small)
        case MatrixEncoding.CSC:
            return _csc(_Sparse(node, shape, path, foresight, mask), small=small)


@dataclass(frozen=True, slots=True)
class _Sparse:
    """A sparse matrix that is sampled."""

    node: h5py.Group
    shape: Shape
    path: str
    foresight: Foresight
    mask: Mask | None

    def values(self, spans: Sequence[range]) -> Floats:
        return _values(self.node["data"], spans, self.foresight)

    def places(self, spans: Sequence[range], bound: int) -> Ints:
        """Of the smaller dimension, checked."""
        found = _values(self.node["indices"], spans, self.foresight).astype(np.int64)
        if found.size and not 0 <= found.min() <= found.max() < bound:
            raise TruncatedFileError(
                f"{found.max():.0f} of {bound} rows or columns",
                where=self.path,
                hint="Write the file again with adata.write_h5ad().",
            )
        return found

    def must_know_columns(self, values: Floats) -> bool:
        return self.mask is not None or bool(values.size and values.min() < 0)

    def sample(self, values: Floats, rows: Ints, columns: Ints | None, *, whole_rows: bool) -> Sample:
        of_genes = None
        if columns is not None and self.mask is not None:
            kept = self.mask[columns]
            values, rows, columns = values[kept], rows[kept], columns[kept]
        if columns is not None:
            of_genes = GeneValues(values, gene_of(columns, self.mask), rows) if whole_rows else None
            values, rows = _summed(values, rows, columns, self.shape.n_columns)
        return replace(_nonzero(values, rows, whole_rows=whole_rows), of_genes=of_genes)


def gene_of(columns: Ints, mask: Mask | None) -> Ints:
    """Which gene each column is, counted among the genes."""
    return columns if mask is None else (np.cumsum(mask) - 1)[columns]


def _summed(values: Floats, rows: Ints, columns: Ints, n_columns: int) -> tuple[Floats, Ints]:
    """Entries of one gene in one cell as one."""
    keys, owner = np.unique(rows * n_columns + columns, return_inverse=True)
    if keys.size == values.size:
        return values, rows
    sums = np.zeros(keys.size)
    np.add.at(sums, owner, values)
    return sums, keys // n_columns


def _dense(node: h5py.Dataset, shape: Shape, mask: Mask | None, *, small: bool) -> Sample:
    rows = list(range(shape.n_cells)) if small else sample_rows(shape.n_cells)[: _affordable_rows(node, shape)]
    values, owners, genes = [np.empty(0)], [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    seen = set[tuple[int, ...]]()
    for run in _runs(rows):
        block = np.asarray(sliced(node, run.start, run.stop, seen=seen), dtype=np.float64)
        block = block if mask is None else block[:, mask]
        places = np.flatnonzero(block)
        values.append(block.ravel()[places])
        owners.append(places // max(1, block.shape[1]) + run.start)
        genes.append(places % max(1, block.shape[1]))
    found, owner = np.concatenate(values), np.concatenate(owners)
    of_genes = GeneValues(found, np.concatenate(genes), owner)
    return Sample(found, owner, whole_rows=True, n_looked_at=len(rows), of_genes=of_genes)


def _affordable_rows(node: h5py.Dataset, shape: Shape) -> int:
    if not node.chunks:
        return PLACES * ROWS_A_PLACE
    row_of_chunks = -(-shape.n_columns // int(node.chunks[1])) * shape.chunk_bytes
    return max(1, DENSE_BYTES // max(1, row_of_chunks)) * ROWS_A_PLACE


def _csr(matrix: _Sparse, *, small: bool) -> Sample:
    shape, path = matrix.shape, matrix.path
    runs = [range(shape.n_cells)] if small else list(_runs(sample_rows(shape.n_cells)))
    if not small:
        matrix.foresight.expect(matrix.node["indptr"], [range(run.start, run.stop + 1) for run in runs])
    pointers = [_pointers(matrix.node, path, slice(run.start, run.stop + 1)) for run in runs]
    if any(p[0] < 0 or p[-1] > shape.nnz for p in pointers) or (small and pointers[0][0] != 0):
        raise _bad_pointers(path)
    spans = [range(p[0], p[-1]) for p in pointers]
    if not small and sum(map(len, spans)) > _MOST_SAMPLED:
        raise _bad_pointers(path)
    values = matrix.values(spans)
    owners = [np.repeat(run, np.diff(p)) for run, p in zip(runs, pointers, strict=True)]
    rows = np.concatenate(owners)
    columns = matrix.places(spans, shape.n_columns) if small or matrix.must_know_columns(values) else None
    found = matrix.sample(values, rows, columns, whole_rows=True)
    if columns is None:
        some = slice(None, None, PLACES // FEWER_PLACES)
        genes = matrix.places(spans[some], shape.n_columns)
        found = replace(found, of_genes=GeneValues(matrix.values(spans[some]), genes, np.concatenate(owners[some])))
    n_looked_at = sum(map(len, runs))
    return replace(found, n_looked_at=n_looked_at) if found.values.size or small else _loose(matrix)


def _loose(matrix: _Sparse) -> Sample:
    """Values from anywhere, where the sampled rows happen to be empty."""
    values = matrix.values(_spread(matrix.shape.nnz, 4096))
    return _nonzero(values, np.zeros(len(values), np.int64), whole_rows=False)


def _csc(matrix: _Sparse, *, small: bool) -> Sample:
    used = matrix.shape.nnz
    if small:
        used = int(_pointers(matrix.node, matrix.path, slice(None))[-1])
    if not 0 <= used <= matrix.shape.nnz:
        raise _bad_pointers(matrix.path)
    spans = [range(used)] if small else _spread(used, 32_768)
    values = matrix.values(spans)
    rows = matrix.places(spans, matrix.shape.n_cells)
    columns = None
    if small or matrix.must_know_columns(values):
        pointers = _pointers(matrix.node, matrix.path, slice(None))
        stored = np.concatenate([np.empty(0, np.int64), *(np.arange(span.start, span.stop) for span in spans)])
        columns = np.searchsorted(pointers, stored, side="right") - 1
    found = matrix.sample(values, rows, columns, whole_rows=small)
    return replace(found, n_looked_at=matrix.shape.n_cells if small else 0)


def _spread(size: int, length: int) -> list[range]:
    """Places all over ``size`` values."""
    length = min(length, size)
    starts = sorted({place * (size - length) // (PLACES - 1) for place in range(PLACES)})
    return [range(start, start + length) for start in starts]


def _values(dataset: h5py.Dataset, spans: Sequence[range], foresight: Foresight) -> Floats:
    """The values of these spans, one after the other."""
    foresight.expect(dataset, spans)
    held = Held.of(dataset, DEFAULT_LIMITS.chunk_bytes)  # Let go as soon as these are read.
    parts = [np.asarray(held(span.start, span.stop), dtype=np.float64) for span in spans]
    return np.concatenate([np.empty(0), *parts])


def _pointers(node: h5py.Group, path: str, where: slice) -> Ints:
    pointers = np.asarray(sliced(node["indptr"], where.start or 0, where.stop), dtype=np.int64)
    if not pointers.size or (np.diff(pointers) < 0).any():
        raise _bad_pointers(path)
    return pointers


def _bad_pointers(path: str) -> TruncatedFileError:
    return TruncatedFileError(
        "row pointers that do not ascend from 0 to the number of values",
        expected="indptr of a valid sparse matrix",
        where=path,
        hint="Write the file again with adata.write_h5ad().",
    )


def _nonzero(values: Floats, rows: Ints, *, whole_rows: bool) -> Sample:
    keep = values != 0
    return Sample(values, rows, whole_rows) if keep.all() else Sample(values[keep], rows[keep], whole_rows)


def _runs(rows: list[int]) -> Iterator[range]:
    """Ascending rows as ranges of consecutive ones, none longer than a few thousand."""
    start = 0
    for place in range(1, len(rows) + 1):
        if place == len(rows) or rows[place] != rows[place - 1] + 1 or place - start >= 2048:
            yield range(rows[start], rows[place - 1] + 1)
            start = place
