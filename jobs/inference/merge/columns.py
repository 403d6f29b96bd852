"""The annotation table: the columns that users read, in annotations.parquet, annotations.csv.gz and annotated.h5ad."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto

import numpy as np
import pyarrow as pa

from jobs.inference.merge.calls import NOTES, Calls, I64Array, Vocabulary, lineage_codes, name_codes, reliable_codes
from jobs.inference.parts.arrays import column_of, text_column
from shared.bundles.card import UNASSIGNED
from shared.domain.verdict import CellNote

CATEGORY = pa.dictionary(pa.int32(), pa.string())
"""A text of few values."""


class InObs(Enum):
    """Whether annotated.h5ad has a column, named ``celldrop_`` and the column's name."""

    NO = auto()
    YES = auto()
    IF_ANY = auto()
    """Only if some cell has a value."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The calls of some cells, with all that is needed to write them in columns."""

    calls: Calls
    vocabulary: Vocabulary
    top_k: int


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the annotation table.

    Attributes:
        meaning: What it says, in Markdown.
        values: Makes the column.
        nullable: Whether some cells may have no value.
    """

    name: str
    kind: pa.DataType
    meaning: str
    values: Callable[[Answer], pa.Array]
    nullable: bool = False
    in_csv: bool = True
    in_obs: InObs = InObs.NO


def _label(answer: Answer) -> pa.Array:
    return categories(name_codes(answer.calls, answer.vocabulary), answer.vocabulary.names)


def _label_id(answer: Answer) -> pa.Array:
    calls, vocabulary = answer.calls, answer.vocabulary
    id_n = vocabulary.id_codes[calls.top_label_nk[:, 0]]
    return categories(np.where(calls.abstained_n, -1, id_n), vocabulary.ontology_ids)


def _second_label(answer: Answer) -> pa.Array:
    vocabulary = answer.vocabulary
    return categories(vocabulary.name_codes[answer.calls.top_label_nk[:, 1]], vocabulary.names)


def _lineage(answer: Answer) -> pa.Array:
    calls, names = answer.calls, answer.vocabulary.lineages
    if calls.lineages is None:
        return categories(np.full(len(calls), -1), names)
    return categories(lineage_codes(calls, answer.vocabulary), names)


def _lineage_score(answer: Answer) -> pa.Array:
    calls = answer.calls
    if calls.lineages is None:
        return pa.nulls(len(calls), pa.float32())
    return column_of(calls.lineages.score_n, calls.facts.note_n == CellNote.SILENT)


def _reliable_label(answer: Answer) -> pa.Array:
    calls, names = answer.calls, answer.vocabulary.reliable_names
    unknown = calls.level_n is None
    return categories(np.full(len(calls), -1) if unknown else reliable_codes(calls, answer.vocabulary), names)


def _unfamiliarity(answer: Answer) -> pa.Array:
    unfamiliarity_n = answer.calls.facts.unfamiliarity_n
    assert unfamiliarity_n is not None
    return column_of(unfamiliarity_n, np.isnan(unfamiliarity_n))


def _unfamiliar(answer: Answer) -> pa.Array:
    unfamiliarity_n = answer.calls.facts.unfamiliarity_n
    assert unfamiliarity_n is not None
    return column_of(answer.calls.unfamiliar_n, np.isnan(unfamiliarity_n))


def _cluster(answer: Answer) -> pa.Array:
    membership = answer.calls.membership
    if membership is None:
        return categories(np.full(len(answer.calls), -1), ())
    return categories(membership.code_n.astype(np.int64), membership.clusters.names)


def _cluster_label(answer: Answer) -> pa.Array:
    membership, names = answer.calls.membership, answer.vocabulary.names
    if membership is None:
        return categories(np.full(len(answer.calls), -1), names)
    return categories(np.append(membership.clusters.label_c, -1)[membership.code_n], names)


def _cluster_share(answer: Answer) -> pa.Array:
    membership = answer.calls.membership
    if membership is None:
        return pa.nulls(len(answer.calls), pa.float32())
    share_c = np.append(membership.clusters.share_c, np.float32(0))
    return column_of(share_c[membership.code_n], membership.code_n < 0)


def _n_counts(answer: Answer) -> pa.Array:
    total_n = answer.calls.facts.total_n
    assert total_n is not None
    return column_of(total_n, np.isnan(total_n))


def _mito_share(answer: Answer) -> pa.Array:
    mito_n = answer.calls.facts.mito_n
    assert mito_n is not None
    return column_of(mito_n, np.isnan(mito_n))


def _value_note(answer: Answer) -> pa.Array:
    return categories(answer.calls.facts.note_n.astype(np.int64) - 1, tuple(NOTES.values()))


def _top_labels(answer: Answer) -> pa.Array:
    names = text_column([label.name for label in answer.vocabulary.labels])
    label_nk = answer.calls.top_label_nk[:, : answer.top_k]
    return _lists(names.take(column_of(label_nk.reshape(-1))), len(answer.calls))


def _top_scores(answer: Answer) -> pa.Array:
    return _lists(column_of(answer.calls.top_score_nk[:, : answer.top_k].reshape(-1)), len(answer.calls))


COLUMNS = (
    Column(
        "cell_id",
        pa.string(),
        "The cell's name in `obs`, as in the file.",
        lambda answer: answer.calls.cell_ids,
    ),
    Column(
        "label",
        CATEGORY,
        f"The label with the highest score; `{UNASSIGNED}` if `abstained` is true.",
        _label,
        in_obs=InObs.YES,
    ),
    Column(
        "score",
        pa.float32(),
        "The probability of the best label, from 0 to 1, with the model's activation and temperature, corrected to the "
        "shares of the labels in the sample unless `composition=off` or the model does not allow it. All scores are.",
        lambda answer: column_of(answer.calls.top_score_nk[:, 0]),
        in_obs=InObs.YES,
    ),
    Column(
        "label_id",
        CATEGORY,
        "The Cell Ontology id of `label`; empty if the model has none, or if the cell is unassigned.",
        _label_id,
        nullable=True,
        in_obs=InObs.YES,
    ),
    Column(
        "second_label",
        CATEGORY,
        "The label with the second highest score.",
        _second_label,
        in_obs=InObs.YES,
    ),
    Column(
        "second_score",
        pa.float32(),
        "Its probability.",
        lambda answer: column_of(answer.calls.top_score_nk[:, 1]),
        in_obs=InObs.YES,
    ),
    Column(
        "abstained",
        pa.bool_(),
        "Whether the best score is below the threshold, or no gene of the model has a value in the cell.",
        lambda answer: column_of(answer.calls.abstained_n),
        in_obs=InObs.YES,
    ),
    Column(
        "n_counts",
        pa.float32(),
        "Sum of the cell's counts over all genes; empty if the matrix has no counts.",
        _n_counts,
        nullable=True,
    ),
    Column(
        "n_genes",
        pa.int32(),
        "Number of genes with a value above 0, over all genes.",
        lambda answer: column_of(answer.calls.facts.n_genes_n),
    ),
    Column(
        "mito_share",
        pa.float32(),
        "The share of `n_counts` that is of mitochondrial genes (MT-ND1 and the like), from 0 to 1. A high one can "
        "mean a damaged or dying cell. Empty, and left out of `obs`, if the matrix has no counts, or the file fewer "
        "than 10 of the 13 mitochondrial genes of proteins.",
        _mito_share,
        nullable=True,
        in_obs=InObs.IF_ANY,
    ),
    Column(
        "value_note",
        CATEGORY,
        f"A note on the cell's values, empty for most cells: {', '.join(f'`{word}`' for word in NOTES.values())}.",
        _value_note,
        nullable=True,
        in_obs=InObs.IF_ANY,
    ),
    Column(
        "lineage",
        CATEGORY,
        "The lineage with the highest score, such as T cell; `Unassigned` if no gene of the model has a value in the "
        "cell. It need not be that of `label`: two labels of one lineage can outweigh the best label of another. "
        "Empty, and left out of `obs`, if the model's labels have no lineages.",
        _lineage,
        nullable=True,
        in_obs=InObs.IF_ANY,
    ),
    Column(
        "lineage_score",
        pa.float32(),
        "Its probability: the sum of the probabilities of its labels. Empty if no gene of the model has a value.",
        _lineage_score,
        nullable=True,
        in_obs=InObs.IF_ANY,
    ),
    Column(
        "reliable_label",
        CATEGORY,
        "The most specific type that is reliable: `label`, `lineage`, or, if the model has a tree of its labels, any "
        "type that several labels are kinds of, such as CD4-positive, alpha-beta T cell. Of the model's held-out "
        "cells, at most a share of `max_error` (0.05) got a wrong one in this way; where the file's own scores tell "
        "of more, the threshold is raised. In another study, more can be wrong. `Unassigned` if none is, for an "
        "`unfamiliar` cell, and for all cells of a file with the warning `GENES_DISAGREE`. Empty, and left out of "
        "`obs`, if it is not known what is reliable.",
        _reliable_label,
        nullable=True,
        in_obs=InObs.IF_ANY,
    ),
    Column(
        "unfamiliar",
        pa.bool_(),
        "Whether the cell is unlike the model's training cells, so that its label means little: whether its "
        "`unfamiliarity` is over the model's threshold. Empty, and left out of `obs`, if the model cannot tell.",
        _unfamiliar,
        nullable=True,
        in_obs=InObs.IF_ANY,
    ),
    Column(
        "unfamiliarity",
        pa.float32(),
        "How much of the cell's expression is of genes that hardly any of the model's training cells express, in "
        "standard deviations above what is usual. Empty, and left out of `obs`, if the model cannot tell.",
        _unfamiliarity,
        nullable=True,
        in_obs=InObs.IF_ANY,
    ),
    Column(
        "cluster",
        CATEGORY,
        "The cell's cluster: a small group of cells with similar expression, `1` being the largest, or the column of "
        "`obs` that the option `clusters` names. Empty, and left out of `obs`, if there are no clusters.",
        _cluster,
        nullable=True,
        in_obs=InObs.IF_ANY,
    ),
    Column(
        "cluster_label",
        CATEGORY,
        "The label that most cells of the cluster have (majority voting); `Unassigned` if half of them or more are "
        "`unfamiliar`. It stands beside the cell's own `label`, which it does not change.",
        _cluster_label,
        nullable=True,
        in_obs=InObs.IF_ANY,
    ),
    Column(
        "cluster_share",
        pa.float32(),
        "The share of the cluster's cells that agree with `cluster_label`: it is their own `label` or, if it is "
        "`Unassigned`, they are unassigned or `unfamiliar`.",
        _cluster_share,
        nullable=True,
        in_obs=InObs.IF_ANY,
    ),
    Column(
        "top_labels",
        pa.list_(pa.string()),
        "The `top_k` best labels, best first. For an unassigned cell, the first is its best guess.",
        _top_labels,
        in_csv=False,
    ),
    Column(
        "top_scores",
        pa.list_(pa.float32()),
        "Their probabilities.",
        _top_scores,
        in_csv=False,
    ),
)
"""In the order in which they are written. A new column is a line here."""

SCHEMA = pa.schema([pa.field(column.name, column.kind, nullable=column.nullable) for column in COLUMNS])
CSV_COLUMNS = tuple(column.name for column in COLUMNS if column.in_csv)


def annotation_table(calls: Calls, vocabulary: Vocabulary, top_k: int) -> pa.Table:
    """Convert calls to the columns of ``SCHEMA``."""
    answer = Answer(calls, vocabulary, top_k)
    return pa.table([column.values(answer) for column in COLUMNS], schema=SCHEMA)


def categories(code_n: I64Array, names: Sequence[str]) -> pa.DictionaryArray:
    """A column of texts of few values, by the place of each in ``names``; none where that is negative."""
    indices = column_of(code_n.astype(np.int32), code_n < 0)
    return pa.DictionaryArray.from_arrays(indices, text_column(names))


def _lists(values: pa.Array, n_lists: int) -> pa.ListArray:
    """Split values into ``n_lists`` lists of equal length."""
    offsets = np.arange(n_lists + 1, dtype=np.int32) * (len(values) // max(n_lists, 1))
    return pa.ListArray.from_arrays(column_of(offsets), values)
