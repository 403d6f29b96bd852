"""The first pass over the merged cells: makes the annotation table, and notes what later outputs need."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from jobs.inference.merge.calls import annotation_table
from jobs.inference.merge.cell_ids import CellIdCheck, confirm
from jobs.inference.merge.groups import Merge
from jobs.inference.merge.sample import MapSample, Sampler
from jobs.inference.merge.tally import Tally


@dataclass(frozen=True, slots=True)
class Findings:
    """What the first pass noted."""

    tally: Tally
    sample: MapSample


class Survey:
    """Streams the tables once and keeps the tally, the map sample and the cell ids' hashes.

    Memory: 8 bytes a cell, one group, the sample; nothing else grows with the cells.
    """

    def __init__(self, merge: Merge) -> None:
        self._merge = merge
        self._tally = Tally(merge.vocabulary)
        self._sampler = Sampler(merge.vocabulary)
        self._ids = CellIdCheck(merge.layout.n_cells)

    def tables(self) -> Iterator[pa.Table]:
        """The annotation table by row groups; to be gone through once, before ``findings``.

        Raises:
            DuplicateCellsError: After the last group, so that a file being written is dropped.
            CorruptBlobError: A part that is not what its receipt says.
            BlobNotFoundError: A part that is gone.
        """
        for group in self._merge.groups():
            self._tally.add(group.calls)
            self._sampler.add(group)
            self._ids.add(group.calls.cell_ids)
            yield annotation_table(group.calls, self._merge.vocabulary, self._merge.layout.top_k)
        suspects = self._ids.suspects()
        if suspects:
            confirm(suspects, (group.calls.cell_ids for group in self._merge.groups()))

    def findings(self) -> Findings:
        """What was noted, once ``tables`` is through."""
        return Findings(self._tally, self._sampler.sample())
