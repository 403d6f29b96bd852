"""How rows are divided: into blocks with fixed absolute boundaries, and blocks into tasks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

BLOCK_ROWS = 256
"""Rows per block. Block boundaries do not depend on the number of tasks, so every plan gives the same bytes."""
GROUP_ROWS = 65_536
"""Rows of a row group of results: a multiple of BLOCK_ROWS, so that no block is split."""


@dataclass(frozen=True, slots=True)
class Rows:
    """A half-open range of rows, ``start <= row < stop``."""

    start: int
    stop: int

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.stop:
            msg = f"not a row range: {self.start}..{self.stop}"
            raise ValueError(msg)

    def __len__(self) -> int:
        return self.stop - self.start

    def blocks(self) -> Iterator[Rows]:
        """The blocks in this range, cut at absolute multiples of BLOCK_ROWS."""
        start = self.start
        while start < self.stop:
            stop = min((start // BLOCK_ROWS + 1) * BLOCK_ROWS, self.stop)
            yield Rows(start, stop)
            start = stop


def block_count(n_cells: int) -> int:
    """The number of blocks for ``n_cells`` rows."""
    return -(-n_cells // BLOCK_ROWS)


def task_rows(n_cells: int, n_tasks: int, index: int) -> Rows:
    """The rows of task ``index`` of ``n_tasks``: whole blocks, divided as evenly as possible.

    Raises:
        ValueError: When ``index`` is not one of the tasks.
    """
    if not 0 <= index < n_tasks:
        msg = f"task {index} of {n_tasks}"
        raise ValueError(msg)
    blocks = block_count(n_cells)
    first = blocks * index // n_tasks
    last = blocks * (index + 1) // n_tasks
    return Rows(min(first * BLOCK_ROWS, n_cells), min(last * BLOCK_ROWS, n_cells))
