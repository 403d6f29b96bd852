"""How many cells go to a device at once: blocks gathered by what they weigh in its memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

import torch

from jobs.engine.annotator import CellBlock

N_SETS = 3
"""Sets of buffers: one batch is copied in, one is computed, one is handed out."""

PINNED_BYTES = 16 << 20
"""The most that a batch takes of pinned memory, which the host cannot swap, in each set.

A PCIe 3 link of 16 lanes (12 GB/s) moves it in 1.4 ms, which is long beside the launches of a batch (some twenty, of
about 10 µs each), and short beside reading as much. On an H200 a quarter of it took twice as long (2026-11-28).
"""

_UNIT_BYTES = 8
_SHARE = 0.5


def weight(block: CellBlock, width: int) -> int:
    """What a block weighs; the unit is 8 bytes of pinned memory.

    A stored value is one: float32 value and int32 feature. A cell is ``1 + width``: int32 pointer and float32 total,
    and for each label, which are among the model's columns, a float32 decision and probability. Like the pointers, a
    block has one cell more than rows.

    Args:
        width: The model's columns (``Annotator.width``).
    """
    return len(block.value) + (1 + width) * (len(block.rows) + 1)


def batch_limit(free_bytes: int, arithmetic: torch.dtype) -> int:
    """What a batch may weigh where so much memory of the device is free: half of it is used, and ``PINNED_BYTES``."""
    return max(1, min(PINNED_BYTES // _UNIT_BYTES, int(free_bytes * _SHARE) // device_bytes(arithmetic)))


def device_bytes(arithmetic: torch.dtype) -> int:
    """The most bytes on the device for each unit of weight, as if nothing were freed while a batch is computed.

    With ``a`` bytes for a number of the model's arithmetic (4 or 8), for a stored value:

    - 48 in the buffers: value and feature (8) in each of 3 sets, and twice as much as buffers double when they grow;
    - 16 for its expression: int32 row, float32 scale, quotient and logarithm;
    - ``2·a + 4`` for the model: ceiling, excess and the int32 row of ``embedding_bag``; and ``2·a`` for copies in which
      the logarithm is taken and the expression weighed, where ``a`` is 8.

    That is 76 or 100. A cell takes less for each of its ``1 + W`` units: 48 in the buffers, 20 for its length, scale
    and ``embedding_bag``, and for each of W columns ``a + 24`` for the sum and its three steps in float64,
    and 24 for scores in 3 sets: ``68 + (48 + a)·W``, at most ``76·(1 + W)`` or ``100·(1 + W)``.
    """
    a = arithmetic.itemsize
    copied = 2 * a if arithmetic is torch.float64 else 0
    return 2 * N_SETS * 8 + 16 + 2 * a + 4 + copied


class Gathering:
    """Consecutive blocks, as many as weigh no more than a limit and always one; reads one block past a batch."""

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
        """Have the blocks come again, before all others."""
        self._waiting.extendleft(reversed(batch))

    def _next(self) -> CellBlock | None:
        return self._waiting.popleft() if self._waiting else next(self._blocks, None)
