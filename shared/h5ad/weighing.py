"""Evidence from a sample: the numbers that tell counts from logarithms from scaled values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.h5ad.facts import Evidence

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
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


def weigh(sample: Sample, totals: Totals | None) -> Evidence:
    """Turn a sample into evidence; the formulas are those in the fields' descriptions."""
    finite = np.isfinite(sample.values)
    whole = bool(finite.all())
    values = sample.values if whole else sample.values[finite]
    rows = _Rows.of(sample.rows if whole else sample.rows[finite])
    powers = _power(values, 1.0)
    sums = _row_numbers(values, powers, rows) if sample.whole_rows else _RowNumbers()
    return Evidence(
        n_values=int(sample.values.size),
        n_rows=len(sums.sums),
        minimum=float(values.min()) if values.size else 0.0,
        maximum=float(values.max()) if values.size else 0.0,
        whole_fraction=float((values == np.rint(values)).mean()) if values.size else 0.0,
        n_nan=0 if whole else int(np.isnan(sample.values).sum()),
        n_infinite=0 if whole else int(np.isinf(sample.values).sum()),
        n_negative=int(np.count_nonzero(values < 0)),
        row_sums=sums.sums,
        expm1_row_sums=sums.expm1_sums,
        log_multiples=_multiples(powers, rows),
        log2_multiples=_multiples(_power(values, np.log(2.0)), rows) if _positive(values) else 0.0,
        linear_multiples=_multiples(values, rows),
        totals_column=totals.column if totals else None,
        totals_whole_fraction=_whole_with(powers, rows, totals),
        totals_ratio=_ratio(sums, totals),
    )


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows of values.

    Attributes:
        names: Each row once.
        places: For each value, where its row is among them.
    """

    names: Ints
    places: Ints

    @staticmethod
    def of(rows: Ints) -> _Rows:
        if (steps := np.diff(rows)).size and steps.min() >= 0:  # Nearly always; sorting would take far longer.
            first = np.concatenate([[True], steps > 0])
            return _Rows(rows[first], np.cumsum(first) - 1)
        names, places = np.unique(rows, return_inverse=True)
        return _Rows(names, places)


@dataclass(frozen=True, slots=True)
class _RowNumbers:
    rows: tuple[int, ...] = ()
    sums: tuple[float, ...] = ()
    expm1_sums: tuple[float, ...] = ()


def _row_numbers(values: Floats, powers: Floats, rows: _Rows) -> _RowNumbers:
    """Sums of at most 64 rows, spread over those in the sample."""
    n_rows = len(rows.names)
    chosen = np.unique(np.linspace(0, n_rows - 1, 64).astype(np.int64)) if n_rows else np.empty(0, np.int64)
    sums = np.bincount(rows.places, values, minlength=n_rows)[chosen]
    powered = np.bincount(rows.places, powers, minlength=n_rows)[chosen]
    return _RowNumbers(tuple(rows.names[chosen].tolist()), tuple(sums.tolist()), tuple(powered.tolist()))


def _power(values: Floats, factor: float) -> Floats:
    """exp(factor x value) - 1, without overflow: what is that large is no logarithm anyway."""
    return np.expm1(np.minimum(values * factor, 300.0))


def _positive(values: Floats) -> bool:
    return bool(values.size) and bool(values.min() > 0)


def _multiples(linear: Floats, rows: _Rows) -> float:
    """Share of values, 1.5 to 20 times the smallest of their row, that are whole multiples of it.

    Rounding to three decimals, as old example files have it, shifts a ratio of 20 by about 0.02 to 0.05.
    """
    if not _positive(linear):
        return 0.0
    smallest = np.full(len(rows.names), np.inf)
    np.minimum.at(smallest, rows.places, linear)
    ratio = linear / smallest[rows.places]
    ratio = ratio[(ratio > 1.5) & (ratio < 20.5)]
    if ratio.size < 20:
        return 0.0
    return float((np.abs(ratio - np.rint(ratio)) <= 0.03).mean())


def _whole_with(powers: Floats, rows: _Rows, totals: Totals | None) -> float | None:
    """Share of values that stand for 1 to 20 counts and give a whole number of them.

    Args:
        powers: exp(value) - 1.
    """
    if totals is None:
        return None
    total = np.array([totals.of_row.get(row, np.nan) for row in rows.names.tolist()])
    counts = powers * total[rows.places] / TARGET
    counts = counts[np.isfinite(counts) & (counts < 20.5) & (powers > 0)]
    if counts.size < 20:
        return None
    return float(((np.abs(counts - np.rint(counts)) <= 0.05) & (counts > 0.5)).mean())


def _ratio(sums: _RowNumbers, totals: Totals | None) -> float | None:
    if totals is None:
        return None
    pairs = zip(sums.rows, sums.sums, strict=True)
    ratios = [total / totals.of_row[row] for row, total in pairs if totals.of_row.get(row, 0.0) > 0]
    return float(np.median(ratios)) if ratios else None
