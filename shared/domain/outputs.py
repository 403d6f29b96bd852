"""The files of a result: what each is called and what it is, once, for whoever writes, lists, checks or explains them.

A new file is a row here, and its bytes in ``jobs.inference.task.results``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from shared.domain.options import Options, Scores

_DEFAULTS = Options()


def _always(_options: Options) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Output:
    """One file of a result.

    Attributes:
        name: Below the prefix of the result.
        content_type: Its media type.
        what: What it is and whom it is for, in a line.
        same_bytes: Whether one request for one file gives the same bytes, whoever computes it, on however many tasks.
        wanted: Whether it is asked for. What is asked for and cannot be made is named in the manifest with the reason.
    """

    name: str
    content_type: str
    what: str
    same_bytes: bool = False
    wanted: Callable[[Options], bool] = _always


REPORT = Output(
    "report.html",
    "text/html; charset=utf-8",
    "The report, to read first, print and forward; one file that needs no network.",
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
    "One row a cell, for spreadsheets and R; ' before what would be a formula.",
    same_bytes=True,
)
ANNOTATIONS_PARQUET = Output(
    "annotations.parquet",
    "application/vnd.apache.parquet",
    "One row a cell, with the lists of best labels and their scores; for any Parquet reader.",
    same_bytes=True,
)
SCORES_PARQUET = Output(
    "scores.parquet",
    "application/vnd.apache.parquet",
    "Every label's probability for every cell.",
    same_bytes=True,
    wanted=lambda options: options.scores is Scores.FULL,
)
MANIFEST = Output(
    "manifest.json",
    "application/json",
    "What was done with what: input, model, options, versions, times, and the checksum of every file.",
)

OUTPUTS = (REPORT, ANNOTATED_H5AD, ANNOTATIONS_CSV, ANNOTATIONS_PARQUET, SCORES_PARQUET, MANIFEST)
"""In the order in which people are shown them."""


def reproducible(options: Options = _DEFAULTS) -> tuple[str, ...]:
    """Names of the files with these options that have the same bytes however they are computed."""
    return tuple(output.name for output in OUTPUTS if output.same_bytes and output.wanted(options))
