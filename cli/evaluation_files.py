"""Writes evaluations as JSON, CSV and a page that needs no network."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from cli.evaluation_remarks import remarks
from jobs.inference.merge.cross_table import shown
from jobs.inference.outputs.annotation_files import harmless_text
from jobs.inference.report import rendering
from jobs.inference.report.pieces import CrossRow
from jobs.inference.report.truth import cross_columns, cross_rows
from jobs.modeling.common_cells import common_document, common_heads, common_rows, commons, different_words
from jobs.modeling.evaluated import Evaluated, document_of, figures, record_of, row_of
from shared.bundles.card import CARD_NAME
from shared.domain.errors import InvalidOptionError

_HERE = Path(__file__).parent
_MOST_NAMES, _MOST_LABELS = 40, 30
"""Of a drawn table. The files have all."""


def check_folder(folder: Path) -> None:
    """Check that evaluations can be written there.

    Raises:
        InvalidOptionError: It is a file, or a folder of bundles.
    """
    if folder.is_file():
        raise InvalidOptionError(f"{folder} is a file", expected="a folder, new or old", hint="Give another --out.")
    if folder.is_dir() and any(True for _ in folder.glob(f"*/*/{CARD_NAME}")):
        raise InvalidOptionError(
            f"{folder} is a folder of bundles",
            expected="a folder for the figures",
            hint="Name the folder of bundles with --models, and another one with --out.",
        )


def write_evaluations(folder: Path, found: Sequence[Evaluated]) -> list[Path]:
    """Write ``metrics.json``, ``metrics.csv``, ``cross_tables.csv`` and ``evaluation.html``; old ones are replaced.

    In CSV, as in ``annotations.csv.gz``, a text that a spreadsheet would run as a formula gets a leading apostrophe.
    Bytes of file names that are not UTF-8 are spelt out.

    Raises:
        InvalidOptionError: The folder cannot be written.
    """
    documents = [
        {"model": one.card.reference, "file": str(one.file), "column": one.column, **document_of(one)} for one in found
    ]
    in_common = [common_document(one) for one in commons(found)]
    texts = {
        "metrics.json": json.dumps({"evaluations": documents, "common": in_common}, indent=1) + "\n",
        "metrics.csv": _csv([list(record_of(found[0])), *(list(record_of(one).values()) for one in found)]),
        "cross_tables.csv": _csv([["model", "file", "own_label", "label", "cells"], *_crossed(found)]),
        "evaluation.html": _page(found),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise InvalidOptionError(
            f"{folder} cannot be written: {error.strerror}", expected="a folder", hint="Give another --out."
        ) from error
    return [folder / name for name in texts]


def _csv(rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    plain = [[harmless_text(one) if isinstance(one, str) else one for one in row] for row in rows]
    csv.writer(text, lineterminator="\n").writerows(plain)
    return text.getvalue()


def _crossed(found: Sequence[Evaluated]) -> Iterator[list[object]]:
    """The pairs of labels that occur."""
    for one in found:
        if one.report is None:
            continue
        names, labels, cells_tp = one.report.own, one.card.labels, one.report.cells_tp
        for row, column in zip(*cells_tp.nonzero(), strict=True):
            cells = int(cells_tp[row, column])
            yield [one.card.reference, one.file.name, names[row], labels[column].name, cells]


# --- The page -----------------------------------------------------------------------------------------------------


def _page(found: Sequence[Evaluated]) -> str:
    ontology = any(one.report is not None and one.report.hierarchical is not None for one in found)
    return (
        rendering.templates(_HERE)
        .get_template("evaluation.html.j2")
        .render(
            style=rendering.style(),
            figures=figures(ontology=ontology),
            rows=[row_of(one, ontology=ontology) for one in found],
            found=found,
            remarks=remarks,
            common=[
                (one, different_words(one), common_heads(one), common_rows(one))
                for one in commons(found)
                if one.caution
            ],
            tables=[_table(one) for one in found],
        )
    )


def _table(one: Evaluated) -> tuple[tuple[str, ...], tuple[CrossRow, ...]]:
    """The heads and the rows of the cross table of one model and file."""
    if one.report is None:
        return (), ()
    labels = [label.name for label in one.card.labels]
    part = shown(one.report.cells_tp, _MOST_NAMES, _MOST_LABELS)
    meant = [name if name in labels else one.report.counterparts.get(name) for name in one.report.own]
    return cross_columns(part, labels), tuple(cross_rows(part, one.report.own, labels, meant))
