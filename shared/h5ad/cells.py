"""Cell identifiers by range."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from shared.domain.geometry import Rows
from shared.h5ad.columns import Frame, open_frame
from shared.h5ad.decoding import decoding
from shared.h5ad.layouts import find_layout
from shared.h5ad.opening import open_file
from shared.h5ad.safety import check_stored
from shared.h5ad.source import RangeSource


@dataclass(slots=True)
class CellIds:
    """The ids of a file's cells, in their order."""

    frame: Frame
    _all: list[str] = field(default_factory=list)

    @property
    def n_cells(self) -> int:
        """Cells in the file."""
        return len(self.frame)

    def ids(self, rows: Rows) -> list[str]:
        """The ids of ``rows``.

        Raises:
            TruncatedFileError: They do not decode.
        """
        with decoding("obs index"):
            if self.frame.n_categories(self.frame.index) is None:
                return self.frame.strings(self.frame.index, rows.start, rows.stop)
            # A categorical index is rare, and its categories are as many as the cells: they are read once.
            self._all = self._all or self.frame.strings(self.frame.index, 0, len(self.frame))
        return self._all[rows.start : rows.stop]


@contextmanager
def open_cell_ids(source: RangeSource) -> Iterator[CellIds]:
    """The ids of a file that was inspected before.

    Raises:
        InputError: There are none.
    """
    with open_file(source) as opened:
        with decoding("obs index"):
            frame = open_frame(opened.file, find_layout(opened.file).obs)
            check_stored(frame.index_node, source.size_bytes)
        yield CellIds(frame)
