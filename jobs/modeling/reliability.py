"""Learns from held-out cells from which score on a label, or else its lineage, is reliable."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from jobs.engine.levels import Level, Lineages, lineages_of, reliable_level
from shared.bundles.card import Label, Reliability
from shared.domain.options import ERROR_RATES

Float32s = npt.NDArray[np.float32]
Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_STEPS = np.arange(0, 101) / 100
_LEAST_CELLS = 50


def learn_reliability(probability_nl: Float32s, class_n: Int64s, labels: tuple[Label, ...]) -> tuple[Reliability, ...]:
    """Choose, for each error rate, the thresholds that give the most cells a label and yet hold the rate.

    A cell gets its label if its score reaches the first threshold, else its lineage if that score reaches the second,
    else nothing. The rate is the share of wrong answers among all answers, on cells that the model was not trained on,
    with one wrong answer more than was seen (conformal risk control; Angelopoulos et al., ICLR 2024). The second
    threshold holds the rate among the cells that get a lineage.

    Args:
        probability_nl: Probabilities of cells that were held out, cells x labels.
        class_n: Their true labels.

    Returns:
        Thresholds by rate, the lowest first; nothing for too few cells.
    """
    if len(class_n) < _LEAST_CELLS:
        return ()
    best_n = probability_nl.argmax(axis=1)
    score_n = probability_nl[np.arange(len(best_n)), best_n]
    right_n = best_n == class_n
    lineages, right_lineage_n = _lineages(probability_nl, class_n, labels)
    return tuple(_at(error, score_n, right_n, lineages, right_lineage_n) for error in ERROR_RATES)


def _lineages(
    probability_nl: Float32s, class_n: Int64s, labels: tuple[Label, ...]
) -> tuple[Lineages | None, Bools | None]:
    names = sorted({label.lineage for label in labels if label.lineage})
    if not all(label.lineage for label in labels) or not 1 < len(names) < len(labels):
        return None, None
    lineage_l = np.array([names.index(label.lineage or "") for label in labels], np.int64)
    found = lineages_of(probability_nl, lineage_l, len(names))
    return found, found.code_n == lineage_l[class_n]


def _at(
    error: float, score_n: Float32s, right_n: Bools, lineages: Lineages | None, right_lineage_n: Bools | None
) -> Reliability:
    lineage_score = None
    if lineages is not None and right_lineage_n is not None:
        lineage_score = _least(error, lambda step: _risk(right_lineage_n[lineages.score_n >= np.float32(step)]))

    def risk(step: float) -> float:
        level_n = reliable_level(
            score_n, lineages, Reliability(error=error, label_score=step, lineage_score=lineage_score)
        )
        answers = [right_n[level_n == Level.LABEL]]
        if right_lineage_n is not None:
            answers.append(right_lineage_n[level_n == Level.LINEAGE])
        return _risk(np.concatenate(answers))

    return Reliability(error=error, label_score=_least(error, risk), lineage_score=lineage_score)


def _least(error: float, risk: Callable[[float], float]) -> float | None:
    """The lowest threshold at which the risk is within the rate; None if there is none."""
    return next((step for step in _STEPS.tolist() if risk(step) <= error), None)


def _risk(right_n: Bools) -> float:
    """The share of wrong answers, with one more than there are."""
    return float(((~right_n).sum() + 1) / (len(right_n) + 1))
