"""Evidence from a sample: the numbers that tell counts from logarithms from scaled values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from shared.domain.verdict import Transform
from shared.h5ad.facts import MANY_GENES, SMALL_MOST, Evidence, RowKind, Undone
from shared.h5ad.values.transforms import LARGEST_LOG, Floats, Ints, RowIndex, largest, multiples, undo
from shared.h5ad.values.whole import Ranks, near_limit, share_of_uneven, shares_of_ranks

MOST_ROWS = 64
ROUNDING = 1e-4
MOSTLY_WHOLE = 0.8
"""Of estimated counts more are whole; of logarithms fewer, even where one count became a whole number."""
_ENOUGH = 5


@dataclass(frozen=True, slots=True)
class Totals:
    """An obs column that may hold each cell's total count."""

    column: str
    of_row: dict[int, float]


@dataclass(frozen=True, slots=True)
class GeneValues:
    """Values of whole rows, with gene and row of each."""

    values: Floats
    genes: Ints
    rows: Ints


@dataclass(frozen=True, slots=True)
class Sample:
    """Stored values with the row of each.

    Attributes:
        values: float64, without zeros.
        rows: Row of each value.
        whole_rows: Whether every value of these rows is here.
        n_looked_at: Rows, those without a value among them.
        of_genes: Some or all of them with their genes; None where genes were not read.
    """

    values: Floats
    rows: Ints
    whole_rows: bool
    n_looked_at: int = 0
    of_genes: GeneValues | None = None


def weigh(sample: Sample, totals: Totals | None, preferred: Sequence[int] = ()) -> Evidence:
    """Turn a sample into evidence; the formulas are those in the fields' descriptions.

    Args:
        preferred: Rows to note the sums of, where they are in the sample.
    """
    finite = np.isfinite(sample.values)
    whole = bool(finite.all())
    values = sample.values if whole else sample.values[finite]
    rows = _by_row(values, sample.rows if whole else sample.rows[finite])
    evidence = Evidence(
        n_values=int(sample.values.size),
        n_rows=len(rows.names) if sample.whole_rows else 0,
        n_empty=max(0, sample.n_looked_at - len(rows.names)) if sample.whole_rows else 0,
        minimum=float(values.min()) if values.size else 0.0,
        maximum=float(values.max()) if values.size else 0.0,
        n_nan=0 if whole else int(np.isnan(sample.values).sum()),
        n_infinite=0 if whole else int(np.isinf(sample.values).sum()),
        n_negative=int(np.count_nonzero(values < 0)),
        totals_column=totals.column if totals else None,
    )
    if not values.size or evidence.n_negative:
        return evidence
    return _of_main_rows(evidence, rows.telling(), sample, totals, preferred)


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows with their values, none empty, all values above 0."""

    names: Ints
    values: Floats
    index: RowIndex

    def telling(self) -> _Rows:
        """Without the rows that have too few values to show anything, if there are others."""
        enough = self.index.sizes >= _ENOUGH
        return self.only(enough) if enough.any() else self

    def only(self, chosen: npt.NDArray[np.bool_]) -> _Rows:
        kept = np.repeat(chosen, self.index.sizes)
        return _Rows(self.names[chosen], self.values[kept], RowIndex.of(self.index.sizes[chosen]))


def _by_row(values: Floats, rows: Ints) -> _Rows:
    """Each row once, its values side by side."""
    steps = np.diff(rows)
    if steps.size and steps.min() < 0:  # Hardly ever but in CSC; sorting takes longer than all the rest.
        order = np.argsort(rows, kind="stable")
        values, rows = values[order], rows[order]
        steps = np.diff(rows)
    first = np.flatnonzero(np.concatenate([[True], steps > 0])) if rows.size else np.empty(0, np.int64)
    sizes = np.diff(np.concatenate([first, [rows.size]])).astype(np.int64)
    return _Rows(rows[first], values, RowIndex(first.astype(np.int64), sizes))


def whole_numbers(values: Floats) -> npt.NDArray[np.bool_]:
    """Which values are whole numbers, but for rounding: counts recovered from logarithms are 2.0000002."""
    return np.abs(values - np.rint(values)) <= ROUNDING * np.maximum(values, 1.0)


def hollow(sizes: Ints, most: Floats) -> npt.NDArray[np.bool_]:
    """Rows of many values of which none is large: logarithms that were rounded, or marks of what is expressed."""
    return (sizes >= MANY_GENES) & (most <= SMALL_MOST)


def kinds_of(values: Floats, index: RowIndex) -> npt.NDArray[np.object_]:
    """The ``RowKind`` of each row."""
    whole = index.sums(whole_numbers(values)) >= MOSTLY_WHOLE * index.sizes
    large = index.most(values) > LARGEST_LOG
    return np.where(whole, RowKind.WHOLE, np.where(large, RowKind.LARGE, RowKind.SMALL)).astype(object)


def _of_main_rows(
    evidence: Evidence, rows: _Rows, sample: Sample, totals: Totals | None, preferred: Sequence[int]
) -> Evidence:
    kinds = kinds_of(rows.values, rows.index)
    numbers = {kind: int((kinds == kind).sum()) for kind in RowKind}
    main = max(numbers, key=lambda kind: numbers[kind])
    rows = rows.only(kinds == main)
    noted = _noted(rows.names, preferred) if sample.whole_rows else np.arange(min(MOST_ROWS, len(rows.names)))
    values, index = rows.values, rows.index
    near = np.abs(values - np.maximum(np.rint(values), 1.0)) <= 0.15
    most, whole = index.most(values), whole_numbers(values)
    ranks = shares_of_ranks(values, index) if sample.whole_rows else Ranks()
    counts = sample.whole_rows and main is RowKind.WHOLE
    return replace(
        evidence,
        whole_fraction=float(whole.mean()),
        all_whole=float((index.sums(whole) == index.sizes).mean()),
        kinds={kind: number for kind, number in numbers.items() if number},
        rows=tuple(rows.names[noted].tolist()),
        undone=tuple(_undone(rows, noted, whole_rows=sample.whole_rows)),
        ones=float((values == 1).mean()),
        ranked=ranks.any,
        tied=ranks.tied,
        uneven=share_of_uneven(values, index) if counts else 0.0,
        near_limit=near_limit(values, len(index), evidence.maximum) if counts else 0.0,
        same_most=float((most == np.median(most)).mean()),
        usual_most=float(np.median(most)),
        hollow=float(hollow(index.sizes, most).mean()),
        near_whole=float(near.mean()),
        totals=tuple(totals.of_row.get(row, 0.0) for row in rows.names[noted].tolist()) if totals else (),
    )


def _noted(names: Ints, preferred: Sequence[int]) -> Ints:
    """Places of up to 64 rows: those preferred, else spread over all."""
    places = np.flatnonzero(np.isin(names, np.asarray(preferred, np.int64)))
    if places.size >= min(16, len(names)):
        return places[:MOST_ROWS]
    return np.unique(np.linspace(0, len(names) - 1, MOST_ROWS).astype(np.int64))


def _undone(rows: _Rows, noted: Ints, *, whole_rows: bool) -> Iterator[Undone]:
    most = float(rows.values.max())
    for transform in Transform:
        if most > largest(transform):
            continue
        linear = undo(rows.values, transform, rows.index)
        found = multiples(linear, rows.index, transform)
        sums = rows.index.sums(linear)[noted] if whole_rows else np.empty(0)
        yield Undone(
            transform,
            tuple(sums.tolist()),
            tuple(found.unit[noted].tolist()),
            found.share(),
            float((whole_numbers(linear) & (linear > 0.5)).mean()),
        )
