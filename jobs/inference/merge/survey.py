"""The first pass over the merged cells: streams the annotation table, and collects what later outputs need."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from jobs.engine.slopes import Slopes
from jobs.inference.merge.cell_ids import CellIdCheck, confirm
from jobs.inference.merge.columns import annotation_table
from jobs.inference.merge.cross_table import CrossTable
from jobs.inference.merge.evidence import Expression
from jobs.inference.merge.groups import Merge
from jobs.inference.merge.own_labels import NoOwnLabels, OwnLabels
from jobs.inference.merge.sample import MapSample, Sampler
from jobs.inference.merge.tally import Tally

_NOTHING = NoOwnLabels()


@dataclass(frozen=True, slots=True)
class Findings:
    """What the first pass collected: the tally and the sampled cells, and the cross table if the file has labels.

    Attributes:
        expression: That of the sampled cells; None if the slopes of the scores were not given.
    """

    tally: Tally
    sample: MapSample
    compared: CrossTable | NoOwnLabels = _NOTHING
    expression: Expression | None = None


class Survey:
    """Streams the tables once, and collects the tally, the sampled cells and the hashes of cell ids.

    Memory: 8 bytes per cell for the hashes, one group, the sample, and tables of labels, which do not grow with the
    number of cells. What the caller holds does: own labels, clusters and samples have 4 bytes per cell each.

    Args:
        own: The file's own labels, to compare with.
        slopes: Those of the model's scores, from which the evidence is computed.
    """

    def __init__(self, merge: Merge, own: OwnLabels | NoOwnLabels = _NOTHING, *, slopes: Slopes | None = None) -> None:
        self._merge = merge
        self._compared = CrossTable(own, merge.vocabulary) if isinstance(own, OwnLabels) else own
        self._tally = Tally(merge.vocabulary)
        self._sampler = Sampler(merge.vocabulary, embedded=bool(merge.layout.dimensions))
        self._expression = None if slopes is None else Expression(merge.vocabulary, slopes)
        self._ids = CellIdCheck(merge.layout.n_cells)

    def tables(self) -> Iterator[pa.Table]:
        """The annotation table by row groups. Read it once, to the end, before ``findings``.

        Raises:
            DuplicateCellsError: Some cell ids are equal. Raised after the last group, so that the file that is being
                written is dropped.
            CorruptBlobError: A part does not match its receipt.
            BlobNotFoundError: A part is gone.
        """
        for group in self._merge.groups():
            self._tally.add(group.calls)
            if isinstance(self._compared, CrossTable):
                self._compared.add(group.rows, group.calls)
            self._sampler.add(group)
            if self._expression is not None:
                self._expression.add(group)
            self._ids.add(group.calls.cell_ids)
            yield annotation_table(group.calls, self._merge.vocabulary, self._merge.layout.top_k)
        suspects = self._ids.suspects()
        if suspects:
            confirm(suspects, (group.calls.cell_ids for group in self._merge.groups()))

    def findings(self) -> Findings:
        """What was collected. Call it after ``tables`` was read to the end."""
        return Findings(self._tally, self._sampler.sample(), self._compared, self._expression)
