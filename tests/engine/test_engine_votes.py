"""Votes of neighbours, against the answers that Cellarium CAS's own tests expect."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from jobs.engine.votes import OntologyVote, ontology_vote, summary_statistics, vote_weights

DISTANCES = [0.9, 0.87]
TERMS = ["CL:0000789", "CL:0000084"]
TYPES = ["alpha-beta T cell", "T cell"]
"""The one cell that the expected answers are about."""


@pytest.fixture
def ontology(data_dir: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((data_dir / "reference/cas_cell_ontology_resource_mini.json").read_text())
    return found


@pytest.fixture
def vote(ontology: dict[str, Any]) -> OntologyVote:
    return ontology_vote(DISTANCES, TERMS, ontology["ancestors_dictionary"], pruned_below=0.1)


def test_terms_and_scores_are_those_of_cas_field_for_field(
    vote: OntologyVote, ontology: dict[str, Any], data_dir: Path
) -> None:
    (expected,) = json.loads((data_dir / "reference/cas_ontology_aware_expected_response.json").read_text())
    names = ontology["cell_ontology_term_id_to_cell_type"]
    matches = [
        {"score": score, "cell_type_ontology_term_id": term, "cell_type": names[term]}
        for term, score in vote.score.items()
    ]
    assert matches == expected["matches"]
    assert vote.total_weight == pytest.approx(expected["total_weight"], rel=1e-15)
    assert vote.n_neighbours == expected["total_neighbors"]
    assert vote.n_unrecognized == expected["total_neighbors_unrecognized"]


def test_summary_statistics_are_those_of_cas_field_for_field(data_dir: Path) -> None:
    (expected,) = json.loads((data_dir / "reference/cas_summary_stats_expected_response.json").read_text())
    assert [asdict(one) for one in summary_statistics(DISTANCES, TYPES)] == expected["matches"]


def test_types_are_ordered_by_count_and_then_by_appearance() -> None:
    found = summary_statistics([0.1, 0.2, 0.3, 0.6, 0.7], ["b", "a", "c", "a", "c"])
    assert [(one.cell_type, one.cell_count) for one in found] == [("a", 2), ("c", 2), ("b", 1)]
    assert found[0].p25_distance == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("minimum", "term"), [(0.1, "CL:0000789"), (0.491526, "CL:0000789"), (0.492, "CL:0000084"), (1.1, None)]
)
def test_the_label_is_the_deepest_term_with_enough_of_the_weight(
    vote: OntologyVote, ontology: dict[str, Any], minimum: float, term: str | None
) -> None:
    assert vote.deepest(ontology["longest_path_lengths_from_cell_root"], minimum) == term


def test_of_equally_deep_terms_the_higher_score_counts_and_then_the_id() -> None:
    vote = OntologyVote({"b": 0.3, "a": 0.3, "c": 0.4, "d": 0.9}, 1.0, 3, 0)
    assert vote.deepest({"a": 2, "b": 2, "c": 2, "d": 1}, 0.2) == "c"
    assert OntologyVote({"b": 0.3, "a": 0.3}, 1.0, 3, 0).deepest({"a": 2, "b": 2}, 0.2) == "a"


@pytest.mark.parametrize(("pruned_below", "terms"), [(0.0, 15), (0.4, 14), (0.5, 13), (1.0, 13), (1.1, 0)])
def test_terms_with_less_of_the_weight_are_pruned(ontology: dict[str, Any], pruned_below: float, terms: int) -> None:
    ancestors = {**ontology["ancestors_dictionary"], "CL:0000236": ["CL:0000000"]}
    assert len(ontology_vote(DISTANCES, TERMS, ancestors, pruned_below=pruned_below).score) == terms


def test_a_neighbour_of_an_unknown_term_counts_in_the_whole_only() -> None:
    vote = ontology_vote([1.0, 1.0], ["a", "elsewhere"], {"a": ["root"], "root": []})
    assert dict(vote.score) == {"a": 0.5, "root": 0.5}
    assert (vote.n_neighbours, vote.n_unrecognized) == (2, 1)


@given(
    st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=9),
    st.sampled_from([0.5, 1.0, 3.0]),
)
def test_weights_are_those_of_the_formula(distances: list[float], prefactor: float) -> None:
    expected = np.exp(-prefactor / np.median(distances) * np.array(distances))
    found = vote_weights(torch.tensor([distances], dtype=torch.float64), prefactor)[0]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("distances", "weights"),
    [
        ([0.0], [1.0]),
        ([0.0, 0.0, 0.0], [1.0, 1.0, 1.0]),
        ([0.0, 0.0, 2.0], [1.0, 1.0, 0.0]),
        ([0.0, 2.0], [1.0, np.exp(-2.0)]),
    ],
    ids=str,
)
def test_a_median_of_nothing_leaves_the_vote_to_the_cells_that_are_the_same(
    distances: list[float], weights: list[float]
) -> None:
    assert vote_weights(torch.tensor([distances], dtype=torch.float64))[0].tolist() == pytest.approx(weights)
