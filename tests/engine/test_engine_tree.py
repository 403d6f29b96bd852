"""The narrowest reliable type in a tree of labels: what holds for every tree and every cell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.engine.levels import Level, level_of_place, lineages_of
from jobs.engine.tree import NOTHING, Tree, group_scores, is_within, narrowest, tree_of
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
