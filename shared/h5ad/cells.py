"""Cell identifiers by range, and the proof that they are unique."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np

from shared.domain.errors import DuplicateCellsError
from shared.domain.geometry import Rows
from shared.h5ad.columns import Frame, open_frame
from shared.h5ad.decoding import decoding
from shared.h5ad.layouts import find_layout
from shared.h5ad.opening import open_file
from shared.h5ad.safety import check_stored
from shared.h5ad.source import RangeSource

WINDOW = 16_384
"""Ids held at a time."""


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
    with open_file(source) as file:
        with decoding("obs index"):
            frame = open_frame(file, find_layout(file).obs)
            check_stored(frame.index_node, source.size_bytes)
        yield CellIds(frame)


def check_unique_cells(source: RangeSource) -> int:
    """Compare all cell ids by 8-byte digests: 8 bytes a cell, and twice that while sorting (16 MB a million cells).

    Returns:
        How many there are.

    Raises:
        DuplicateCellsError: Some are equal, with examples.
    """
    with open_cell_ids(source) as cells:
        digests = np.fromiter(_digests(cells), dtype=np.uint64, count=cells.n_cells)
        ordered = np.sort(digests)
        twice = set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())
        if twice:
            _refuse(cells, digests, twice)
        return cells.n_cells


def _digests(cells: CellIds) -> Iterator[int]:
    for rows in _windows(cells.n_cells):
        for name in cells.ids(rows):
            yield int.from_bytes(blake2b(name.encode("utf-8", "replace"), digest_size=8).digest(), "little")


def _windows(n_cells: int) -> Iterator[Rows]:
    for start in range(0, n_cells, WINDOW):
        yield Rows(start, min(start + WINDOW, n_cells))


def _refuse(cells: CellIds, digests: np.ndarray, twice: set[int]) -> None:
    """Look the suspects up; two different ids with one digest are no duplicates."""
    places = np.flatnonzero(np.isin(digests, np.fromiter(twice, np.uint64)))
    first: dict[str, int] = {}
    repeated: list[str] = []
    for place in places.tolist()[:100_000]:
        name = cells.ids(Rows(place, place + 1))[0]
        if name in first:
            repeated.append(name)
        first.setdefault(name, place)
        if len(repeated) == 5:
            break
    if repeated:
        raise DuplicateCellsError(
            f"cell ids occur more than once, such as {', '.join(name[:100] for name in repeated)}",
            expected="unique ids, so that results can be joined back",
            where="obs index",
            hint="adata.obs_names_make_unique(), then write and send the file again.",
        )
