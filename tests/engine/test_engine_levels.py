"""The most specific answer that is reliable: label, lineage, or none."""

from __future__ import annotations

import numpy as np
import pytest

from jobs.engine.levels import LeastScores, Level, Lineages, lineages_of, reliable_level
from shared.bundles.card import Reliability

ASKED = Reliability(error=0.05, label_score=0.8, lineage_score=0.6)


def lineages(*scores: float) -> Lineages:
    return Lineages(np.zeros(len(scores), np.int64), np.array(scores, np.float32))


def levels(score: float, lineage_score: float | None, asked: Reliability = ASKED) -> Level:
    found = reliable_level(
        np.array([score], np.float32),
        None if lineage_score is None else lineages(lineage_score),
        LeastScores.of([asked]),
    )
    return Level(int(found[0]))


@pytest.mark.parametrize(
    ("score", "lineage_score", "level"),
    [
        (0.9, 0.95, Level.LABEL),
        (0.8, 0.9, Level.LABEL),
        (0.79, 0.9, Level.LINEAGE),
        (0.5, 0.6, Level.LINEAGE),
        (0.5, 0.59, Level.NONE),
        (0.9, None, Level.LABEL),
        (0.5, None, Level.NONE),
    ],
)
def test_a_score_that_reaches_its_threshold_is_enough(score: float, lineage_score: float | None, level: Level) -> None:
    assert levels(score, lineage_score) is level


@pytest.mark.parametrize(("lineage_score", "level"), [(0.49, Level.NONE), (0.5, Level.LINEAGE), (0.51, Level.LINEAGE)])
def test_a_lineage_below_one_half_is_not_reliable_whatever_was_learned(lineage_score: float, level: Level) -> None:
    assert levels(0.2, lineage_score, Reliability(error=0.2, label_score=None, lineage_score=0.1)) is level


@pytest.mark.parametrize(
    ("asked", "level"),
    [
        (Reliability(error=0.05, label_score=None, lineage_score=0.6), Level.LINEAGE),
        (Reliability(error=0.05, label_score=0.8, lineage_score=None), Level.LABEL),
        (Reliability(error=0.05, label_score=None, lineage_score=None), Level.NONE),
    ],
)
def test_a_level_for_which_nothing_was_learned_is_never_given(asked: Reliability, level: Level) -> None:
    assert levels(1.0, 1.0, asked) is level


def test_a_lineage_has_the_sum_of_its_labels_and_ties_go_to_the_first() -> None:
    probability_nl = np.array([[0.25, 0.5, 0.25], [0.2, 0.7, 0.1], [0.1, 0.8, 0.1]], np.float32)
    found = lineages_of(probability_nl, np.array([0, 1, 0]), 2)
    assert found.code_n.tolist() == [0, 1, 1]
    assert found.score_n.tolist() == pytest.approx([0.5, 0.7, 0.8])


def test_no_lineage_has_a_score_above_one() -> None:
    above = np.array([[0.5, 0.5 + 1e-6]], np.float32)  # What rounding makes of it.
    assert lineages_of(above, np.array([0, 0]), 1).score_n.tolist() == [1.0]


def test_a_file_keeps_levels_as_these_numbers() -> None:
    assert [(level.name, level.value) for level in Level] == [("LABEL", 0), ("LINEAGE", 1), ("NONE", 2), ("GROUP", 3)]
