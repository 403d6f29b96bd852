"""The table of a result's files: name, type and description, used by all code that writes, lists or checks them.

A new file is a row here, and code that writes its bytes in ``jobs.inference.task.tables``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from shared.domain.options import OFF, Options, Scores

_DEFAULTS = Options()


def _always(_options: Options) -> bool:
    return True


def _for_cas(options: Options) -> bool:
    return options.cas


@dataclass(frozen=True, slots=True)
class Output:
    """One file of a result.

    Attributes:
        name: The file's name under the prefix of the result.
        content_type: Its media type.
        what: What it is and whom it is for, in one line.
        same_bytes: Whether its bytes depend only on the request and the input, not on the machine or number of tasks.
        wanted: Whether these options request the file. If it cannot be made, the manifest names it with the reason.
    """

    name: str
    content_type: str
    what: str
    same_bytes: bool = False
    wanted: Callable[[Options], bool] = _always


REPORT = Output(
    "report.html",
    "text/html; charset=utf-8",
    "The report: read it first, print it, forward it. A single file that needs no network.",
)
ANNOTATED_H5AD = Output(
    "annotated.h5ad",
    "application/x-hdf5",
    "The input with celldrop_ columns added to obs; anndata.read_h5ad opens it.",
    same_bytes=True,
)
ANNOTATIONS_CSV = Output(
    "annotations.csv.gz",
    "application/gzip",
    "One row per cell, for spreadsheets and R; a ' is put before text that would be a formula.",
    same_bytes=True,
)
ANNOTATIONS_PARQUET = Output(
    "annotations.parquet",
    "application/vnd.apache.parquet",
    "One row per cell, with the lists of best labels and their scores; for any Parquet reader.",
    same_bytes=True,
)
SCORES_PARQUET = Output(
    "scores.parquet",
    "application/vnd.apache.parquet",
    "Every label's probability for every cell.",
    same_bytes=True,
    wanted=lambda options: options.scores is Scores.FULL,
)
EVIDENCE = Output(
    "evidence.csv",
    "text/csv; charset=utf-8",
    "The genes that spoke for each label in this file; a ' is put before text that would be a formula.",
    same_bytes=True,
)
PSEUDOBULK = Output(
    "pseudobulk.h5ad",
    "application/x-hdf5",
    "Exact sums of the counts by label, or by label and sample, for tests between samples; anndata.read_h5ad opens it.",
    same_bytes=True,
    wanted=lambda options: options.pseudobulk != OFF,
)
ONTOLOGY_RESPONSE = Output(
    "ontology_response.json",
    "application/json",
    "For the client of Cellarium CAS: each cell's scores of Cell Ontology terms, as the service answers.",
    same_bytes=True,
    wanted=_for_cas,
)
ONTOLOGY_RESOURCE = Output(
    "ontology_resource.json",
    "application/json",
    "For the same client: the terms that the scores are about, and which is a kind of which.",
    same_bytes=True,
    wanted=_for_cas,
)
INFERRED_LABELS = Output(
    "inferred_labels.csv",
    "text/csv; charset=utf-8",
    "For the same client: the three most specific terms of each cell; a ' is put before text that would be a formula.",
    same_bytes=True,
    wanted=_for_cas,
)
CAS_METADATA = Output(
    "metadata.json",
    "application/json",
    "For the same client: which file and model these are about.",
    wanted=_for_cas,
)
CONSENSUS = Output(
    "consensus.csv.gz",
    "application/gzip",
    "One row per cell: each model's label, and what most models agree on; a ' is put before text that would be a "
    "formula.",
    same_bytes=True,
    wanted=lambda options: bool(options.consensus),
)
MANIFEST = Output(
    "manifest.json",
    "application/json",
    "How the result was made: input, model, options, versions, times, and the checksum of every file.",
)

OUTPUTS = (
    REPORT,
    ANNOTATED_H5AD,
    ANNOTATIONS_CSV,
    ANNOTATIONS_PARQUET,
    SCORES_PARQUET,
    EVIDENCE,
    PSEUDOBULK,
    ONTOLOGY_RESPONSE,
    ONTOLOGY_RESOURCE,
    INFERRED_LABELS,
    CAS_METADATA,
    CONSENSUS,
    MANIFEST,
)
"""In the order in which they are shown to users."""


def reproducible(options: Options = _DEFAULTS) -> tuple[str, ...]:
    """The names of the files, with these options, whose bytes are always the same."""
    return tuple(output.name for output in OUTPUTS if output.same_bytes and output.wanted(options))
