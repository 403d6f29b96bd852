"""Whole numbers that are no counts, told by the order and the frequency of the values of each cell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.h5ad.values.states import integer_limit
from shared.h5ad.values.transforms import Floats, Ints, RowIndex

_LEAST_RANKS = 12
"""Counts of a shallow cell may be 1, 2 … 8 without a gap; up to 12 hardly any are."""
_ALIKE, _LARGEST_LOG = 1e-3, 20.0
_LEVELS = 8
"""Small numbers, which a cell has many of: up to 8."""
_BEYOND_CHANCE, _LEAST_VALUES, _LEAST_UNEVEN = 2.5, 100, 4
_MOSTLY_ODD = 0.8
_TOP, _MANY_NEAR = 7 / 8, 20


@dataclass(frozen=True, slots=True)
class Ranks:
    """Shares of the rows with twelve different values whose values are ranks; 0 if fewer than ten rows have so many.

    Attributes:
        any: Of whatever ranks, multiples of ranks among them (such as a share of all ranks).
        tied: Of those in which tied values have their lowest, highest or mean rank, and so leave gaps.
    """

    any: float = 0.0
    tied: float = 0.0


def shares_of_ranks(values: Floats, rows: RowIndex) -> Ranks:
    """Find rows of ranks: their different values, in order, rise in proportion to the ranks that these would have.

    That also finds multiples of ranks, ranks that begin at any number, and their logarithms and roots.
    """
    if not len(rows):
        return Ranks()
    order = np.lexsort((values, rows.spread(np.arange(len(rows)))))
    ordered = values[order]
    new = np.concatenate([[True], np.diff(ordered) != 0])
    new[rows.starts] = True
    first = np.flatnonzero(new)
    levels = RowIndex.of(rows.sums(new).astype(np.int64))
    tell = levels.sizes >= _LEAST_RANKS
    if tell.sum() < 10:
        return Ranks()
    start = levels.spread(rows.starts)
    below, up_to = first - start, np.append(first[1:], len(values)) - start
    place = np.arange(len(first)) - levels.spread(levels.starts)
    later = place > 0  # What the values rise by is told by all but the first of a row.

    def rise(number: Ints | Floats) -> Floats:
        return (number - levels.spread(number[levels.starts])).astype(np.float64)

    def in_proportion(rank: Floats, value: Floats) -> npt.NDArray[np.bool_]:
        step = np.divide(value, rank, out=np.zeros(len(rank)), where=later)
        alike: npt.NDArray[np.bool_] = levels.most(step) <= (1 + _ALIKE) * levels.least(np.where(later, step, np.inf))
        return alike[tell]

    level = ordered[first]
    forms = [rise(level), rise(np.square(level))]
    if level.max() <= _LARGEST_LOG:
        forms += [rise(np.expm1(level)), rise(np.exp2(level))]
    ties = [rise(below), rise(up_to), rise((below + up_to) / 2)]
    tied = np.logical_or.reduce([in_proportion(rank, form) for form in forms for rank in ties])
    dense = np.logical_or.reduce([in_proportion(place.astype(np.float64), form) for form in forms])
    return Ranks(float((tied | dense).mean()), float(tied.mean()))


def share_of_uneven(values: Floats, rows: RowIndex) -> float:
    """Share of the rows in which a small number is rarer than both its neighbours, of those with a hundred values.

    The genes of a cell with 1, 2, 3 … counts become fewer from one number to the next, or more and then fewer where a
    molecule was read many times. Counts that were scaled and then rounded skip some numbers and pile up in others:
    times 1.3 they are 1, 2, 3, 5. Where it is the odd numbers that are rare, both reads of a pair were counted.

    Returns:
        0 if fewer than four rows have such a number, as chance gives one in two hundred.
    """
    rows_of = rows.spread(np.arange(len(rows)))
    small = values <= _LEVELS + 1
    width = _LEVELS + 2
    keys = rows_of[small] * width + np.rint(values[small]).astype(np.int64)
    n_of = np.bincount(keys, minlength=len(rows) * width).reshape(len(rows), width)[rows.sizes >= _LEAST_VALUES]
    before, here, behind = (n_of[:, start : start + _LEVELS - 1].astype(np.float64) for start in (1, 2, 3))
    fewer = np.minimum(before, behind)
    dips: npt.NDArray[np.bool_] = here + _BEYOND_CHANCE * np.sqrt(here + fewer) < fewer
    uneven, even_number = dips.any(axis=1), dips[:, ::2].any(axis=1)  # Of 2, 4, 6 and 8.
    n_uneven = int(uneven.sum())
    if n_uneven < _LEAST_UNEVEN or (uneven & ~even_number).sum() >= _MOSTLY_ODD * n_uneven:
        return 0.0
    return n_uneven / len(n_of)


def near_limit(values: Floats, n_rows: int, maximum: float) -> float:
    """Values in a row, on average, in the last eighth below the largest number of the integer type they fit in.

    Cells of which none has a larger count hardly ever come so near to it: larger counts were cut off, or began again
    from 0.

    Args:
        maximum: The largest value of the matrix, as far as it is known.
    """
    n_near = int((values > _TOP * integer_limit(maximum)).sum())
    return n_near / n_rows if n_near >= _MANY_NEAR else 0.0
