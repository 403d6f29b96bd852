"""Learns from held-out cells from which score on a label, or else its lineage, is reliable."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from jobs.engine.composition import estimate
from jobs.engine.levels import LEAST_LINEAGE, Lineages, lineages_of
from jobs.engine.raising import STEPS
from jobs.engine.tree import NOTHING, is_within, placing, tree_of
from shared.bundles.card import Label, ModelCard, Reliability, have_lineages
from shared.bundles.groups import Group
from shared.domain.options import ERROR_RATES

Float32s = npt.NDArray[np.float32]
Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_STEPS = np.arange(STEPS + 1) / STEPS
_LEAST_CELLS = 50


def as_in_use(probability_nl: Float32s, assumed: Sequence[float]) -> Float32s:
    """The probabilities of held-out cells as a run gives them: corrected to these cells' own shares of the labels.

    Args:
        assumed: The shares that the probabilities assume; empty if a run does not correct them.
    """
    if not assumed or not len(probability_nl):
        return probability_nl
    everything = [(probability_nl, np.ones(len(probability_nl), np.bool_))]
    found = estimate(everything, assumed, len(probability_nl))
    return found.corrected(probability_nl)


def learn(card: ModelCard, probability_nl: Float32s, class_n: Int64s) -> tuple[Reliability, ...]:
    """Choose the thresholds of a model, by its labels' tree if it has one.

    Args:
        probability_nl: Probabilities of cells that were held out, cells x labels.
        class_n: Their true labels.
    """
    known = (as_in_use(probability_nl, card.assumed_shares), class_n, card.labels)
    return learn_tree_scores(*known, card.tree) if card.tree else learn_reliability(*known)


def learn_reliability(probability_nl: Float32s, class_n: Int64s, labels: tuple[Label, ...]) -> tuple[Reliability, ...]:
    """Choose, for each error rate, the lowest thresholds that hold it.

    A cell gets its label if its score reaches the first threshold, else its lineage if that score reaches the second,
    else nothing. The rate is the share of wrong labels among the cells that get a label, and of wrong lineages among
    the cells that get only a lineage, on cells that the model was not trained on, with one wrong answer more than was
    seen.

    Args:
        probability_nl: Probabilities of cells that were held out, cells x labels; ``as_in_use`` gives them.
        class_n: Their true labels.

    Returns:
        Thresholds by rate, the lowest first; nothing for too few cells.
    """
    if len(class_n) < _LEAST_CELLS:
        return ()
    best_n, score_n = _best(probability_nl)
    lineages, right_lineage_n = _lineages(probability_nl, class_n, labels)
    found = []
    for error in ERROR_RATES:
        label_score = _least(error, score_n, best_n == class_n)
        lineage_score = None
        if lineages is not None and right_lineage_n is not None:
            rest_n = np.ones(len(score_n), np.bool_) if label_score is None else score_n < np.float32(label_score)
            lineage_score = _least(error, lineages.score_n[rest_n], right_lineage_n[rest_n], LEAST_LINEAGE)
        found.append(Reliability(error=error, label_score=label_score, lineage_score=lineage_score))
    return tuple(found)


def learn_tree_scores(
    probability_nl: Float32s, class_n: Int64s, labels: tuple[Label, ...], groups: tuple[Group, ...]
) -> tuple[Reliability, ...]:
    """Choose, for each error rate, the lowest score of the narrowest place in a tree that holds it.

    This is conformal risk control (Angelopoulos et al. 2024, theorem 1): the loss of a cell is 1 if its own label is
    not within its answer, else 0. As a higher score gives the same answer or a wider one, or none, no loss grows with
    it. The lowest score with a sum of losses plus 1, over the cells plus 1, of at most the rate gives cells that are
    exchangeable with these a wrong answer with at most this probability, with the weights that were fitted without the
    held-out cells; a bundle has weights that are fitted to all cells. For a sample of another mix of labels, which can
    be harder, ``jobs.engine.raising`` raises the threshold.

    Args:
        probability_nl: Probabilities of cells that were held out, cells x labels; ``as_in_use`` gives them.
        class_n: Their true labels.

    Returns:
        Thresholds by rate, the lowest first; nothing for too few cells.
    """
    if len(class_n) < _LEAST_CELLS:
        return ()
    tree = tree_of(groups, labels)
    places = placing(probability_nl, *_best(probability_nl), tree)
    losses = []
    for step in _STEPS.tolist():
        place_n = places.at(step)
        losses.append(int(((place_n != NOTHING) & ~is_within(place_n, class_n, tree)).sum()))
    found = []
    for error in ERROR_RATES:
        held = [place for place, loss in enumerate(losses) if (loss + 1) / (len(class_n) + 1) <= error]
        least = float(_STEPS[held[0]]) if held else None
        found.append(Reliability(error=error, label_score=None, lineage_score=None, tree_score=least))
    return tuple(found)


def _best(probability_nl: Float32s) -> tuple[Int64s, Float32s]:
    """The best label of each cell, and its score."""
    best_n = probability_nl.argmax(axis=1)
    return best_n, probability_nl[np.arange(len(best_n)), best_n]


def _lineages(
    probability_nl: Float32s, class_n: Int64s, labels: tuple[Label, ...]
) -> tuple[Lineages | None, Bools | None]:
    if not have_lineages(labels):
        return None, None
    names = sorted({label.lineage for label in labels if label.lineage})
    lineage_l = np.array([names.index(label.lineage or "") for label in labels], np.int64)
    found = lineages_of(probability_nl, lineage_l, len(names))
    return found, found.code_n == lineage_l[class_n]


def _least(error: float, score_n: Float32s, right_n: Bools, lowest: float = 0.0) -> float | None:
    """The lowest threshold from which on the rate is held; None if none is, or too few cells are left to tell."""
    held: float | None = None
    for step in _STEPS[::-1].tolist():
        if step < lowest:
            break
        answered_n = score_n >= np.float32(step)
        n_answers = int(answered_n.sum())
        if (n_answers + 1) * error < 1:
            continue  # Even without a wrong answer, so few would not show that the rate is held.
        if (int((answered_n & ~right_n).sum()) + 1) / (n_answers + 1) > error:
            break
        held = step
    return held
