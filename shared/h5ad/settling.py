"""Rows as they were stored become values that a model can use, each row by what its own numbers prove."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from shared.domain.verdict import CellNote, MatrixChoice, MatrixState, Transform
from shared.h5ad.blocks import RowBlock, as_float32
from shared.h5ad.projection import Expected
from shared.h5ad.states import LOGARITHMS, STANDARD_SUMS, TARGET
from shared.h5ad.transforms import (
    LARGEST_LOG,
    Floats,
    RowIndex,
    largest,
    multiples,
    undo,
)
from shared.h5ad.weighing import MOSTLY_WHOLE, whole_numbers

_LINEAR, _LOGARITHMS, _WHOLE = 1, 2, 3
_OFF = 0.01
"""Share by which a cell's total may differ from what it should be: rounding shifts it by less."""
_NEAR = 0.005
"""The same for the compiled loops, whose exponentials are only roughly right."""
_OTHERS = tuple(transform for transform in Transform if transform is not Transform.NONE)


@dataclass(frozen=True, slots=True)
class Stored:
    """What the values of a matrix are, and what a model is given of them.

    That is log1p of counts per 10,000 where the matrix has it as it is; else values in proportion to counts, with the
    total that they are to be divided by.

    Attributes:
        transform: What is undone.
        target_sum: As in ``MatrixChoice``.
        counts: Whether whole numbers are expected.
    """

    transform: Transform = Transform.NONE
    target_sum: float | None = None
    as_it_is: bool = False
    counts: bool = True

    @classmethod
    def of(cls, choice: MatrixChoice) -> Stored:
        """As the verdict has it."""
        return cls(choice.undone, choice.target_sum, choice.as_it_is, choice.state is MatrixState.COUNTS)

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
        total_n: What each cell's values are to be divided by, float64; of values as they are, their sum.
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
    settled = _Settling(block.data.astype(np.float64), rows, stored)
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
    """The rows of one block that have values; all above 0."""

    values: Floats
    rows: RowIndex
    stored: Stored

    def linear(self) -> Result:
        """Values in proportion to counts; their totals; notes."""
        whole, most = self._whole(), self.rows.most(self.values)
        note_n = np.zeros(len(self.rows), np.uint8)
        linear = undo(self.values, self.stored.transform)
        if self.stored.transform in LOGARITHMS:  # Counts, or what was never a logarithm, among them.
            other = whole | (most > LARGEST_LOG)
            linear = np.where(self.rows.spread(other), self.values, linear)
        elif self.stored.transform is Transform.NONE:
            other, unclear = self._convert(linear, ~whole & (self.stored.counts | (most <= LARGEST_LOG)))
            note_n[unclear & self.stored.counts & (self._share_whole() < MOSTLY_WHOLE)] = CellNote.UNCLEAR
        else:
            other = np.zeros(len(self.rows), np.bool_)
        note_n[other] = CellNote.CONVERTED
        total_n = self.rows.sums(linear)
        if self.stored.target_sum is not None:
            total_n[~other] = self.stored.target_sum
        return linear, total_n, note_n

    def as_it_is(self) -> Result:
        """log1p of counts per 10,000: rows that are not are made so; their sums; notes."""
        linear = undo(self.values, Transform.LOG1P)
        sums, other = self.rows.sums(linear), self._whole() | (self.rows.most(self.values) > LARGEST_LOG)
        least = 0.0 if self.stored.target_sum else TARGET * (1 - _OFF)
        off = ~other & ((sums < least) | (sums > TARGET * (1 + _OFF)))
        _, left = self._convert(linear, off)
        unclear = left & (self.stored.target_sum is not None)
        linear = np.where(self.rows.spread(other), self.values, linear)
        changed = (off | other) & ~unclear
        scale_n = TARGET / self.rows.sums(linear)
        values = np.where(self.rows.spread(changed), np.log1p(linear * self.rows.spread(scale_n)), self.values)
        note_n = np.where(unclear, CellNote.UNCLEAR, np.where(changed, CellNote.CONVERTED, CellNote.NONE))
        return values, self.rows.sums(self.values), note_n.astype(np.uint8)

    def _share_whole(self) -> Floats:
        return self.rows.sums(whole_numbers(self.values)) / self.rows.sizes

    def _whole(self) -> Rows:
        whole: Rows = self._share_whole() == 1.0
        return whole

    def _convert(self, linear: Floats, suspects: Rows) -> tuple[Rows, Rows]:
        """Undo, in ``linear``, what suspect rows prove was done to them; which were converted, and which prove nothing.

        A row proves it by a customary total, or by whole multiples of its smallest value; then it is counts, too.
        """
        if not suspects.any():
            return suspects, suspects
        chosen = self.rows.spread(suspects)
        values, rows = self.values[chosen], RowIndex.of(self.rows.sizes[suspects])
        best = np.full(len(rows), _OFF)
        result, found, plain = values.copy(), np.zeros(len(rows), np.bool_), multiples(values, rows).proven()
        for transform in _OTHERS:
            undone, fits = undo(values, transform), rows.most(values) <= largest(transform)
            off, counted = _off_standard(rows.sums(undone)), multiples(undone, rows)
            proven = ~plain & fits & ((off < best) | (~found & counted.proven()))
            best = np.where(proven, np.minimum(best, off), best)
            unit = np.where(counted.proven(), counted.unit, 1.0)
            result = np.where(rows.spread(proven), undone / rows.spread(unit), result)
            found |= proven
        if self.stored.as_it_is and not self.stored.target_sum:  # A logarithm whose cells have all their genes.
            result = np.where(rows.spread(found | plain), result, undo(values, Transform.LOG1P))
        linear[chosen] = result
        converted, unclear = suspects.copy(), suspects.copy()
        converted[suspects], unclear[suspects] = found, ~found & ~plain
        return converted, unclear


def _off_standard(sums: Floats) -> Floats:
    """How far each sum lies from the nearest customary total, as a share of it."""
    totals = np.array(STANDARD_SUMS)
    off: Floats = (np.abs(sums[:, None] - totals) / totals).min(axis=1)
    return off
