"""Transformations of counts, undone: what was proportional to a cell's counts before it was stored."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from shared.domain.verdict import Transform
from shared.h5ad.values.states import NEARLY_ALL

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Number = TypeVar("Number", bound=np.generic)

LARGEST_LOG = 20.0
"""exp(20) is half a billion: no cell has as many counts of one gene, so that larger values are no logarithms."""
_MOST = 300.0
_DIFFERENT, _HALVINGS = 1.001, 48

SCALED_AFTERWARDS = (Transform.SCALED_LOG1P, Transform.PREPROCESSED_TWICE)
"""Logarithms that were scaled: only the values of a cell together tell what they were."""
_INVERSE: Mapping[Transform, Callable[[Floats], Floats]] = {
    Transform.NONE: lambda values: values,
    Transform.LOG1P: lambda values: np.expm1(np.minimum(values, _MOST)),
    Transform.LOG2: lambda values: np.expm1(np.minimum(values * np.log(2.0), _MOST)),
    Transform.LOG10: lambda values: np.expm1(np.minimum(values * np.log(10.0), _MOST)),
    Transform.SQRT: np.square,
    Transform.ARCSINH: lambda values: np.sinh(np.minimum(values, _MOST)),
    Transform.LOG1P_TWICE: lambda values: np.expm1(np.minimum(np.expm1(np.minimum(values, _MOST)), _MOST)),
}
_LARGEST = {
    Transform.LOG1P: LARGEST_LOG,
    Transform.LOG2: LARGEST_LOG / math.log(2.0),
    Transform.LOG10: LARGEST_LOG / math.log(10.0),
    Transform.ARCSINH: LARGEST_LOG,
    Transform.LOG1P_TWICE: math.log1p(LARGEST_LOG),
    Transform.PREPROCESSED_TWICE: LARGEST_LOG,
}
"""Above these the values cannot be what the transformation gives; without overflow up to here."""


def undo(values: Floats, transform: Transform, rows: RowIndex) -> Floats:
    """Values proportional to counts; of no more than ``largest`` they are finite in float32, too.

    Args:
        rows: Where each cell's values lie; all above 0.
    """
    if transform not in SCALED_AFTERWARDS:
        return _INVERSE[transform](values)
    outer = Transform.LOG1P if transform is Transform.PREPROCESSED_TWICE else Transform.NONE
    return _unscaled(_INVERSE[outer](values), rows)


def _unscaled(values: Floats, rows: RowIndex) -> Floats:
    """Counts k of which s log(1 + c k) is left, s and c of each cell unknown.

    The two smallest different values are those of k = 1 and 2. Their ratio r is log(1 + 2 c) / log(1 + c), which falls
    from 2 to 1 while c grows: c is found by halving, as L = log(1 + c), and k = (exp(L value / smallest) - 1) / c.
    """
    least = np.maximum(rows.least(values), np.finfo(np.float64).tiny)
    ratio = values / rows.spread(least)
    second = rows.least(np.where(ratio > _DIFFERENT, ratio, np.inf))
    low, high = np.full(len(rows), 1e-6), np.full(len(rows), LARGEST_LOG)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        too_small = np.log(2 * np.exp(middle) - 1) > second * middle
        low, high = np.where(too_small, middle, low), np.where(too_small, high, middle)
    counts: Floats = np.expm1(np.minimum(ratio * rows.spread(low), _MOST)) / rows.spread(np.expm1(low))
    return counts


def largest(transform: Transform) -> float:
    """The largest value that the transformation can give of any count there is."""
    return _LARGEST.get(transform, math.inf)


@dataclass(frozen=True, slots=True)
class RowIndex:
    """Where each row's values lie among those of several rows, of which none is empty.

    Attributes:
        starts: First place of each row.
        sizes: Values of each row.
    """

    starts: Ints
    sizes: Ints

    @classmethod
    def of(cls, sizes: Ints) -> RowIndex:
        """Rows one after the other."""
        return cls(np.cumsum(sizes) - sizes, sizes)

    def __len__(self) -> int:
        return len(self.sizes)

    def spread(self, per_row: npt.NDArray[Number]) -> npt.NDArray[Number]:
        """A row's number for each of its values."""
        return np.repeat(per_row, self.sizes)

    def sums(self, values: npt.NDArray[np.generic]) -> Floats:
        """Sum of each row."""
        return np.add.reduceat(values, self.starts, dtype=np.float64) if len(self) else np.empty(0)

    def least(self, values: Floats) -> Floats:
        """Smallest value of each row."""
        return np.minimum.reduceat(values, self.starts) if len(self) else np.empty(0)

    def most(self, values: Floats) -> Floats:
        """Largest value of each row."""
        return np.maximum.reduceat(values, self.starts) if len(self) else np.empty(0)


@dataclass(frozen=True, slots=True)
class Multiples:
    """How far a row's values are whole multiples of its smallest, as counts are where one of them is 1.

    Attributes:
        hits: Values of each row that are.
        looked_at: Values of each row from 1.5 (2.5) to 20 times the smallest: larger multiples prove nothing, since
            rounding to three decimals, as old example files have it, shifts a ratio of 20 by 0.02 to 0.05.
        unit: The smallest value of each row.
    """

    hits: Floats
    looked_at: Floats
    unit: Floats

    def share(self) -> float:
        """Of a row's values, in the mean of the rows without the worst tenth; 0 where too few values tell.

        Not of all values: a row of corrected counts has many more between its smallest and 20 times that than one of
        counts, so that one row in a hundred would outvote the others. Odd rows are settled by themselves later on.
        """
        if self.looked_at.sum() < 20:
            return 0.0
        telling = self.looked_at > 0
        share_n = np.sort(self.hits[telling] / self.looked_at[telling])
        # Of a row with a few values the share is chance; then the worst are no odd ones.
        odd = len(share_n) // 10 if np.median(self.looked_at[telling]) >= 10 else 0
        return float(share_n[odd:].mean())

    def proven(self) -> npt.NDArray[np.bool_]:
        """For each row, whether its own values prove it."""
        return (self.looked_at >= 20) & (self.hits >= NEARLY_ALL * self.looked_at)

    def refuted(self) -> npt.NDArray[np.bool_]:
        """For each row, whether enough of its values tell, and most of them against it."""
        refuted: npt.NDArray[np.bool_] = (self.looked_at >= 10) & (self.hits < 0.5 * self.looked_at)
        return refuted


def multiples(linear: Floats, rows: RowIndex, transform: Transform = Transform.NONE) -> Multiples:
    """Compare the values of each row with its smallest; all above 0.

    Args:
        transform: What was undone: where that took the second smallest for 2, it proves nothing.
    """
    unit = rows.least(linear)
    ratio = linear / rows.spread(np.maximum(unit, np.finfo(np.float64).tiny))
    looked_at = (ratio > (2.5 if transform in SCALED_AFTERWARDS else 1.5)) & (ratio < 20.5)
    hits = looked_at & (np.abs(ratio - np.rint(ratio)) <= 0.03)
    return Multiples(rows.sums(hits), rows.sums(looked_at), unit)
