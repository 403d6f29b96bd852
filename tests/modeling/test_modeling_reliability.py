"""The thresholds of reliable labels hold their error rate on cells that they were not learned from."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from jobs.engine.levels import LeastScores, Level, lineages_of, reliable_level
from jobs.modeling.reliability import learn_reliability
from shared.bundles.card import Label
from shared.domain.options import ERROR_RATES

LABELS = tuple(
    Label(name=name, lineage=lineage)
    for name, lineage in [("helper", "T"), ("memory", "T"), ("naive", "T"), ("B", "B"), ("NK", "NK")]
)
LINEAGE_L = np.array([0, 0, 0, 1, 2])


def drawn(n_cells: int, seed: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Probabilities and labels: the three T cells are hard to tell apart, and 2 % of the cells are another lineage."""
    draw = np.random.default_rng(seed)
    centre_ld = np.array([[0.0, 0.0], [1.5, 0.0], [0.0, 1.5], [7.0, 0.0], [0.0, 7.0]])
    class_n = draw.integers(0, 5, n_cells)
    place_nd = centre_ld[class_n] + draw.normal(size=(n_cells, 2))
    place_nd[: n_cells // 50] = centre_ld[(class_n[: n_cells // 50] + 2) % 5]
    density_nl = np.exp(-0.5 * ((place_nd[:, None] - centre_ld) ** 2).sum(axis=2))
    return (density_nl / density_nl.sum(axis=1, keepdims=True)).astype(np.float32), class_n


def answers(labels: tuple[Label, ...], error: float) -> tuple[float, float]:
    """The share of wrong answers on fresh cells, and the share of cells that get an answer."""
    known = {one.error: one for one in learn_reliability(*drawn(4_000, 0), labels)}
    probability_nl, class_n = drawn(40_000, 1)
    lineages = lineages_of(probability_nl, LINEAGE_L, 3) if labels[0].lineage else None
    best_n = probability_nl.argmax(axis=1)
    level_n = reliable_level(probability_nl.max(axis=1), lineages, LeastScores.of([known[error]]))
    right_n = np.where(level_n == Level.LABEL, best_n == class_n, False)
    if lineages is not None:
        right_n = np.where(level_n == Level.LINEAGE, lineages.code_n == LINEAGE_L[class_n], right_n)
    answered_n = level_n != Level.NONE
    return float((answered_n & ~right_n).sum() / max(answered_n.sum(), 1)), float(answered_n.mean())


@pytest.mark.parametrize("error", [0.05, 0.1, 0.2])
@pytest.mark.parametrize("with_lineages", [True, False])
def test_a_requested_error_rate_is_held_within_a_point(error: float, with_lineages: bool) -> None:
    labels = LABELS if with_lineages else tuple(Label(name=label.name) for label in LABELS)
    wrong, answered = answers(labels, error)
    assert wrong <= error + 0.01
    assert wrong >= error - 0.03, "no more cells are left without a label than the rate asks for"
    assert answered > 0.3


def test_lineages_answer_for_cells_whose_label_is_not_reliable() -> None:
    with_lineages = answers(LABELS, 0.05)[1]
    without = answers(tuple(Label(name=label.name) for label in LABELS), 0.05)[1]
    assert with_lineages > without + 0.2


def test_lower_rates_ask_for_higher_scores() -> None:
    found = learn_reliability(*drawn(4_000, 0), LABELS)
    assert tuple(one.error for one in found) == ERROR_RATES
    scores = [1.01 if one.label_score is None else one.label_score for one in found]
    assert scores == sorted(scores, reverse=True)


def test_few_cells_tell_nothing() -> None:
    assert learn_reliability(*drawn(49, 0), LABELS) == ()
