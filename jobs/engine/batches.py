"""Sizes the batches for a GPU: blocks are gathered up to a limit on the memory that they need."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from jobs.engine.annotator import CellBlock

N_SETS = 3
"""Sets of buffers: while one batch is computed, another is copied in, and the scores of a third are copied out."""

PINNED_BYTES = 16 << 20
"""Limit on a batch's pinned (page-locked) host memory, per set of buffers.

A PCIe 3 x16 link (12 GB/s) copies it in 1.4 ms: much longer than a batch's kernel launches (about 20 of 10 µs), and
much shorter than reading as much. With a quarter of this limit, an H200 took twice as long (2026-11-28).
"""

_UNIT_BYTES = 8
_SHARE = 0.5


def weight(block: CellBlock, width: int) -> int:
    """The weight of a block, in units of 8 bytes of pinned memory.

    A stored value weighs 1: a float32 value and an int32 feature. A cell weighs ``1 + width``: an int32 pointer and a
    float32 total, and a float32 decision score and probability for each label (labels are some of the model's columns).
    One cell is added per block, as there is one pointer more than rows.

    Args:
        width: The model's number of columns (``Annotator.width``).
    """
    return len(block.value) + (1 + width) * (len(block.rows) + 1)


def batch_limit(free_bytes: int, value_bytes: int) -> int:
    """The largest weight of a batch: half of the device's free memory is used, and at most ``PINNED_BYTES``."""
    return max(1, min(PINNED_BYTES // _UNIT_BYTES, int(free_bytes * _SHARE) // device_bytes(value_bytes)))


def device_bytes(value_bytes: int) -> int:
    """An upper bound on the device's bytes per unit of weight, as if nothing were freed while a batch is computed.

    A stored value takes:

    - 48 in the buffers: 8 (value and feature) in each of 3 sets, times 2, as buffers grow to the next power of two;
    - 16 for its expression: int32 row, float32 scale, quotient and logarithm;
    - ``value_bytes`` in the model: for the kinds that there are, 12 in float32 and 36 in float64.

    A cell, which weighs ``1 + W``, takes less per unit: 48 in the buffers and 20 for its length, scale and
    ``embedding_bag``; for each of W columns at most 8 + 24 for the sum and its three steps in float64, and 24 for
    scores in 3 sets. In all ``68 + 56·W``, at most ``64·(1 + W)`` for every W of 1 or more.

    Args:
        value_bytes: The model's own bytes (``Annotator.value_bytes``).
    """
    return 2 * N_SETS * 8 + 16 + value_bytes


class Gathering:
    """Gathers consecutive blocks into batches up to a weight limit, at least one each. Reads one block ahead."""

    def __init__(self, blocks: Iterable[CellBlock], width: int) -> None:
        self._blocks = iter(blocks)
        self._width = width
        self._waiting: deque[CellBlock] = deque()

    def take(self, limit: int) -> list[CellBlock]:
        """The next batch; empty at the end."""
        batch: list[CellBlock] = []
        weighs = 0
        while (block := self._next()) is not None:
            weighs += weight(block, self._width)
            if batch and weighs > limit:
                self._waiting.appendleft(block)
                break
            batch.append(block)
        return batch

    def give_back(self, batch: Sequence[CellBlock]) -> None:
        """Put the blocks of a batch back, before all others."""
        self._waiting.extendleft(reversed(batch))

    def _next(self) -> CellBlock | None:
        return self._waiting.popleft() if self._waiting else next(self._blocks, None)
