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
