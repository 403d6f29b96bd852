"""The narrowest reliable type in a tree of labels: what holds for every tree and every cell."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.engine.levels import Level, level_of_place, lineages_of
from jobs.engine.tree import NOTHING, Tree, is_within, narrowest, placing, tree_of
from shared.bundles.card import UNASSIGNED, Label
from shared.bundles.groups import Group, check_tree

LABELS = tuple(
    Label(name=name, lineage=lineage)
    for name, lineage in [("naive", "T"), ("memory", "T"), ("killer", "T"), ("B", "B"), ("NK", "NK"), ("mono", "M")]
)
GROUPS = (
    Group(name="CD4", labels=("naive", "memory")),
    Group(name="T", labels=("naive", "memory", "killer")),
    Group(name="lymphocyte", labels=("naive", "memory", "killer", "B", "NK")),
)
TREE = tree_of(GROUPS, LABELS)
CD4, T, LYMPHOCYTE = 6, 7, 8


def group_scores(probability_nl: npt.NDArray[np.float32], tree: Tree) -> npt.NDArray[np.float32]:
    return placing(probability_nl, probability_nl.argmax(axis=1), probability_nl.max(axis=1), tree).score_ng


def places(probability_nl: npt.NDArray[np.float32], least: float | None, tree: Tree = TREE) -> list[int]:
    found = narrowest(probability_nl, probability_nl.argmax(axis=1), probability_nl.max(axis=1), tree, least)
    return [int(place) for place in found]


@pytest.mark.parametrize(
    ("probabilities", "least", "place"),
    [
        ((0.9, 0.1, 0, 0, 0, 0), 0.8, 0),
        ((0.6, 0.3, 0.1, 0, 0, 0), 0.8, CD4),
        ((0.5, 0.25, 0.25, 0, 0, 0), 0.75, CD4),
        ((0.5, 0.25, 0.25, 0, 0, 0), 0.5, 0),
        ((0.4, 0.2, 0.3, 0.1, 0, 0), 0.8, T),
        ((0.3, 0.1, 0.1, 0.4, 0, 0.1), 0.8, LYMPHOCYTE),
        ((0.2, 0.1, 0.1, 0.2, 0, 0.4), 0.8, NOTHING),
        ((0.2, 0.2, 0.2, 0.4, 0, 0), 0.55, T),  # The best label is B, but T cells are more probable than all others.
        ((0.2, 0.2, 0.2, 0.4, 0, 0), 0.3, T),
        ((0.1, 0.1, 0.1, 0.4, 0.1, 0.2), 0.3, 3),  # No group but lymphocyte is probable, and B is one.
        ((0.2, 0.2, 0.05, 0.3, 0, 0.25), None, NOTHING),
    ],
)
def test_the_narrowest_type_with_enough_is_given(
    probabilities: tuple[float, ...], least: float | None, place: int
) -> None:
    assert places(np.array([probabilities], np.float32), least) == [place]


def test_a_cell_that_may_get_no_label_can_get_a_group() -> None:
    sure = np.array([[0.95, 0.05, 0, 0, 0, 0]], np.float32)
    found = narrowest(sure, np.array([0]), np.array([-1.0], np.float32), TREE, 0.9)
    assert found.tolist() == [CD4]


def test_no_group_has_a_score_above_one() -> None:
    above = np.array([[0.5, 0.5 + 1e-6, 0, 0, 0, 0]], np.float32)  # What rounding makes of it.
    assert group_scores(above, TREE).tolist() == [[1.0, 1.0, 1.0]]


def test_levels_follow_from_places() -> None:
    found = level_of_place(np.array([0, CD4, T, LYMPHOCYTE, NOTHING]), TREE)
    assert found.tolist() == [Level.LABEL, Level.GROUP, Level.LINEAGE, Level.GROUP, Level.NONE]


# --- Any tree, any cells ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Forest:
    labels: tuple[Label, ...]
    groups: tuple[Group, ...]
    probability_nl: npt.NDArray[np.float32]

    @property
    def tree(self) -> Tree:
        return tree_of(self.groups, self.labels)


@st.composite
def forests(draw: st.DrawFn) -> Forest:
    """Labels that are joined two branches at a time, some of the joints being groups, and cells of all kinds."""
    n_labels = draw(st.integers(3, 9))
    names = [f"label {place}" for place in range(n_labels)]
    branches = [frozenset([name]) for name in names]
    kept: list[frozenset[str]] = []
    while len(branches) > 2:
        one = branches.pop(draw(st.integers(0, len(branches) - 1)))
        other = branches.pop(draw(st.integers(0, len(branches) - 1)))
        branches.append(one | other)
        if draw(st.booleans()):
            kept.append(branches[-1])
    groups = tuple(
        Group(name=f"group {place}", labels=tuple(sorted(members)))
        for place, members in enumerate(sorted(kept, key=len))
    )
    weights = draw(st.lists(st.lists(st.integers(0, 20), min_size=n_labels, max_size=n_labels), min_size=1, max_size=8))
    weight_nl = np.array(weights, np.float64) + 1e-3
    probability_nl = (weight_nl / weight_nl.sum(axis=1, keepdims=True)).astype(np.float32)
    return Forest(tuple(Label(name=name) for name in names), groups, probability_nl)


def members(forest: Forest, place: int) -> set[str]:
    names = {label.name for label in forest.labels}
    if place == NOTHING:
        return names
    n_labels = len(forest.labels)
    return {forest.labels[place].name} if place < n_labels else set(forest.groups[place - n_labels].labels)


@given(forests())
def test_a_group_has_at_least_the_score_of_what_is_within_it(forest: Forest) -> None:
    score_ng = group_scores(forest.probability_nl, forest.tree)
    check_tree(forest.groups, {label.name: None for label in forest.labels}, UNASSIGNED)
    for place, group in enumerate(forest.groups):
        for inner, other in enumerate(forest.groups):
            if set(other.labels) <= set(group.labels):
                assert (score_ng[:, inner] <= score_ng[:, place] + 1e-9).all()
        own = [label.name in group.labels for label in forest.labels]
        np.testing.assert_allclose(score_ng[:, place], forest.probability_nl[:, own].sum(axis=1), atol=1e-6)


@given(forests(), st.integers(0, 100), st.integers(0, 100))
def test_a_higher_score_asked_for_gives_the_same_answer_or_one_around_it(forest: Forest, one: int, other: int) -> None:
    low, high = sorted([one / 100, other / 100])
    for narrow, wide in zip(
        places(forest.probability_nl, low, forest.tree), places(forest.probability_nl, high, forest.tree), strict=True
    ):
        assert members(forest, narrow) <= members(forest, wide)


@given(forests(), st.integers(0, 100))
def test_an_answer_has_the_score_and_contradicts_no_probable_group(forest: Forest, asked: int) -> None:
    least = asked / 100
    score_ng = group_scores(forest.probability_nl, forest.tree)
    for cell, place in enumerate(places(forest.probability_nl, least, forest.tree)):
        if place == NOTHING:
            continue
        inside = members(forest, place)
        share = forest.probability_nl[cell, [label.name in inside for label in forest.labels]].sum(dtype=np.float64)
        assert share >= least - 1e-6
        for group, score in zip(forest.groups, score_ng[cell], strict=True):
            assert score <= 0.5 or inside & set(group.labels), "apart from what is more probable than not"


@given(forests(), st.integers(51, 100))
def test_no_group_within_an_answer_would_have_been_enough(forest: Forest, asked: int) -> None:
    score_ng = group_scores(forest.probability_nl, forest.tree)
    for cell, place in enumerate(places(forest.probability_nl, asked / 100, forest.tree)):
        for group, score in zip(forest.groups, score_ng[cell], strict=True):
            assert score < np.float32(asked / 100) or not set(group.labels) < members(forest, place)


@given(forests(), st.integers(0, 100))
def test_a_cell_is_answered_by_its_own_numbers_alone(forest: Forest, asked: int) -> None:
    alone = [
        places(forest.probability_nl[[cell]], asked / 100, forest.tree)[0] for cell in range(len(forest.probability_nl))
    ]
    assert alone == places(forest.probability_nl, asked / 100, forest.tree)


@given(forests())
def test_a_label_is_within_its_place_and_its_groups_and_nothing_else(forest: Forest) -> None:
    n_places = len(forest.labels) + len(forest.groups)
    for place in (NOTHING, *range(n_places)):
        found = is_within(np.full(len(forest.labels), place), np.arange(len(forest.labels)), forest.tree)
        expected = [place != NOTHING and label.name in members(forest, place) for label in forest.labels]
        assert found.tolist() == expected


@given(st.lists(st.lists(st.integers(0, 20), min_size=6, max_size=6).filter(any), min_size=1, max_size=8))
def test_a_lineage_or_a_type_within_one_is_that_of_the_most_probable_lineage(weights: list[list[int]]) -> None:
    weight_nl = np.array(weights, np.float64)
    probability_nl = (weight_nl / weight_nl.sum(axis=1, keepdims=True)).astype(np.float32)
    best = lineages_of(probability_nl, np.array([0, 0, 0, 1, 2, 3]), 4)
    for cell, place in enumerate(places(probability_nl, 0.5)):
        if place in {CD4, T}:
            assert best.code_n[cell] == 0


# --- Ties and rounding --------------------------------------------------------------------------------------------


@st.composite
def tied_forests(draw: st.DrawFn) -> Forest:
    """Labels of which many have the same probability, and float32 probabilities that add up to 1 only nearly."""
    forest = draw(forests())
    n_labels = len(forest.labels)
    weights = draw(st.lists(st.lists(st.integers(0, 2), min_size=n_labels, max_size=n_labels), min_size=1, max_size=8))
    weight_nl = np.array(weights, np.float64) + draw(st.sampled_from([1e-9, 1e-3, 1.0]))
    exact_nl = weight_nl / weight_nl.sum(axis=1, keepdims=True)
    nearly_nl = exact_nl * (1 + draw(st.integers(-3, 3)) * 6e-8)
    return Forest(forest.labels, forest.groups, np.minimum(nearly_nl, 1).astype(np.float32))


def named_places(forest: Forest, best: list[str], least: float) -> list[str]:
    """The names of the places, for cells with these best labels."""
    names = [label.name for label in forest.labels]
    best_n = np.array([names.index(name) for name in best])
    score_n = forest.probability_nl[np.arange(len(best)), best_n]
    found = narrowest(forest.probability_nl, best_n, score_n, forest.tree, least)
    every = [*names, *(group.name for group in forest.groups), "nothing"]
    return [every[place] for place in found.tolist()]


@given(tied_forests(), st.integers(0, 100), st.randoms(use_true_random=False))
def test_the_order_of_labels_and_of_groups_changes_no_answer(forest: Forest, asked: int, random: Random) -> None:
    names = [label.name for label in forest.labels]
    best = [names[place] for place in forest.probability_nl.argmax(axis=1)]
    order = random.sample(range(len(names)), len(names))
    shuffled = random.sample(forest.groups, len(forest.groups))
    other = Forest(
        tuple(forest.labels[place] for place in order),
        tuple(sorted(shuffled, key=lambda group: len(group.labels))),
        forest.probability_nl[:, order],
    )
    assert named_places(other, best, asked / 100) == named_places(forest, best, asked / 100)


@given(tied_forests())
def test_scores_are_at_most_one_and_no_lower_than_within_to_the_last_bit(forest: Forest) -> None:
    score_ng = group_scores(forest.probability_nl, forest.tree)
    assert (score_ng <= 1.0).all()
    alone = [Group(name=label.name, labels=(label.name, label.name)) for label in forest.labels]
    score_nl = group_scores(forest.probability_nl, tree_of(alone, forest.labels))
    names = [label.name for label in forest.labels]
    for place, group in enumerate(forest.groups):
        assert (score_ng[:, [place]] >= score_nl[:, [names.index(name) for name in group.labels]]).all()
        within = [inner for inner, other in enumerate(forest.groups) if set(other.labels) <= set(group.labels)]
        assert (score_ng[:, [place]] >= score_ng[:, within]).all()


@given(tied_forests(), st.integers(0, 100))
def test_a_cell_whose_label_is_enough_gets_at_least_a_group_of_it(forest: Forest, asked: int) -> None:
    least = asked / 100
    score_ng = group_scores(forest.probability_nl, forest.tree)
    best_n = forest.probability_nl.argmax(axis=1)
    score_n = forest.probability_nl.max(axis=1)
    found = narrowest(forest.probability_nl, best_n, score_n, forest.tree, least)
    inside = forest.tree.member_gl[:, best_n].T & (score_ng > 0.5)
    for cell, place in enumerate(found.tolist()):
        if place == best_n[cell]:
            assert (score_ng[cell, inside[cell]] >= np.float32(least)).all()


def test_two_groups_apart_are_never_both_more_probable_than_not() -> None:
    half = np.nextafter(np.float32(0.5), np.float32(1))
    labels = tuple(Label(name=name) for name in "abcd")
    tree = tree_of((Group(name="ab", labels=("a", "b")), Group(name="cd", labels=("c", "d"))), labels)
    both = np.array([[half, 0, half, 0]], np.float32)
    assert places(both, 0.4, tree) == [0]  # Neither pair is likely, so nothing stands against the best label.
    assert group_scores(both, tree).tolist() == [[0.5, 0.5]]
