"""The label and score of every cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jobs.engine.abstaining import is_unassigned, is_unfamiliar
from jobs.engine.facts import CellFacts
from jobs.inference.parts.arrays import values_of
from jobs.inference.parts.part import F32Array, facts_from
from shared.bundles.card import Familiarity, Label
from shared.domain.verdict import CellNote

UNASSIGNED = "Unassigned"
"""The label of an unassigned cell, as in CellTypist. Its best guess stays in ``top_labels``."""

NOTES = {CellNote.CONVERTED: "converted", CellNote.UNCLEAR: "unclear values", CellNote.SILENT: "no model genes"}
"""The values of the column ``value_note``, which is empty for almost all cells."""

BoolArray = npt.NDArray[np.bool_]
I64Array = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Vocabulary:
    """The categories of a model's labels: distinct names and Cell Ontology ids, in the model's order.

    Labels may share a name or an id, but categories must be distinct.
    """

    labels: tuple[Label, ...]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Distinct label names, followed by ``Unassigned`` unless the model has that label."""
        return tuple(dict.fromkeys([*(label.name for label in self.labels), UNASSIGNED]))

    @cached_property
    def ontology_ids(self) -> tuple[str, ...]:
        """Distinct Cell Ontology ids."""
        return tuple(dict.fromkeys(label.ontology_id for label in self.labels if label.ontology_id))

    @cached_property
    def name_codes(self) -> I64Array:
        """The position of each label in ``names``."""
        return np.array([self.names.index(label.name) for label in self.labels], np.int64)

    @cached_property
    def id_codes(self) -> I64Array:
        """The position of each label in ``ontology_ids``; -1 without an id."""
        ids = self.ontology_ids
        return np.array([ids.index(label.ontology_id) if label.ontology_id else -1 for label in self.labels], np.int64)

    @cached_property
    def unassigned_code(self) -> int:
        """The position of ``Unassigned`` in ``names``."""
        return self.names.index(UNASSIGNED)


@dataclass(frozen=True, slots=True)
class Calls:
    """The labels and scores of n consecutive cells, as arrays.

    Attributes:
        top_label_nk: Indices into the model's labels, best first.
        top_score_nk: Their probabilities.
        abstained_n: Whether the best score is below the threshold, or the cell has no value of the model's genes.
        unfamiliar_n: Whether the cell is unlike the model's training cells; False if that is not known.
        facts: The cells' facts. Totals and unfamiliarity are NaN where they are not known.
    """

    cell_ids: pa.StringArray
    top_label_nk: I64Array
    top_score_nk: F32Array
    abstained_n: BoolArray
    unfamiliar_n: BoolArray
    facts: CellFacts

    def __len__(self) -> int:
        return len(self.cell_ids)


def calls_from(
    batches: Sequence[pa.RecordBatch], min_score: float | None, familiarity: Familiarity | None = None
) -> Calls:
    """Join the batches of a part and apply the thresholds."""
    table = pa.Table.from_batches(batches).combine_chunks()
    label_nk = _matrix(table["top_label"]).astype(np.int64)
    score_nk = _matrix(table["top_score"]).astype(np.float32, copy=False)
    facts = facts_from(table)
    assert facts.unfamiliarity_n is not None
    return Calls(
        cell_ids=table["cell_id"].combine_chunks(),
        top_label_nk=label_nk,
        top_score_nk=score_nk,
        abstained_n=is_unassigned(score_nk[:, 0], facts.note_n, min_score),
        unfamiliar_n=is_unfamiliar(facts.unfamiliarity_n, familiarity),
        facts=facts,
    )


def _matrix(column: pa.ChunkedArray) -> npt.NDArray[np.generic]:
    width = column.type.list_size
    return values_of(column.combine_chunks().flatten()).reshape(-1, width)
