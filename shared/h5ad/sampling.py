"""A sample of a matrix: a few rows in many places, or all of a small one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import h5py
import numpy as np

from shared.domain.errors import TruncatedFileError
from shared.domain.verdict import MatrixEncoding
from shared.h5ad.chunk_index import Foresight
from shared.h5ad.layouts import Shape
from shared.h5ad.weighing import Floats, Ints, Sample

SMALL_NNZ = 250_000
"""Matrices up to this many stored values are looked at whole."""
PLACES = 16
ROWS_A_PLACE = 4
DENSE_BYTES = 32 * 2**20
"""Raw bytes of chunks that a dense sample may inflate."""


def sample_rows(n_cells: int) -> list[int]:
    """Rows looked at in a large matrix: a few in a row at places spread over all of it."""
    if n_cells <= PLACES * ROWS_A_PLACE:
        return list(range(n_cells))
    starts = [place * (n_cells - ROWS_A_PLACE) // (PLACES - 1) for place in range(PLACES)]
    return sorted({start + step for start in starts for step in range(ROWS_A_PLACE)})


def take_sample(file: h5py.File, path: str, shape: Shape, foresight: Foresight) -> Sample:
    """Read a sample of the matrix at ``path``.

    Raises:
        TruncatedFileError: The row pointers make no sense.
    """
    node = file[path]
    small = shape.nnz <= SMALL_NNZ
    match shape.encoding:
        case MatrixEncoding.DENSE:
            return _dense(node, shape, small=small)
        case MatrixEncoding.CSR if small:
            return _whole_csr(node, path)
        case MatrixEncoding.CSR:
            return _csr(node, shape, path, foresight)
        case MatrixEncoding.CSC:
            return _csc(node, shape, path, foresight)


def _dense(node: h5py.Dataset, shape: Shape, *, small: bool) -> Sample:
    rows = list(range(shape.n_cells)) if small else sample_rows(shape.n_cells)[: _affordable_rows(node, shape)]
    values, owners = [np.empty(0)], [np.empty(0, np.int64)]
    for run in _runs(rows):
        block = np.asarray(node[run.start : run.stop], dtype=np.float64)
        places = np.flatnonzero(block)
        values.append(block.ravel()[places])
        owners.append(places // shape.n_columns + run.start)
    return Sample(np.concatenate(values), np.concatenate(owners), whole_rows=True)


def _affordable_rows(node: h5py.Dataset, shape: Shape) -> int:
    if not node.chunks:
        return PLACES * ROWS_A_PLACE
    row_of_chunks = -(-shape.n_columns // int(node.chunks[1])) * shape.chunk_bytes
    return max(1, DENSE_BYTES // max(1, row_of_chunks)) * ROWS_A_PLACE


def _whole_csr(node: h5py.Group, path: str) -> Sample:
    pointers = _pointers(node, path, slice(None))
    if pointers[0] != 0 or pointers[-1] != node["data"].shape[0]:
        raise _bad_pointers(path)
    rows = np.repeat(np.arange(len(pointers) - 1), np.diff(pointers))
    return _nonzero(np.asarray(node["data"][()], dtype=np.float64), rows, whole_rows=True)


def _csr(node: h5py.Group, shape: Shape, path: str, foresight: Foresight) -> Sample:
    runs = list(_runs(sample_rows(shape.n_cells)))
    foresight.expect(node["indptr"], [range(run.start, run.stop + 1) for run in runs])
    pointers = [_pointers(node, path, slice(run.start, run.stop + 1)) for run in runs]
    if any(p[0] < 0 or p[-1] > shape.nnz or np.diff(p).max() > shape.n_columns for p in pointers):
        raise _bad_pointers(path)
    stored = _values(node["data"], [range(p[0], p[-1]) for p in pointers], foresight)
    owners = [np.repeat(run, np.diff(p)) for run, p in zip(runs, pointers, strict=True)]
    found = _nonzero(stored, np.concatenate(owners), whole_rows=True)
    return found if found.values.size else _loose(node, shape, foresight)


def _loose(node: h5py.Group, shape: Shape, foresight: Foresight) -> Sample:
    """Values from anywhere, where the sampled rows happen to be empty."""
    values = _values(node["data"], _spread(shape.nnz, 4096), foresight)
    return _nonzero(values, np.zeros(len(values), np.int64), whole_rows=False)


def _csc(node: h5py.Group, shape: Shape, path: str, foresight: Foresight) -> Sample:
    small = shape.nnz <= SMALL_NNZ
    spans = [range(shape.nnz)] if small else _spread(shape.nnz, 32_768)
    values, owners = (_values(node[name], spans, foresight) for name in ("data", "indices"))
    if owners.size and not 0 <= owners.min() <= owners.max() < shape.n_cells:
        raise TruncatedFileError(
            f"row {owners.max():.0f} of {shape.n_cells}",
            where=path,
            hint="Write the file anew with adata.write_h5ad().",
        )
    return _nonzero(values, owners.astype(np.int64), whole_rows=small)


def _spread(size: int, length: int) -> list[range]:
    """Places all over ``size`` values."""
    length = min(length, size)
    starts = sorted({place * (size - length) // (PLACES - 1) for place in range(PLACES)})
    return [range(start, start + length) for start in starts]


def _values(dataset: h5py.Dataset, spans: Sequence[range], foresight: Foresight) -> Floats:
    """The values of these spans, one after the other."""
    foresight.expect(dataset, spans)
    parts = [np.asarray(dataset[span.start : span.stop], dtype=np.float64) for span in spans]
    return np.concatenate([np.empty(0), *parts])


def _pointers(node: h5py.Group, path: str, where: slice) -> Ints:
    pointers = np.asarray(node["indptr"][where], dtype=np.int64)
    if not pointers.size or (np.diff(pointers) < 0).any():
        raise _bad_pointers(path)
    return pointers


def _bad_pointers(path: str) -> TruncatedFileError:
    return TruncatedFileError(
        "row pointers that do not ascend from 0 to the number of values",
        expected="indptr of a valid sparse matrix",
        where=path,
        hint="Write the file anew with adata.write_h5ad().",
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
