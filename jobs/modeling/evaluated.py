"""One model on one file: its figures as a document, as a row of a table and as a record of a CSV file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from jobs.modeling.evaluation import EvaluationReport
from jobs.modeling.metrics import Agreement
from shared.bundles.card import ModelCard
from shared.domain.errors import CelldropError

_NONE = "-"


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A comparison, or why there is none.

    Attributes:
        column: The obs column of labels.
    """

    card: ModelCard
    file: Path
    column: str
    report: EvaluationReport | None = None
    error: CelldropError | None = None


def document_of(one: Evaluated) -> dict[str, Any]:
    """Everything that was found, for JSON."""
    if one.report is None:
        assert one.error is not None
        return {"error": {"code": one.error.code, "message": one.error.message, "hint": one.error.hint}}
    report = one.report
    bare = asdict(replace(report, labels=None, lineages=None, cells_tp=np.zeros((0, 0), np.int64)))
    return {
        **bare,
        "labels": _agreement(report.labels),
        "lineages": _agreement(report.lineages),
        "cells_tp": report.cells_tp.tolist(),
        "predicted": [label.name for label in one.card.labels],
    }


def _agreement(one: Agreement | None) -> dict[str, Any] | None:
    if one is None:
        return None
    return {**asdict(one), "confusion_tp": one.confusion_tp.tolist()}


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure that models are compared by.

    Attributes:
        name: As in ``record_of``.
        head: Over its column.
        meaning: For people who do not know the word.
    """

    name: str
    head: str
    meaning: str


FIGURES = (
    Figure(
        "n_compared", "compared", "cells whose own label the model has, too; accuracy, F1 and score error are theirs"
    ),
    Figure("accuracy", "accuracy", "the share of these cells that get their own label"),
    Figure(
        "macro_f1",
        "F1",
        "the mean over labels of a figure that is high only if most cells of the label get it (recall), and most cells "
        "that get it have it (precision); rare labels count as much as frequent ones",
    ),
    Figure(
        "lineage_accuracy",
        "lineages",
        "of the cells whose own label belongs to a lineage of the model, the share that gets a label of this lineage",
    ),
    Figure(
        "calibration_error",
        "score error",
        "how far scores are from the share of right labels, on average (expected calibration error); 0 is best",
    ),
)
ONTOLOGY_FIGURE = Figure(
    "hierarchical_f1",
    "ontology F",
    "agreement in the Cell Ontology, where a related term counts in part (hierarchical F); 1 is best",
)


def figures(*, ontology: bool) -> tuple[Figure, ...]:
    """The figures of a comparison of models."""
    return (*FIGURES, ONTOLOGY_FIGURE) if ontology else FIGURES


def row_of(one: Evaluated, *, ontology: bool) -> list[str]:
    """The figures as text."""
    found = record_of(one)
    return [_text(found[figure.name]) for figure in figures(ontology=ontology)]


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) else _NONE


def record_of(one: Evaluated) -> dict[str, str | int | float | None]:
    """All figures by name; None where there is none."""
    report = one.report
    named: Mapping[str, str | int | float | None] = {
        "model": one.card.reference,
        "file": one.file.name,
        "column": one.column,
        "n_cells": report.n_cells if report else None,
    }
    return {
        **named,
        **_figures("", report.labels if report else None),
        **_figures("lineage_", report.lineages if report else None),
        "calibration_error": report.calibration_error if report else None,
        "abstained_share": report.abstained_share if report else None,
        "unfamiliar_share": _unfamiliar(report),
        **_hierarchical(report),
        "composition": None if report is None else "off" if report.composition is None else "on",
        "warnings": None if report is None else " ".join(finding.code for finding in report.warnings),
        "error": one.error.code if one.error else None,
    }


def _figures(prefix: str, found: Agreement | None) -> dict[str, str | int | float | None]:
    return {
        f"{prefix}n_compared": found.n_cells if found else None,
        f"{prefix}accuracy": found.accuracy if found else None,
        f"{prefix}balanced_accuracy": found.balanced_accuracy if found else None,
        f"{prefix}macro_f1": found.macro_f1 if found else None,
    }


def _unfamiliar(report: EvaluationReport | None) -> float | None:
    if report is None or report.unfamiliar is None or not report.n_cells:
        return None
    return sum(report.unfamiliar.values()) / report.n_cells


def _hierarchical(report: EvaluationReport | None) -> dict[str, str | int | float | None]:
    found = report.hierarchical if report else None
    names = ("n_cells", "exact", "ancestor", "descendant", "precision", "recall", "f1", "macro_f1")
    figures = {f"hierarchical_{name}": getattr(found, name) if found else None for name in names}
    hops = found.hop_f1 if found else (None,) * 5
    return {**figures, **{f"hop_{place}_f1": value for place, value in enumerate(hops)}}
