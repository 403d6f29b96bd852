"""Metrics of agreement between labels and predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from jobs.engine.agreement import accuracy, macro_f1

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class LabelMetrics:
    """The metrics of one label. A metric without any cells is 0.

    Attributes:
        support: Number of cells with the label.
    """

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement of predictions with labels.

    Attributes:
        balanced_accuracy: Mean recall over the labels that occur.
        macro_f1: Mean F1 over the labels that occur.
        confusion_tp: Number of cells by true label (rows) and predicted label (columns).
        per_label: In the order of ``names``.
    """

    n_cells: int
    accuracy: float
    balanced_accuracy: float
    macro_f1: float
    names: tuple[str, ...]
    confusion_tp: Int64s
    per_label: tuple[LabelMetrics, ...]


def agreement(true_n: Int64s, predicted_n: Int64s, names: Sequence[str]) -> Agreement:
    """Compare true and predicted labels of at least one cell, given as positions in ``names``."""
    n_labels = len(names)
    pair_n = true_n * n_labels + predicted_n
    confusion_tp = np.bincount(pair_n, minlength=n_labels**2).reshape(n_labels, n_labels)
    per_label = tuple(_label_metrics(confusion_tp, position) for position in range(n_labels))
    present = [metrics for metrics in per_label if metrics.support]
    return Agreement(
        n_cells=len(true_n),
        accuracy=accuracy(confusion_tp),
        balanced_accuracy=float(np.mean([metrics.recall for metrics in present])),
        macro_f1=macro_f1(confusion_tp),
        names=tuple(names),
        confusion_tp=confusion_tp,
        per_label=per_label,
    )


def _label_metrics(confusion_tp: Int64s, position: int) -> LabelMetrics:
    right = int(confusion_tp[position, position])
    support, predicted = int(confusion_tp[position].sum()), int(confusion_tp[:, position].sum())
    precision, recall = _share(right, predicted), _share(right, support)
    return LabelMetrics(precision, recall, _share(2 * right, support + predicted), support)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
