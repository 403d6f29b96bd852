"""Cell identifiers by range."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from shared.domain.geometry import BLOCK_ROWS, Rows
from shared.h5ad.read.columns import Slices, open_frame
from shared.h5ad.read.layouts import find_layout
from shared.h5ad.read.opening import decoding, open_file
from shared.h5ad.read.safety import check_stored
from shared.h5ad.source import RangeSource

WINDOW_ROWS = 16 * BLOCK_ROWS
"""Ids read together: a slice costs the HDF5 library a millisecond or two, however short."""
_CACHE_BYTES = 3 * 2**20
"""Ids are read from first to last: beyond the file's head and tail little is asked for twice."""


@dataclass(slots=True)
class CellIds:
    """The ids of a file's cells, in their order.

    Attributes:
        n_cells: Cells in the file.
    """

    n_cells: int
    _read: Slices
    _kept: list[str] = field(default_factory=list)
    _first: int = 0

    def ids(self, rows: Rows) -> list[str]:
        """The ids of ``rows``.

        Raises:
            TruncatedFileError: They do not decode.
        """
        if not self._first <= rows.start <= rows.stop <= self._first + len(self._kept):
            self._first, self._kept = self._window(rows)
        return self._kept[rows.start - self._first : rows.stop - self._first]

    def _window(self, rows: Rows) -> tuple[int, list[str]]:
        start = rows.start // WINDOW_ROWS * WINDOW_ROWS
        stop = min(max(start + WINDOW_ROWS, rows.stop), self.n_cells)
        with decoding("obs index"):
            return start, self._read(start, stop)


@contextmanager
def open_cell_ids(source: RangeSource) -> Iterator[CellIds]:
    """The ids of a file that was inspected before.

    Raises:
        InputError: There are none.
    """
    with open_file(source, cache_bytes=_CACHE_BYTES) as opened:
        with decoding("obs index"):
            frame = open_frame(opened.file, find_layout(opened.file).obs)
            check_stored(frame.index_node, source.size_bytes)
            ids = CellIds(len(frame), frame.slices(frame.index))
        yield ids
