"""Reusable buffers for one batch, on the host and on the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from jobs.engine.annotator import Annotator, BlockScores, CellBlock, Cells, Float32s, Int32s, check
from jobs.engine.facts import CellFacts
from jobs.engine.lanes import Lanes
from shared.domain.geometry import Rows


@dataclass(slots=True)
class GrowingBuffer:
    """A buffer for one array. It grows to the next power of two if it is too small."""

    make: Callable[[int], torch.Tensor]
    held: torch.Tensor | None = None

    def of(self, size: int) -> torch.Tensor:
        """The first ``size`` values, uninitialised."""
        if self.held is None or len(self.held) < size:
            self.held = None  # Freed first, so that old and new never exist together.
            self.held = self.make(1 << max(size - 1, 0).bit_length())
        return self.held[:size]


class PairedBuffer:
    """A buffer on the host, and one of the same size on the device."""

    def __init__(self, lanes: Lanes, dtype: torch.dtype) -> None:
        self._host = GrowingBuffer(lambda size: lanes.host(size, dtype))
        self._device = GrowingBuffer(lambda size: torch.empty(size, dtype=dtype, device=lanes.device))
        self._size = 0

    def put(self, arrays: Sequence[Float32s] | Sequence[Int32s]) -> None:
        """Concatenate arrays into the host's buffer."""
        self._size = sum(map(len, arrays))
        np.concatenate(arrays, out=self._host.of(self._size).numpy())

    def send(self) -> torch.Tensor:
        """Start the copy to the device. Returns the device's tensor."""
        return self._device.of(self._size).copy_(self._host.of(self._size), non_blocking=True)


class BufferSet:
    """The buffers of a batch and its three steps (``Work``). Refill it only after ``scores`` was read to its end."""

    def __init__(self, annotator: Annotator, lanes: Lanes) -> None:
        self._annotator = annotator
        self._value, self._total = PairedBuffer(lanes, torch.float32), PairedBuffer(lanes, torch.float32)
        self._feature, self._indptr = PairedBuffer(lanes, torch.int32), PairedBuffer(lanes, torch.int32)
        kinds = torch.float32, torch.float32, torch.int16
        self._scores = [GrowingBuffer(partial(lanes.host, dtype=kind)) for kind in kinds]
        self._blocks: list[tuple[Rows, CellFacts]] = []
        self._counted = False
        self._cells: Cells | None = None
        self._computed: tuple[torch.Tensor, ...] = ()

    def fill(self, blocks: Sequence[CellBlock]) -> None:
        """Copy the cells of blocks into the host's buffers. The blocks' large arrays are not kept."""
        for block in blocks:
            check(block)
        prepared = [self._annotator.prepared(block) for block in blocks]
        self._blocks = [(block.rows, facts) for block, (_, facts) in zip(blocks, prepared, strict=True)]
        self._value.put([block.value for block in blocks])
        self._feature.put([feature_z for feature_z, _ in prepared])
        self._indptr.put(_joined([block.indptr for block in blocks]))
        totals = [facts.total_n for _, facts in self._blocks if facts.total_n is not None]
        self._counted = bool(totals)
        if totals:
            self._total.put(totals)

    def copy_in(self) -> None:
        """Start the copy of the cells to the device."""
        totals_n = self._total.send() if self._counted else None
        self._cells = Cells(self._value.send(), self._feature.send(), self._indptr.send(), totals_n)

    def compute(self) -> None:
        """Start computing the scores. They stay on the device until ``scores`` was read to its end."""
        assert self._cells is not None
        self._computed = self._annotator.score(self._cells)

    def copy_out(self) -> None:
        """Start the copy of the scores to the host."""
        for memory, scores_nl in zip(self._scores, self._computed, strict=False):
            memory.of(scores_nl.numel()).view(scores_nl.shape).copy_(scores_nl, non_blocking=True)

    def scores(self) -> Iterator[BlockScores]:
        """The scores of each block, as copies. All three steps must have finished."""
        shapes = [scores.shape for scores in self._computed]
        kept = zip(self._scores, shapes, strict=False)
        arrays = [memory.of(shape.numel()).view(shape).numpy() for memory, shape in kept]
        first = 0
        for rows, facts in self._blocks:
            cut = slice(first, first + len(rows))
            first = cut.stop
            decision_nl, probability_nl, *embedding = (array[cut].copy() for array in arrays)
            yield BlockScores(rows, decision_nl, probability_nl, facts, *embedding)
        self._computed = ()


def _joined(pointers: Sequence[Int32s]) -> list[Int32s]:
    """Concatenate the ``indptr`` arrays of blocks into that of one block, as a list of pieces."""
    starts = np.cumsum([0, *(int(indptr[-1]) for indptr in pointers)])
    assert starts[-1] <= np.iinfo(np.int32).max
    moved = (indptr[1:] + np.int32(start) for indptr, start in zip(pointers, starts[:-1], strict=True))
    return [np.zeros(1, np.int32), *moved]
