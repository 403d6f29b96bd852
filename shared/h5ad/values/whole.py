"""Whole numbers that are no counts, told by the order and the frequency of the values of each cell."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.h5ad.values.states import INTEGER_LIMITS
from shared.h5ad.values.transforms import Floats, Ints, RowIndex

_LEAST_RANKS = 12
"""Counts of a shallow cell may be 1, 2 … 8 without a gap; up to 12 none are."""
_ALIKE = 1e-4
_LEVELS = 8
"""Small counts, which a cell has many of: 1 to 8."""
_BEYOND_CHANCE = 2.5
_LEAST_VALUES = 100
_TOP = 7 / 8


def share_of_ranks(values: Floats, rows: RowIndex) -> float:
    """Share of the rows that are ranks, of those with twelve different values; 0 if fewer than ten rows have.

    Ranks from the smallest or the largest value, ties counted once (1, 2, 3 … without a gap) or given their smallest,
    largest or mean rank, and any multiple of those, such as a share of all ranks.
    """
    levels = _Levels.of(values, rows)
    tell = levels.index.sizes >= _LEAST_RANKS
    if tell.sum() < 10:
        return 0.0
    gapless = (rows.most(values) == levels.index.sizes) & (rows.least(values) == 1)
    ranked = np.logical_or.reduce([gapless, *(levels.are_multiples_of(rank) for rank in levels.ranks())])
    return float(ranked[tell].mean())


@dataclass(frozen=True, slots=True)
class _Levels:
    """The different values of each row, in order, with the number of values below and up to each.

    Attributes:
        size: Number of all values of its row, for each level.
    """

    value: Floats
    below: Ints
    up_to: Ints
    size: Ints
    index: RowIndex

    @classmethod
    def of(cls, values: Floats, rows: RowIndex) -> _Levels:
        order = np.lexsort((values, rows.spread(np.arange(len(rows)))))
        ordered = values[order]
        new = np.concatenate([[True], np.diff(ordered) != 0])
        new[rows.starts] = True
        first = np.flatnonzero(new)
        index = RowIndex.of(rows.sums(new).astype(np.int64))
        start = index.spread(rows.starts)
        up_to = np.append(first[1:], len(values)) - start
        return cls(ordered[first], first - start, up_to, index.spread(rows.sizes), index)

    def ranks(self) -> Iterator[Floats]:
        """What each level would be if the values were ranks: smallest, largest and mean rank, from either end."""
        for before, after in ((self.below, self.up_to), (self.size - self.up_to, self.size - self.below)):
            yield (before + 1).astype(np.float64)
            yield after.astype(np.float64)
            yield (before + after + 1).astype(np.float64) / 2

    def are_multiples_of(self, rank: Floats) -> npt.NDArray[np.bool_]:
        """For each row, whether all its levels are the same multiple of their ranks."""
        ratio = self.value / rank
        alike: npt.NDArray[np.bool_] = self.index.most(ratio) <= (1 + _ALIKE) * self.index.least(ratio)
        return alike


def share_of_uneven(values: Floats, rows: RowIndex) -> float:
    """Share of the rows in which a small number is rarer than both its neighbours, of those with a hundred values.

    The genes of a cell with 1, 2, 3 … counts become fewer from one number to the next, or more and then fewer where a
    molecule was read many times. Counts that were scaled and then rounded skip some numbers and pile up in others:
    times 1.3 they are 1, 2, 3, 5.
    """
    tell = rows.sizes >= _LEAST_VALUES
    if tell.sum() < 10:
        return 0.0
    small = values <= _LEVELS + 1
    row = rows.spread(np.arange(len(rows)))[small]
    width = _LEVELS + 2
    keys = row * width + np.rint(values[small]).astype(np.int64)
    n_of = np.bincount(keys, minlength=len(rows) * width).reshape(len(rows), width)[:, 1:].astype(np.float64)
    before, here, behind = n_of[:, :-2], n_of[:, 1:-1], n_of[:, 2:]
    fewer = np.minimum(before, behind)
    dips: npt.NDArray[np.bool_] = here + _BEYOND_CHANCE * np.sqrt(here + fewer) < fewer
    return float(dips[tell].any(axis=1).mean())


def near_limit(values: Floats, n_rows: int) -> float:
    """Values in a row, on average, in the last eighth below the largest number of the integer type they fit in.

    Cells of which none has a larger count hardly ever come so near to it: larger counts were cut off, or began again
    from 0.
    """
    limit = next((limit for limit in INTEGER_LIMITS if values.max(initial=0.0) <= limit), None)
    return 0.0 if limit is None else float((values > _TOP * limit).sum()) / max(1, n_rows)
