"""The annotation table: the label and score of every cell, in the columns that users read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jobs.engine.abstaining import is_unassigned
from jobs.inference.parts.arrays import column_of, text_column, values_of
from jobs.inference.parts.part import F32Array
from shared.bundles.card import Label
from shared.domain.verdict import CellNote

UNASSIGNED = "Unassigned"
"""The label of an unassigned cell, as in CellTypist. Its best guess stays in ``top_labels``."""

CSV_COLUMNS = (
    "cell_id",
    "label",
    "score",
    "label_id",
    "second_label",
    "second_score",
    "abstained",
    "n_counts",
    "n_genes",
    "value_note",
)

NOTES = {CellNote.CONVERTED: "converted", CellNote.UNCLEAR: "unclear values", CellNote.SILENT: "no model genes"}
"""The values of the column ``value_note``, which is empty for almost all cells."""

BoolArray = npt.NDArray[np.bool_]
I64Array = npt.NDArray[np.int64]
_CODES = pa.dictionary(pa.int32(), pa.string())

SCHEMA = pa.schema(
    [
        pa.field("cell_id", pa.string(), nullable=False),
        pa.field("label", _CODES, nullable=False),
        pa.field("score", pa.float32(), nullable=False),
        pa.field("label_id", _CODES),
        pa.field("second_label", _CODES, nullable=False),
        pa.field("second_score", pa.float32(), nullable=False),
        pa.field("abstained", pa.bool_(), nullable=False),
        pa.field("n_counts", pa.float32()),
        pa.field("n_genes", pa.int32(), nullable=False),
        pa.field("value_note", _CODES),
        pa.field("top_labels", pa.list_(pa.string()), nullable=False),
        pa.field("top_scores", pa.list_(pa.float32()), nullable=False),
    ]
)

MEANINGS = {
    "cell_id": "The cell's name in `obs`, as in the file.",
    "label": f"The label with the highest score; `{UNASSIGNED}` if `abstained` is true.",
    "score": "The probability of the best label, from 0 to 1, with the model's activation and temperature.",
    "label_id": "The Cell Ontology id of `label`; empty if the model has none, or if the cell is unassigned.",
    "second_label": "The label with the second highest score.",
    "second_score": "Its probability.",
    "abstained": "Whether the best score is below the threshold, or no gene of the model has a value in the cell.",
    "n_counts": "Sum of the cell's counts over all genes; empty if the matrix has no counts.",
    "n_genes": "Number of genes with a value above 0, over all genes.",
    "value_note": "A note on the cell's values, empty for most cells: "
    + ", ".join(f"`{word}`" for word in NOTES.values())
    + ".",
    "top_labels": "The `top_k` best labels, best first. For an unassigned cell, the first is its best guess.",
    "top_scores": "Their probabilities.",
}
"""The meaning of each column of ``SCHEMA``."""


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
        n_counts_n: Total counts; NaN if unknown.
        n_genes_n: Genes with a value above 0.
        note_n: The ``CellNote`` of each cell.
    """

    cell_ids: pa.StringArray
    top_label_nk: I64Array
    top_score_nk: F32Array
    abstained_n: BoolArray
    n_counts_n: F32Array
    n_genes_n: npt.NDArray[np.int32]
    note_n: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.cell_ids)


def calls_from(batches: Sequence[pa.RecordBatch], min_score: float | None) -> Calls:
    """Join the batches of a part and apply the threshold."""
    table = pa.Table.from_batches(batches).combine_chunks()
    label_nk = _matrix(table["top_label"]).astype(np.int64)
    score_nk = _matrix(table["top_score"]).astype(np.float32, copy=False)
    note_n = values_of(table["note"].combine_chunks())
    return Calls(
        cell_ids=table["cell_id"].combine_chunks(),
        top_label_nk=label_nk,
        top_score_nk=score_nk,
        abstained_n=is_unassigned(score_nk[:, 0], note_n, min_score),
        n_counts_n=values_of(table["n_counts"].combine_chunks(), np.nan),
        n_genes_n=values_of(table["n_genes"].combine_chunks()),
        note_n=note_n,
    )


def annotation_table(calls: Calls, vocabulary: Vocabulary, top_k: int) -> pa.Table:
    """Convert calls to the columns of ``SCHEMA``."""
    best_n, second_n = calls.top_label_nk[:, 0], calls.top_label_nk[:, 1]
    name_n = np.where(calls.abstained_n, vocabulary.unassigned_code, vocabulary.name_codes[best_n])
    id_n = np.where(calls.abstained_n, -1, vocabulary.id_codes[best_n])
    columns = [
        calls.cell_ids,
        _categories(name_n, vocabulary.names),
        column_of(calls.top_score_nk[:, 0]),
        _categories(id_n, vocabulary.ontology_ids),
        _categories(vocabulary.name_codes[second_n], vocabulary.names),
        column_of(calls.top_score_nk[:, 1]),
        column_of(calls.abstained_n),
        column_of(calls.n_counts_n, np.isnan(calls.n_counts_n)),
        column_of(calls.n_genes_n),
        _categories(calls.note_n.astype(np.int64) - 1, tuple(NOTES.values())),
        _lists(_names_of(calls.top_label_nk[:, :top_k], vocabulary), len(calls)),
        _lists(column_of(calls.top_score_nk[:, :top_k].reshape(-1)), len(calls)),
    ]
    return pa.table(columns, schema=SCHEMA)


def _matrix(column: pa.ChunkedArray) -> npt.NDArray[np.generic]:
    width = column.type.list_size
    return values_of(column.combine_chunks().flatten()).reshape(-1, width)


def _categories(code_n: I64Array, names: Sequence[str]) -> pa.DictionaryArray:
    indices = column_of(code_n.astype(np.int32), code_n < 0)
    return pa.DictionaryArray.from_arrays(indices, text_column(names))


def _names_of(label_nk: I64Array, vocabulary: Vocabulary) -> pa.Array:
    names = text_column([label.name for label in vocabulary.labels])
    return names.take(column_of(label_nk.reshape(-1)))


def _lists(values: pa.Array, n_lists: int) -> pa.ListArray:
    """Split values into ``n_lists`` lists of equal length."""
    offsets = np.arange(n_lists + 1, dtype=np.int32) * (len(values) // max(n_lists, 1))
    return pa.ListArray.from_arrays(column_of(offsets), values)
