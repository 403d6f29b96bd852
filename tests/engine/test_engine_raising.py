"""Thresholds are raised for samples that are harder than the held-out cells, and never lowered."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.engine.composition import corrected, estimate
from jobs.engine.keeping import KeptScores
from jobs.engine.levels import LeastScores, Level, Lineages, lineages_of, reliable_level
from jobs.engine.raising import MOST_BYTES, MOST_CELLS, raised, raised_in_tree
from jobs.engine.tree import NOTHING, is_within, narrowest, tree_of
from jobs.modeling.reliability import as_in_use, learn_reliability, learn_tree_scores
from shared.bundles.card import Label, Reliability
from shared.bundles.groups import Group

LABELS = tuple(
    Label(name=name, lineage=lineage)
    for name, lineage in [("helper", "T"), ("memory", "T"), ("naive", "T"), ("B", "B"), ("NK", "NK")]
)
LINEAGE_L = np.array([0, 0, 0, 1, 2])
GROUPS = (Group(name="T", labels=("helper", "memory", "naive")),)
TREE = tree_of(GROUPS, LABELS)
EVEN = (0.2,) * 5
HARD = (0.5, 0.4, 0.06, 0.02, 0.02)
CENTRE_LD = np.array([[0.0, 0.0], [1.8, 0.0], [0.0, 3.0], [7.0, 0.0], [0.0, 9.0]])


def drawn(share: tuple[float, ...], n_cells: int, seed: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Calibrated probabilities of a model that assumes equal shares, corrected to the sample's, and the true labels."""
    draw = np.random.default_rng(seed)
    class_n = draw.choice(5, n_cells, p=share)
    place_nd = CENTRE_LD[class_n] + draw.normal(size=(n_cells, 2))
    density_nl = np.exp(-0.5 * ((place_nd[:, None] - CENTRE_LD) ** 2).sum(axis=2))
    probability_nl = (density_nl / density_nl.sum(axis=1, keepdims=True)).astype(np.float32)
    found = estimate([(probability_nl, np.ones(n_cells, np.bool_))], EVEN, n_cells)
    return corrected(probability_nl, found.factor_l), class_n


def wrong_in_tree(
    probability_nl: npt.NDArray[np.float32], class_n: npt.NDArray[np.int64], least: float | None
) -> float:
    best_n = probability_nl.argmax(axis=1)
    place_n = narrowest(probability_nl, best_n, probability_nl.max(axis=1), TREE, least)
    return float(((place_n != NOTHING) & ~is_within(place_n, class_n, TREE)).mean())


@pytest.mark.parametrize("error", [0.02, 0.05])
def test_a_hard_sample_holds_the_rate_that_was_learned_on_an_even_one(error: float) -> None:
    held_nl, held_n = drawn(EVEN, 4_000, 0)
    learned = next(one for one in learn_tree_scores(held_nl, held_n, LABELS, GROUPS) if one.error == error)
    hard_nl, hard_n = drawn(HARD, 20_000, 1)
    found = raised_in_tree(learned, hard_nl, hard_nl.max(axis=1), TREE)
    assert wrong_in_tree(hard_nl, hard_n, learned.tree_score) > 1.3 * error
    assert error - 0.01 <= wrong_in_tree(hard_nl, hard_n, found.tree_score) <= error + 0.005


def test_labels_and_lineages_of_a_hard_sample_hold_it_too() -> None:
    held_nl, held_n = drawn(EVEN, 4_000, 0)
    learned = next(one for one in learn_reliability(held_nl, held_n, LABELS) if one.error == 0.05)
    hard_nl, hard_n = drawn(HARD, 20_000, 1)
    lineages = lineages_of(hard_nl, LINEAGE_L, 3)

    def wrong(thresholds: Reliability) -> float:
        level_n = reliable_level(hard_nl.max(axis=1), lineages, LeastScores.of([thresholds]))
        labelled_n = level_n == Level.LABEL
        return float((hard_nl.argmax(axis=1) != hard_n)[labelled_n].mean())

    found = raised(learned, hard_nl.max(axis=1), lineages)
    assert wrong(learned) > 0.06
    assert 0.04 <= wrong(found) <= 0.055
    assert found.lineage_score == learned.lineage_score, "lineages are as easy as before"


@given(st.integers(0, 50), st.integers(1, 300), st.sampled_from([0.0, 0.3, 0.62, 0.99, 1.0]))
def test_no_threshold_is_lowered_and_the_least_one_that_holds_the_rate_is_taken(
    seed: int, n_cells: int, learned: float
) -> None:
    draw = np.random.default_rng(seed)
    probability_nl = draw.dirichlet(np.full(5, 0.3), n_cells).astype(np.float32)
    before = Reliability(error=0.05, label_score=None, lineage_score=None, tree_score=learned)
    found = raised_in_tree(before, probability_nl, probability_nl.max(axis=1), TREE).tree_score

    def expected(least: float) -> float:
        best_n = probability_nl.argmax(axis=1)
        place_n = narrowest(probability_nl, best_n, probability_nl.max(axis=1), TREE, least)
        score_n = np.where(place_n == 5, np.minimum(probability_nl[:, :3].astype(np.float64).sum(axis=1), 1), 0)
        for label in range(5):
            score_n = np.where(place_n == label, probability_nl[:, label], score_n)
        return float((1 - score_n)[place_n != NOTHING].sum() / n_cells)

    steps = [step / 100 for step in range(101) if step / 100 >= learned - 1e-9]
    held = [step for step in steps if expected(step) <= 0.05 + 1e-9]
    assert found == (pytest.approx(held[0]) if held else None)


