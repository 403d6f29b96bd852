"""Writes consensus.csv.gz: what each of several models says of each cell, and what most of them agree on."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from jobs.inference.merge.consensus import columns_for
from jobs.inference.merge.disagreements import Disagreements
from jobs.inference.outputs.annotation_files import csv_gz


def consensus_csv(disagreements: Disagreements) -> Iterator[bytes]:
    """Stream the table, with the cells counted in ``disagreements`` on the way. The same cells give the same bytes."""
    columns = columns_for(len(disagreements.consensus.others))
    return csv_gz(disagreements.tables(), pa.schema([pa.field(column.name, column.kind) for column in columns]))
