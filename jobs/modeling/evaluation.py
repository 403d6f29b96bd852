"""How well a model's labels agree with labels that a file brings, by the very inference code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from jobs.modeling.calibration import calibration_error
from jobs.modeling.labelled import LabelledCells, read_labelled
from jobs.modeling.metrics import Agreement, agreement
from jobs.modeling.scoring import Scores, score
from shared.bundle import ModelCard
from shared.domain.errors import TrainingDataError

Int64s = npt.NDArray[np.int64]
_NO_LINEAGE = ""


@dataclass(frozen=True, slots=True)
class EvaluationReport:
    """Agreement of predictions with a file's labels; abstaining is left aside except where named.

    Attributes:
        n_cells: Cells with a label in the file.
        labels: Over cells whose label the model has; None when there are none.
        lineages: Over cells whose lineage the model has; None when there are none.
        n_left_out: Cells, by their label in the file, that neither compares.
        calibration_error: Expected calibration error of the best score, over the cells of ``labels``.
        abstained_share: Share of all cells that score below the model's threshold; 0 without a threshold.
        kept_accuracy: As ``labels.accuracy``, over the cells that do not abstain.
    """

    n_cells: int
    labels: Agreement | None
    lineages: Agreement | None
    n_left_out: Mapping[str, int]
    calibration_error: float | None
    abstained_share: float
    kept_accuracy: float | None


def evaluate(
    card: ModelCard,
    weights: Mapping[str, torch.Tensor],
    path: Path,
    labels_column: str,
    mapping: Mapping[str, str] | None = None,
) -> EvaluationReport:
    """Annotate a labelled file and compare.

    Args:
        labels_column: The obs column of labels; cells without one are left out.
        mapping: For labels of the file that the model calls otherwise: one of the model's labels, or a lineage.

    Raises:
        InputError: The file cannot be used; the leaf says why.
        TrainingDataError: No such column, or nothing in it that the model could be compared with.
        InvalidBundleError: The weights do not belong to the card.
    """
    cells = read_labelled(path, labels_column)
    report = compare(card, score(card, weights, cells), cells, mapping)
    if report.labels is None and report.lineages is None:
        raise TrainingDataError(
            f"no label of {labels_column!r} is one that {card.reference} knows: {', '.join(report.n_left_out)[:200]}",
            expected=f"labels such as {', '.join(label.name for label in card.labels[:5])}, or a mapping to them",
            where=str(path),
            hint="Give a mapping from the file's labels to the model's labels or lineages with --lineages FILE.",
        )
    return report


def compare(
    card: ModelCard, scores: Scores, cells: LabelledCells, mapping: Mapping[str, str] | None = None
) -> EvaluationReport:
    """Compare scores that were computed with the labels of the same cells."""
    true_n, lineage_n = _truth(card, cells, mapping or {})
    score_n, right_n = scores.score_n, scores.best_n == true_n
    labelled_n, kept_n = true_n >= 0, score_n >= (card.min_score or 0.0)
    lineages = _lineages(card)
    # A label without a lineage is a wrong answer where a lineage was asked for.
    of_label = np.array([lineages.index(label.lineage or _NO_LINEAGE) for label in card.labels], np.int64)
    return EvaluationReport(
        n_cells=cells.n_cells,
        labels=_agreement(true_n, scores.best_n, [label.name for label in card.labels]),
        lineages=_agreement(lineage_n, of_label[scores.best_n], lineages),
        n_left_out=_left_out(cells, (true_n < 0) & (lineage_n < 0)),
        calibration_error=calibration_error(score_n[labelled_n], right_n[labelled_n]) if labelled_n.any() else None,
        abstained_share=float((~kept_n).mean()) if cells.n_cells else 0.0,
        kept_accuracy=float(right_n[labelled_n & kept_n].mean()) if (labelled_n & kept_n).any() else None,
    )


def _truth(card: ModelCard, cells: LabelledCells, mapping: Mapping[str, str]) -> tuple[Int64s, Int64s]:
    """Position of each cell's label among the model's, and of its lineage; -1 where the model has none such."""
    names, lineages = [label.name for label in card.labels], _lineages(card)
    labels, coarse = [], []
    for label in cells.labels:
        meant = label.name if label.name in names else mapping.get(label.name, label.name)
        position = names.index(meant) if meant in names else -1
        lineage = card.labels[position].lineage if position >= 0 else meant
        labels.append(position)
        coarse.append(lineages.index(lineage) if lineage in lineages else -1)
    return np.array(labels, np.int64)[cells.class_n], np.array(coarse, np.int64)[cells.class_n]


def _lineages(card: ModelCard) -> list[str]:
    return sorted({label.lineage or _NO_LINEAGE for label in card.labels})


def _agreement(true_n: Int64s, predicted_n: Int64s, names: list[str]) -> Agreement | None:
    known_n = true_n >= 0
    return agreement(true_n[known_n], predicted_n[known_n], names) if known_n.any() else None


def _left_out(cells: LabelledCells, out_n: npt.NDArray[np.bool_]) -> dict[str, int]:
    counts = np.bincount(cells.class_n[out_n], minlength=len(cells.labels)).tolist()
    return {label.name: count for label, count in zip(cells.labels, counts, strict=True) if count}
