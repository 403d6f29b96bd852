"""Checks that cell ids are unique over a whole submission, with 8 bytes per cell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from shared.domain.errors import DuplicateCellsError
from shared.domain.words import cut

_NAMED = 3


class CellIdCheck:
    """Collects a 64-bit hash of every cell id: 8 bytes per cell, 80 MB for ten million.

    Python's string hash is fast, and its key is random in every process, so that nobody can craft collisions. Equal
    hashes are only suspects: ``confirm`` compares the ids themselves.
    """

    def __init__(self, n_cells: int) -> None:
        self._hash_n = np.empty(n_cells, np.int64)
        self._filled = 0

    def add(self, cell_ids: pa.StringArray) -> None:
        """Add the ids of the next cells."""
        stop = self._filled + len(cell_ids)
        hashes = map(hash, cell_ids.to_pylist())
        self._hash_n[self._filled : stop] = np.fromiter(hashes, np.int64, len(cell_ids))
        self._filled = stop

    def suspects(self) -> frozenset[int]:
        """The hashes that occur more than once. Sorts the collected hashes in place."""
        seen_n = self._hash_n[: self._filled]
        seen_n.sort()
        return frozenset(seen_n[1:][seen_n[1:] == seen_n[:-1]].tolist())


def confirm(suspects: frozenset[int], cell_ids: Iterable[pa.StringArray]) -> None:
    """Read the ids again, and compare those with suspect hashes.

    Raises:
        DuplicateCellsError: Some ids occur more than once; the first few are named.
    """
    counts = Counter(one for ids in cell_ids for one in ids.to_pylist() if hash(one) in suspects)
    repeated = [one for one, n in counts.items() if n > 1]
    if repeated:
        named = ", ".join(repr(cut(one, 100)) for one in repeated[:_NAMED])
        raise DuplicateCellsError(
            f"{len(repeated):,} cell ids occur more than once, such as {named}",
            expected="every cell id once",
            where="the index of obs",
            hint="Make them unique: adata.obs_names_make_unique() (for a 10x .h5, after scanpy.read_10x_h5).",
        )
