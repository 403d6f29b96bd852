"""Rows as they were stored become values that a model can use, each row by what its own numbers prove."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from shared.domain.verdict import CellNote, MatrixChoice, MatrixState, Transform
from shared.h5ad.read.blocks import RowBlock, as_float32
from shared.h5ad.read.projected import Expected
from shared.h5ad.values.states import NEARLY_ALL, STANDARD_SUMS, TARGET
from shared.h5ad.values.transforms import (
    LARGEST_LOG,
    SCALED_AFTERWARDS,
    Floats,
    RowIndex,
    largest,
    multiples,
    undo,
)
from shared.h5ad.values.weighing import hollow, whole_numbers

_LINEAR, _LOGARITHMS, _WHOLE = 1, 2, 3
_MOSTLY = 0.5
"""A row of counts, estimated ones too, has as many whole numbers; of logarithms hardly any is one."""
_FEW_FITTING = 3
"""Values beyond the two that tell the scale of a cell, which must come out whole with it."""
_OFF = 0.01
"""Share by which a cell's total may differ from what it should be: rounding shifts it by less."""
_NEAR = 0.005
"""The same for the compiled loops, whose exponentials are only roughly right."""
_NO_COUNT = 1e12
"""No cell has as many of one gene; and float32 holds it."""
_OTHERS = tuple(transform for transform in Transform if transform not in {Transform.NONE, *SCALED_AFTERWARDS})


@dataclass(frozen=True, slots=True)
class Stored:
    """What the values of a matrix are, and what a model is given of them.

    That is log1p of counts per 10,000 where the matrix has it as it is; else values in proportion to counts, with the
    total that they are to be divided by.

    Attributes:
        transform: What is undone.
        target_sum: As in ``MatrixChoice``.
        counts: Whether whole numbers are expected.
        counted: As in ``MatrixChoice``.
    """

    transform: Transform = Transform.NONE
    target_sum: float | None = None
    as_it_is: bool = False
    counts: bool = True
    counted: bool = False

    @classmethod
    def of(cls, choice: MatrixChoice) -> Stored:
        """As the verdict has it."""
        counts = choice.state is MatrixState.COUNTS
        return cls(choice.undone, choice.target_sum, choice.as_it_is, counts, choice.counted)

    @property
    def expected(self) -> Expected | None:
        """What the compiled loops can take as it is; None where every value has to be undone."""
        if self.as_it_is:
            least = 0.0 if self.target_sum else TARGET * (1 - _NEAR)
            return Expected(_LOGARITHMS, least, TARGET * (1 + _NEAR))
        if self.transform is not Transform.NONE:
            return None
        return Expected(_WHOLE if self.counts else _LINEAR)


COUNTS = Stored()


@dataclass(frozen=True, slots=True)
class Settled:
    """A block with its values as a model is given them; zeros left out.

    Attributes:
        total_n: What each cell's values are to be divided by, float64; of a matrix that is used as it is, what was
            stored of the cell, summed.
        note_n: ``CellNote`` of each cell.
    """

    block: RowBlock
    total_n: Floats
    note_n: npt.NDArray[np.uint8]


def settle(block: RowBlock, stored: Stored) -> Settled:
    """Give every row of a block the form that its matrix is read in.

    Args:
        block: Checked, every gene once in a cell.
    """
    block = _expressed(block)
    sizes = np.diff(block.indptr)
    filled = np.flatnonzero(sizes)
    rows = RowIndex.of(sizes[filled])
    settled = _Settling.of(block.data.astype(np.float64), rows, stored)
    total_n, note_n = np.zeros(len(sizes)), np.zeros(len(sizes), np.uint8)
    if filled.size:
        values, total_n[filled], note_n[filled] = settled.as_it_is() if stored.as_it_is else settled.linear()
        block = replace(block, data=as_float32(values))
    return Settled(block, total_n, note_n)


def _expressed(block: RowBlock) -> RowBlock:
    kept = np.flatnonzero(block.data)
    if kept.size == block.nnz:
        return block
    indptr = np.searchsorted(kept, block.indptr).astype(np.int64)
    return RowBlock(block.rows, indptr, block.indices[kept], block.data[kept])