def test_without_cells_or_a_threshold_nothing_changes() -> None:
    none = Reliability(error=0.05, label_score=None, lineage_score=None, tree_score=None)
    some, hard_nl = none.model_copy(update={"tree_score": 0.5}), drawn(HARD, 100, 0)[0]
    assert raised_in_tree(some, np.zeros((0, 5), np.float32), np.zeros(0, np.float32), TREE) == some
    assert raised_in_tree(none, hard_nl, hard_nl.max(axis=1), TREE) == none
    assert raised(none, np.full(10, 0.1, np.float32), None) == none
    label = none.model_copy(update={"label_score": 0.5, "lineage_score": 0.5})
    assert raised(label, np.zeros(0, np.float32), None) == label


def test_the_scores_of_evenly_spaced_cells_are_kept_whatever_the_pieces() -> None:
    n_cells = 2 * MOST_CELLS + 6
    probability_nl = np.arange(n_cells, dtype=np.float32)[:, None]
    used_n = np.arange(n_cells) % 5 != 0
    wanted = [row for row in range(0, n_cells, 3) if row % 5]
    for cuts in ([], [7, 4_000, 4_001]):
        kept, bounds = KeptScores(n_cells, 1, MOST_CELLS, MOST_BYTES), [0, *cuts, n_cells]
        pairs = list(pairwise(bounds))
        pieces = [(probability_nl[start:stop], used_n[start:stop]) for start, stop in pairs]
        assert [len(piece) for piece, _ in kept.watch(pieces)] == [stop - start for start, stop in pairs]
        assert kept.whole.row_m.tolist() == wanted
        assert kept.whole.probability_ml[:, 0].tolist() == wanted


def test_held_out_scores_are_corrected_as_those_of_a_run() -> None:
    draw = np.random.default_rng(0)
    class_n = draw.choice(5, 3_000, p=HARD)
    place_nd = CENTRE_LD[class_n] + draw.normal(size=(3_000, 2))
    density_nl = np.exp(-0.5 * ((place_nd[:, None] - CENTRE_LD) ** 2).sum(axis=2))
    plain_nl = (density_nl / density_nl.sum(axis=1, keepdims=True)).astype(np.float32)
    found = as_in_use(plain_nl, EVEN)
    assert found[:, 0].mean() > plain_nl[:, 0].mean() + 0.02
    np.testing.assert_array_equal(found, drawn(HARD, 3_000, 0)[0])
    assert as_in_use(plain_nl, ()) is plain_nl


def test_of_a_model_with_many_labels_fewer_cells_are_kept() -> None:
    n_labels, n_cells = 2_000, 10_000
    kept = KeptScores(n_cells, n_labels, MOST_CELLS, MOST_BYTES)
    piece = (np.zeros((n_cells, n_labels), np.float32), np.ones(n_cells, np.bool_))
    for _ in kept.watch([piece]):
        pass
    assert MOST_BYTES // 2 < kept.whole.probability_ml.nbytes <= MOST_BYTES


def test_a_threshold_between_hundredths_is_raised_to_the_next_one_that_holds() -> None:
    score_n = np.array([0.62, 0.625, 0.63, 0.95, 0.99], np.float32)
    for learned, wanted in [(0.621, 0.64), (0.6, 0.64), (0.955, 0.955), (0.64, 0.64)]:
        before = Reliability(error=0.05, label_score=learned, lineage_score=None)
        assert raised(before, score_n, None).label_score == wanted


def test_cells_that_lose_their_label_keep_a_sure_lineage() -> None:
    """So few held-out cells had no label that no threshold of lineages was learned."""
    learned = Reliability(error=0.1, label_score=0.4, lineage_score=None)
    score_n, code_n = np.full(100, 0.5, np.float32), np.zeros(100, np.int64)
    found = raised(learned, score_n, Lineages(code_n, np.ones(100, np.float32)))
    assert (found.label_score, found.lineage_score) == (0.51, 0.5)
    unsure = raised(learned, score_n, Lineages(code_n, np.full(100, 0.7, np.float32)))
    assert (unsure.label_score, unsure.lineage_score) == (0.51, 0.71)
    easy = raised(learned, np.full(100, 0.99, np.float32), Lineages(code_n, np.ones(100, np.float32)))
    assert easy == learned


def test_the_rate_of_lineages_is_that_of_the_cells_without_a_label() -> None:
    learned = Reliability(error=0.1, label_score=0.4, lineage_score=0.3)
    label_n = np.repeat(np.array([0.95, 0.1], np.float32), 50)
    lineage_n = np.repeat(np.array([0.99, 0.8], np.float32), 50)
    lineages = Lineages(np.zeros(100, np.int64), lineage_n)
    assert raised(learned, label_n, lineages).lineage_score == 0.81
    assert raised(learned, label_n, Lineages(lineages.code_n, np.ones(100, np.float32))) == learned


def test_cells_that_get_no_label_do_not_count_as_labelled() -> None:
    learned = Reliability(error=0.05, label_score=None, lineage_score=None, tree_score=0.5)
    probability_nl = np.tile(np.array([[0.6, 0.01, 0.01, 0.37, 0.01]], np.float32), (10, 1))
    labelled = raised_in_tree(learned, probability_nl, probability_nl.max(axis=1), TREE)
    assert labelled.tree_score == 0.63  # Above the label and its group.
    sure_nl = np.tile(np.array([[0.6, 0.2, 0.19, 0.005, 0.005]], np.float32), (10, 1))
    assert raised_in_tree(learned, sure_nl, sure_nl.max(axis=1), TREE).tree_score == 0.61
    assert raised_in_tree(learned, sure_nl, np.full(10, -1, np.float32), TREE) == learned, "all get the group"
