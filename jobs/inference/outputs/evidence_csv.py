"""Writes evidence.csv: the genes that spoke for each label in this file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.csv

from jobs.inference.merge.evidence import Evidence, GeneEvidence, LabelEvidence
from jobs.inference.outputs.annotation_files import harmless
from jobs.inference.parts.arrays import column_of, text_column
from jobs.inference.parts.sink import ChunkSink

_DIGITS = 5


@dataclass(frozen=True, slots=True)
class EvidenceColumn:
    """A column of evidence.csv, and what it says."""

    name: str
    kind: pa.DataType
    meaning: str
    value: Callable[[LabelEvidence, GeneEvidence], str | int | float | None]


COLUMNS = (
    EvidenceColumn("label", pa.string(), "The label, as in `annotations.csv.gz`.", lambda label, _gene: label.name),
    EvidenceColumn("gene", pa.string(), "The gene's symbol, where one is known.", lambda _label, gene: gene.name),
    EvidenceColumn(
        "gene_in_file",
        pa.string(),
        "Its name in the file; empty if the file lacks it.",
        lambda _label, gene: gene.in_file,
    ),
    EvidenceColumn(
        "speaks_by",
        pa.string(),
        "`expression`: the label's cells express it more than the rest, and the model takes that for the label. "
        "`absence`: they express it less, and the model takes that for the label. `missing`: it is one of the ten "
        "genes by which the model recognises the label best, but the file lacks it.",
        lambda _label, gene: str(gene.speaks_by),
    ),
    EvidenceColumn(
        "contribution",
        pa.float64(),
        "What it adds to the label's decision score, less the mean score of all other labels, on average over the "
        "label's cells and compared with the rest: w · (mean in the label - mean in the rest), where w is the label's "
        "weight of one unit of log1p expression less the mean weight of all other labels.",
        lambda _label, gene: _rounded(gene.contribution),
    ),
    EvidenceColumn(
        "mean", pa.float64(), "Mean log1p expression of the label's cells.", lambda _label, gene: _rounded(gene.mean)
    ),
    EvidenceColumn("mean_rest", pa.float64(), "The same of the rest.", lambda _label, gene: _rounded(gene.mean_rest)),
    EvidenceColumn(
        "share",
        pa.float64(),
        "Share of the label's cells that express it, from 0 to 1.",
        lambda _label, gene: _rounded(gene.share),
    ),
    EvidenceColumn(
        "share_rest",
        pa.float64(),
        "The same of the rest.",
        lambda _label, gene: _rounded(gene.share_rest),
    ),
    EvidenceColumn(
        "compared_with",
        pa.string(),
        "What the rest is: `rest`, all other sampled cells; or `training`, the mean of the model's training cells, if "
        "fewer than five other cells are sampled.",
        lambda label, _gene: str(label.against),
    ),
    EvidenceColumn("cells", pa.int64(), "Number of sampled cells with the label.", lambda label, _gene: label.n_cells),
    EvidenceColumn("cells_rest", pa.int64(), "Number of other sampled cells.", lambda label, _gene: label.n_rest),
)
"""In the order in which they are written."""

SCHEMA = pa.schema([pa.field(column.name, column.kind) for column in COLUMNS])


def evidence_csv(evidence: Evidence) -> Iterator[bytes]:
    """The bytes of ``evidence.csv``. The same evidence gives the same bytes.

    As in ``annotations.csv.gz``, a text that a spreadsheet would run as a formula gets a leading apostrophe.
    """
    sink = ChunkSink()
    with pa.csv.CSVWriter(sink, SCHEMA) as writer:
        writer.write_table(_table(evidence))
    yield sink.drain()


def _table(evidence: Evidence) -> pa.Table:
    rows = [(label, gene) for label in evidence.labels for gene in label.genes]
    columns = [_column(column.kind, [column.value(*row) for row in rows]) for column in COLUMNS]
    return pa.table(columns, schema=SCHEMA)


def _column(kind: pa.DataType, values: Sequence[str | int | float | None]) -> pa.ChunkedArray:
    """A column without pandas, which ``pa.array`` would load."""
    if pa.types.is_string(kind):
        return harmless(pa.chunked_array([text_column([str(value or "") for value in values])], kind))
    absent = np.array([value is None for value in values], np.bool_)
    numbers = np.array([0 if value is None else value for value in values], np.dtype(kind.to_pandas_dtype()))
    return pa.chunked_array([column_of(numbers, absent)], kind)


def _rounded(number: float | None) -> float | None:
    """Without the digits that only the order of a sum would change, and without a negative zero."""
    return None if number is None else round(number, _DIGITS) + 0.0