Rows = npt.NDArray[np.bool_]
Result = tuple[Floats, Floats, npt.NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class _Settling:
    """The rows of one block that have values; all above 0.

    Attributes:
        share_whole: Share of each row's values that are whole numbers.
        most: Largest value of each row.
    """

    values: Floats
    rows: RowIndex
    stored: Stored
    share_whole: Floats
    most: Floats

    @classmethod
    def of(cls, values: Floats, rows: RowIndex, stored: Stored) -> _Settling:
        return cls(values, rows, stored, rows.sums(whole_numbers(values)) / rows.sizes, rows.most(values))

    def linear(self) -> Result:
        """Values in proportion to counts; what they are to be divided by; notes."""
        transform = self.stored.transform
        linear = undo(self.values, transform, self.rows)
        suspects = self._strange(linear)
        found = self._convert(linear, suspects)
        wild = self._left_as_stored(linear)
        note_n = np.where(found, CellNote.CONVERTED, CellNote.NONE)
        unlike_others = suspects & ~found & (self.stored.counted and transform is not Transform.NONE)
        note_n[wild | unlike_others] = CellNote.UNCLEAR
        if transform in SCALED_AFTERWARDS:
            whole = multiples(linear, self.rows, transform)
            fits = (whole.looked_at >= _FEW_FITTING) & (whole.hits >= NEARLY_ALL * whole.looked_at)
            note_n[~found & ~fits] = CellNote.UNCLEAR
        if self.stored.counts and suspects.any():
            told = (self.most <= LARGEST_LOG) | multiples(self.values, self.rows).refuted()
            note_n[suspects & ~found & told] = CellNote.UNCLEAR
        total_n = self.rows.sums(linear)
        if self.stored.target_sum is not None:
            total_n[~found & ~wild] = self.stored.target_sum
        return linear, total_n, note_n.astype(np.uint8)

    def as_it_is(self) -> Result:
        """log1p of counts per 10,000: rows that are not are made so; their sums; notes."""
        linear = undo(self.values, Transform.LOG1P, self.rows)
        suspects = self._strange(linear)
        found = self._convert(linear, suspects)
        unclear = suspects & ~found
        # With all genes there, a logarithm of any total can be scaled anew; else it is left as it is.
        changed = suspects if self.stored.target_sum is None else found
        scale_n = TARGET / self.rows.sums(linear)
        values = np.where(self.rows.spread(changed), np.log1p(linear * self.rows.spread(scale_n)), self.values)
        note_n = np.where(unclear, CellNote.UNCLEAR, np.where(found, CellNote.CONVERTED, CellNote.NONE))
        return values, self.rows.sums(self.values), note_n.astype(np.uint8)

    def _strange(self, linear: Floats) -> Rows:
        """Rows that do not look like the matrix that they are in."""
        transform, whole = self.stored.transform, self.share_whole == 1.0
        if transform is Transform.NONE:
            if not self.stored.counts:
                strange: Rows = ~whole & (self.most <= LARGEST_LOG)
                return strange
            # What one count became may be a whole number, by chance; then no count is smaller.
            scaled: Rows = (self.share_whole < _MOSTLY) | (~whole & (self.rows.least(self.values) >= 2))
            return scaled
        impossible = whole | (self.most > largest(transform))
        if self.stored.as_it_is:
            sums = self.rows.sums(linear)
            least = 0.0 if self.stored.target_sum else TARGET * (1 - _OFF)
            off: Rows = impossible | (sums < least) | (sums > TARGET * (1 + _OFF))
            return off
        refuted: Rows = impossible | multiples(linear, self.rows, transform).refuted()
        return refuted

    def _convert(self, linear: Floats, suspects: Rows) -> Rows:
        """Undo, in ``linear``, what strange rows prove was done to them; which were converted.

        A row proves it by a customary total, or by whole multiples of its smallest value; then it is counts, too. Among
        values in proportion to counts, which are anything but counts, it takes both.
        """
        if not suspects.any():
            return suspects
        chosen = self.rows.spread(suspects)
        values, rows = self.values[chosen], RowIndex.of(self.rows.sizes[suspects])
        whole = self.share_whole[suspects] == 1.0
        rounded = whole & hollow(rows.sizes, self.most[suspects])  # What sums of those come to is chance.
        plain = (whole | multiples(values, rows).proven()) & ~rounded
        mine = self.stored.transform
        result, found = linear[chosen], plain & (mine is not Transform.NONE)
        result = np.where(rows.spread(plain), values, result)
        best = np.full(len(rows), np.inf)
        # To be brought to what they are already is no conversion, unless that is used as it is.
        for transform in (one for one in _OTHERS if one is not mine or self.stored.as_it_is):
            undone, fits = undo(values, transform, rows), rows.most(values) <= largest(transform)
            off, counted = _off_standard(rows.sums(undone)), multiples(undone, rows)
            many, total = counted.proven(), off <= _OFF
            proven = (many & total) if self._takes_both() else (many | total)
            better = ~plain & ~rounded & fits & proven & (np.where(many, 0.0, 1.0) + off < best)
            best = np.where(better, np.where(many, 0.0, 1.0) + off, best)
            unit = np.where(many & (mine is Transform.NONE), counted.unit, 1.0)
            result = np.where(rows.spread(better), undone / rows.spread(unit), result)
            found |= better
        # What no logarithm can be is in proportion to counts; of roots there is no largest.
        left = ~found & (self.most[suspects] > max(largest(mine), LARGEST_LOG))
        linear[chosen] = np.where(rows.spread(left), values, result)
        found |= left
        converted = suspects.copy()
        converted[suspects] = found
        return converted

    def _left_as_stored(self, linear: Floats) -> Rows:
        """Put back, in ``linear``, rows that come out larger than any count; which they were."""
        wild: Rows = self.rows.most(linear) > _NO_COUNT
        if wild.any():
            linear[:] = np.where(self.rows.spread(wild), self.values, linear)
        return wild

    def _takes_both(self) -> bool:
        return self.stored.transform is Transform.NONE and not self.stored.counts


def _off_standard(sums: Floats) -> Floats:
    """How far each sum lies from the nearest customary total, as a share of it."""
    totals = np.array(STANDARD_SUMS)
    off: Floats = (np.abs(sums[:, None] - totals) / totals).min(axis=1)
    return off
