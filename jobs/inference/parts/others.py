"""What a part keeps of the further models of a consensus: columns of their own beside those of the model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jobs.inference.parts.arrays import F32Array, column_of, fixed_lists
from jobs.inference.parts.ranking import best_first

KEPT = 2
"""Labels kept for each cell."""
_SHARED = ("cell_id", "n_counts", "n_genes", "mito_share")
"""Columns that say the same whatever the model."""
_OWN = ("top_label", "top_score", "note", "unfamiliarity", "probability")


@dataclass(frozen=True, slots=True)
class OtherLayout:
    """What is kept of one further model.

    Attributes:
        full: Whether all labels' probabilities are kept, as the model needs.
    """

    n_labels: int
    full: bool = False

    def fields(self, place: int) -> list[pa.Field]:
        """Its columns.

        Args:
            place: Which of the further models it is, from 0.
        """
        kinds = {
            "top_label": pa.list_(pa.int16() if self.n_labels <= np.iinfo(np.int16).max else pa.int32(), KEPT),
            "top_score": pa.list_(pa.float32(), KEPT),
            "note": pa.uint8(),
            "unfamiliarity": pa.float32(),
        }
        if self.full:
            kinds["probability"] = pa.list_(pa.float32(), self.n_labels)
        nullable = {"unfamiliarity"}
        return [pa.field(_name(name, place), kind, nullable=name in nullable) for name, kind in kinds.items()]


@dataclass(frozen=True, slots=True)
class OtherScores:
    """The scores of one block by one further model, with attributes as in ``AnnotatedBlock`` and ``CellFacts``."""

    probability_nl: F32Array
    decision_nl: F32Array
    note_n: npt.NDArray[np.uint8]
    unfamiliarity_n: F32Array | None

    def columns(self, layout: OtherLayout) -> Iterator[pa.Array]:
        """The columns, in the order of ``OtherLayout.fields``."""
        kind, *kinds = [field.type for field in layout.fields(0)]
        order_nk = best_first(self.decision_nl, KEPT)
        yield fixed_lists(order_nk, kind)
        yield fixed_lists(np.take_along_axis(self.probability_nl, order_nk, axis=1), kinds[0])
        yield column_of(self.note_n)
        n_cells = len(self.note_n)
        yield pa.nulls(n_cells, pa.float32()) if self.unfamiliarity_n is None else column_of(self.unfamiliarity_n)
        if layout.full:
            yield fixed_lists(self.probability_nl, kinds[-1])


def as_if_alone(batch: pa.RecordBatch, place: int) -> pa.RecordBatch:
    """The columns of one further model, under the names that those of the model itself have."""
    own = {name: _name(name, place) for name in _OWN}
    columns = {name: batch[name] for name in _SHARED}
    columns |= {name: batch[there] for name, there in own.items() if there in batch.schema.names}
    return pa.record_batch(columns)


def _name(name: str, place: int) -> str:
    return f"other{place}_{name}"
