"""Evidence about a matrix from a sample of it: a few rows in many places, or all of a small one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import h5py
import numpy as np
import numpy.typing as npt

from shared.domain.errors import TruncatedFileError
from shared.domain.verdict import MatrixEncoding
from shared.h5ad.facts import Evidence
from shared.h5ad.layouts import Shape

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SMALL_NNZ = 1_000_000
"""Matrices up to this many stored values are looked at whole."""
PLACES = 16
ROWS_A_PLACE = 4
DENSE_BYTES = 32 * 2**20
"""Raw bytes of chunks that a dense sample may inflate."""
TARGET = 1e4


@dataclass(frozen=True, slots=True)
class Totals:
    """An obs column that may hold each cell's total count."""

    column: str
    of_row: dict[int, float]


@dataclass(frozen=True, slots=True)
class Sample:
    """Stored values with the row of each.

    Attributes:
        values: float64, without zeros.
        rows: Row of each value.
        whole_rows: Whether every value of these rows is here.
    """

    values: Floats
    rows: Ints
    whole_rows: bool


def sample_rows(n_cells: int) -> list[int]:
    """Rows looked at in a large matrix: a few in a row at places spread over all of it."""
    if n_cells <= PLACES * ROWS_A_PLACE:
        return list(range(n_cells))
    starts = [place * (n_cells - ROWS_A_PLACE) // (PLACES - 1) for place in range(PLACES)]
    return sorted({start + step for start in starts for step in range(ROWS_A_PLACE)})


def take_sample(file: h5py.File, path: str, shape: Shape) -> Sample:
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
            return _csr(node, shape, path)
        case MatrixEncoding.CSC:
            return _csc(node, shape, path, small=small)


def _dense(node: h5py.Dataset, shape: Shape, *, small: bool) -> Sample:
    rows = list(range(shape.n_cells)) if small else sample_rows(shape.n_cells)[: _affordable_rows(node, shape)]
    values, owners = [np.empty(0)], [np.empty(0, np.int64)]
    for run in _runs(rows):
        block = np.asarray(node[run.start : run.stop], dtype=np.float64)
        places = np.nonzero(block)
        values.append(block[places])
        owners.append(places[0] + run.start)
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


def _csr(node: h5py.Group, shape: Shape, path: str) -> Sample:
    values, owners = [np.empty(0)], [np.empty(0, np.int64)]
    for run in _runs(sample_rows(shape.n_cells)):
        pointers = _pointers(node, path, slice(run.start, run.stop + 1))
        if pointers[0] < 0 or pointers[-1] > shape.nnz or np.diff(pointers).max() > shape.n_columns:
            raise _bad_pointers(path)
        values.append(np.asarray(node["data"][pointers[0] : pointers[-1]], dtype=np.float64))
        owners.append(np.repeat(np.arange(run.start, run.stop), np.diff(pointers)))
    found = _nonzero(np.concatenate(values), np.concatenate(owners), whole_rows=True)
    return found if found.values.size else _loose(node, shape)


def _loose(node: h5py.Group, shape: Shape) -> Sample:
    """Values from anywhere, where the sampled rows happen to be empty."""
    length = min(4096, shape.nnz)
    starts = sorted({place * (shape.nnz - length) // (PLACES - 1) for place in range(PLACES)})
    values = np.concatenate([np.asarray(node["data"][start : start + length], dtype=np.float64) for start in starts])
    return _nonzero(values, np.zeros(len(values), np.int64), whole_rows=False)


def _csc(node: h5py.Group, shape: Shape, path: str, *, small: bool) -> Sample:
    if small:
        spans = [(0, shape.nnz)]
    else:
        length = 32_768
        spans = [(place * (shape.nnz - length) // (PLACES - 1), length) for place in range(PLACES)]
    values = [np.asarray(node["data"][start : start + length], dtype=np.float64) for start, length in spans]
    rows = [np.asarray(node["indices"][start : start + length], dtype=np.int64) for start, length in spans]
    owners = np.concatenate(rows)
    if owners.size and not 0 <= owners.min() <= owners.max() < shape.n_cells:
        raise TruncatedFileError(
            f"row {owners.max()} of {shape.n_cells}", where=path, hint="Write the file anew with adata.write_h5ad()."
        )
    return _nonzero(np.concatenate(values), owners, whole_rows=small)


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
    return Sample(values[keep], rows[keep], whole_rows)


def _runs(rows: list[int]) -> Iterator[range]:
    """Ascending rows as ranges of consecutive ones, none longer than a few thousand."""
    start = 0
    for place in range(1, len(rows) + 1):
        if place == len(rows) or rows[place] != rows[place - 1] + 1 or place - start >= 2048:
            yield range(rows[start], rows[place - 1] + 1)
            start = place


# --- Evidence -----------------------------------------------------------------------------------------------------


def weigh(sample: Sample, totals: Totals | None) -> Evidence:
    """Turn a sample into evidence; the formulas are those in the fields' descriptions."""
    finite = np.isfinite(sample.values)
    values, rows = sample.values[finite], sample.rows[finite]
    sums = _row_numbers(values, rows) if sample.whole_rows else _RowNumbers()
    known = _known_totals(rows, totals)
    return Evidence(
        n_values=int(sample.values.size),
        n_rows=len(sums.sums),
        minimum=float(values.min()) if values.size else 0.0,
        maximum=float(values.max()) if values.size else 0.0,
        whole_fraction=float((values == np.round(values)).mean()) if values.size else 0.0,
        n_nan=int(np.isnan(sample.values).sum()),
        n_infinite=int(np.isinf(sample.values).sum()),
        n_negative=int((values < 0).sum()),
        row_sums=sums.sums,
        expm1_row_sums=sums.expm1_sums,
        log_multiples=_multiples(_power(values, 1.0), rows),
        log2_multiples=_multiples(_power(values, np.log(2.0)), rows),
        linear_multiples=_multiples(values, rows),
        totals_column=totals.column if totals else None,
        totals_whole_fraction=_whole_with(values, known),
        totals_ratio=_ratio(sums, totals),
    )


@dataclass(frozen=True, slots=True)
class _RowNumbers:
    rows: tuple[int, ...] = ()
    sums: tuple[float, ...] = ()
    expm1_sums: tuple[float, ...] = ()


def _row_numbers(values: Floats, rows: Ints) -> _RowNumbers:
    """Sums of at most 64 rows, spread over those in the sample."""
    names, places = np.unique(rows, return_inverse=True)
    chosen = np.unique(np.linspace(0, len(names) - 1, 64).astype(np.int64)) if len(names) else np.empty(0, np.int64)
    sums = np.bincount(places, values, minlength=len(names))[chosen]
    powers = np.bincount(places, _power(values, 1.0), minlength=len(names))[chosen]
    return _RowNumbers(tuple(names[chosen].tolist()), tuple(sums.tolist()), tuple(powers.tolist()))


def _power(values: Floats, factor: float) -> Floats:
    """exp(factor x value) - 1, without overflow: what is that large is no logarithm anyway."""
    return np.expm1(np.minimum(values * factor, 300.0))


def _multiples(linear: Floats, rows: Ints) -> float:
    """Share of values, 1.5 to 20 times the smallest of their row, that are whole multiples of it.

    Rounding to three decimals, as old example files have it, shifts a ratio of 20 by about 0.02 to 0.05.
    """
    names, places = np.unique(rows, return_inverse=True)
    if not len(names) or linear.min() <= 0:
        return 0.0
    smallest = np.full(len(names), np.inf)
    np.minimum.at(smallest, places, linear)
    ratio = linear / smallest[places]
    ratio = ratio[(ratio > 1.5) & (ratio < 20.5)]
    if ratio.size < 20:
        return 0.0
    return float((np.abs(ratio - np.round(ratio)) <= 0.03).mean())


def _known_totals(rows: Ints, totals: Totals | None) -> Floats | None:
    if totals is None:
        return None
    return np.array([totals.of_row.get(row, np.nan) for row in rows.tolist()])


def _whole_with(values: Floats, totals: Floats | None) -> float | None:
    """Share of values that stand for 1 to 20 counts and give a whole number of them."""
    if totals is None:
        return None
    counts = _power(values, 1.0) * totals / TARGET
    counts = counts[np.isfinite(counts) & (counts < 20.5) & (values > 0)]
    if counts.size < 20:
        return None
    return float(((np.abs(counts - np.round(counts)) <= 0.05) & (counts > 0.5)).mean())


def _ratio(sums: _RowNumbers, totals: Totals | None) -> float | None:
    if totals is None:
        return None
    pairs = zip(sums.rows, sums.sums, strict=True)
    ratios = [total / totals.of_row[row] for row, total in pairs if totals.of_row.get(row, 0.0) > 0]
    return float(np.median(ratios)) if ratios else None
