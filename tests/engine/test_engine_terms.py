"""Scores of Cell Ontology terms: the sums of the labels below them, and the votes of CAS for a neighbours bundle."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn.neighbors import NearestNeighbors

from jobs.engine.terms import PRUNED_BELOW, TermGraph, TermScorer, TermScores, graph_of
from jobs.engine.votes import ontology_vote, vote_weights
from shared.bundles.card import Label
from shared.bundles.groups import Group
from shared.bundles.kinds import NeighboursCard
from shared.bundles.terms import ROOT_ID, Term
from tests.engine.blocks import Scorer, block_of
from tests.engine.cards import make_card, make_neighbours
from tests.engine.test_engine_centroid import counts, standardised

B, T, CD4, CD8, LYMPHOCYTE, MONOCYTE = (f"CL:000000{number}" for number in range(1, 7))
LABELS = [
    Label(name="B", ontology_id=B),
    Label(name="CD4 T", ontology_id=CD4),
    Label(name="CD8 T", ontology_id=CD8),
    Label(name="monocyte", ontology_id=MONOCYTE),
]
GROUPS = [
    Group(name="T cell", ontology_id=T, labels=("CD4 T", "CD8 T")),
    Group(name="lymphocyte", ontology_id=LYMPHOCYTE, labels=("B", "CD4 T", "CD8 T")),
]


def scored(graph: TermGraph, *probability_nl: list[float], silent: tuple[int, ...] = ()) -> TermScores:
    silent_n = np.isin(np.arange(len(probability_nl)), silent)
    return TermScorer(graph).scores(np.array(probability_nl, np.float32), silent_n)


def by_term(graph: TermGraph, scores: TermScores, cell: int = 0) -> dict[str, float]:
    return {term: float(one) for term, one in zip(graph.ids, scores.score_nt[cell], strict=True) if one}


def as_terms(resource: dict[str, Any]) -> list[Term]:
    """CAS's own little ontology, parents first."""
    names, children = resource["cell_ontology_term_id_to_cell_type"], resource["children_dictionary"]
    order = sorted(names, key=resource["longest_path_lengths_from_cell_root"].__getitem__)
    return [
        Term(id=term, name=names[term], parents=tuple(one for one in order if term in children[one])) for term in order
    ]


def test_terms_scores_and_paths_are_those_of_cas(data_dir: Path) -> None:
    resource = json.loads((data_dir / "reference/cas_cell_ontology_resource_mini.json").read_text())
    (expected,) = json.loads((data_dir / "reference/cas_ontology_aware_expected_response.json").read_text())
    labels = [Label(name="ab T", ontology_id="CL:0000789"), Label(name="T", ontology_id="CL:0000084")]
    graph = graph_of(labels, (), as_terms(resource))
    assert graph.names == resource["cell_ontology_term_id_to_cell_type"]
    assert {term: set(above) for term, above in graph.ancestors.items()} == {
        term: set(above) for term, above in resource["ancestors_dictionary"].items()
    }
    assert {term: sorted(below) for term, below in graph.children.items()} == resource["children_dictionary"]
    assert graph.shortest == resource["shortest_path_lengths_from_cell_root"]
    assert graph.longest == resource["longest_path_lengths_from_cell_root"]

    weights = vote_weights(torch.tensor([[0.9, 0.87]], dtype=torch.float64))[0].tolist()
    scores = scored(graph, weights)
    matches = {one["cell_type_ontology_term_id"]: one["score"] for one in expected["matches"]}
    assert by_term(graph, scores) == pytest.approx(matches, rel=1e-7)
    assert float(scores.total_weight_n[0]) == pytest.approx(expected["total_weight"], rel=1e-7)
    assert scores.n_voters_n[0] == expected["total_neighbors"]
    assert scores.n_unrecognized_n[0] == expected["total_neighbors_unrecognized"]


def test_a_term_has_the_sum_of_the_labels_below_it() -> None:
    graph = graph_of(LABELS, GROUPS)
    found = by_term(graph, scored(graph, [0.125, 0.25, 0.5, 0.125]))
    assert found == {ROOT_ID: 1, LYMPHOCYTE: 0.875, MONOCYTE: 0.125, B: 0.125, T: 0.75, CD4: 0.25, CD8: 0.5}
    assert graph.parents == {
        ROOT_ID: (), LYMPHOCYTE: (ROOT_ID,), MONOCYTE: (ROOT_ID,), B: (LYMPHOCYTE,), T: (LYMPHOCYTE,), CD4: (T,),
        CD8: (T,),
    }  # fmt: skip
    assert list(graph.names.values()) == ["cell", "lymphocyte", "monocyte", "B", "T cell", "CD4 T", "CD8 T"]


def test_scores_that_do_not_add_up_to_1_are_shares_of_their_sum() -> None:
    graph = graph_of(LABELS, GROUPS)
    scores = scored(graph, [0.25, 0.5, 1.0, 0.25])
    assert by_term(graph, scores)[T] == 0.75
    assert scores.total_weight_n.tolist() == [2.0]
    assert scores.n_voters_n.tolist() == [4]


def test_terms_below_the_threshold_are_left_out() -> None:
    graph = graph_of(LABELS, GROUPS)
    assert by_term(graph, scored(graph, [0.04, 0.03, 0.03, 0.9])).keys() == {ROOT_ID, MONOCYTE, T, LYMPHOCYTE}


def test_a_label_without_a_term_counts_in_its_group_or_else_is_not_recognised() -> None:
    labels = [*LABELS[:2], Label(name="CD8 T"), Label(name="monocyte")]
    graph = graph_of(labels, GROUPS)
    scores = scored(graph, [0.125, 0.25, 0.5, 0.125])
    assert by_term(graph, scores) == {ROOT_ID: 0.875, LYMPHOCYTE: 0.875, B: 0.125, T: 0.75, CD4: 0.25}
    assert scores.n_unrecognized_n.tolist() == [1]
    assert scores.total_weight_n.tolist() == [1.0]


def test_of_a_cell_that_nobody_votes_on_only_the_root_is_said() -> None:
    graph = graph_of(LABELS, GROUPS)
    scores = scored(graph, [0.125, 0.25, 0.5, 0.125], [0, 0, 0, 0], silent=(0,))
    assert [by_term(graph, scores, cell) for cell in (0, 1)] == [{ROOT_ID: 1}] * 2
    assert scores.n_voters_n.tolist() == scores.n_unrecognized_n.tolist() == scores.total_weight_n.tolist() == [0, 0]


def test_a_card_s_own_terms_come_before_its_tree() -> None:
    """The tree leaves out what crosses; and an id that the terms do not have lies where the tree puts it."""
    terms = [
        Term(id=ROOT_ID, name="cell"),
        Term(id=LYMPHOCYTE, name="lymphocyte", parents=(ROOT_ID,)),
        Term(id=T, name="T lymphocyte", parents=(LYMPHOCYTE,)),
        Term(id="CL:0000009", name="naive cell", parents=(ROOT_ID,)),
        Term(id=CD4, name="naive CD4 T", parents=(T, "CL:0000009")),
        Term(id=B, name="naive B", parents=(LYMPHOCYTE, "CL:0000009")),
    ]
    graph = graph_of(LABELS, GROUPS, terms)
    assert by_term(graph, scored(graph, [0.125, 0.25, 0.5, 0.125])) == {
        ROOT_ID: 1, LYMPHOCYTE: 0.875, MONOCYTE: 0.125, "CL:0000009": 0.375, B: 0.125, T: 0.75, CD4: 0.25, CD8: 0.5,
    }  # fmt: skip
    assert (graph.names[T], graph.names[CD8]) == ("T lymphocyte", "CD8 T")
    assert (graph.shortest[CD4], graph.longest[CD4]) == (2, 3)


def test_terms_that_contradict_each_other_make_no_circle() -> None:
    labels = [Label(name="one", ontology_id=B), Label(name="two", ontology_id=T), Label(name="three")]
    groups = [
        Group(name="first", ontology_id=T, labels=("one", "three")),
        Group(name="second", ontology_id=B, labels=("one", "two", "three")),
    ]
    graph = graph_of(labels, groups)
    assert set(graph.names) == {ROOT_ID, B, T}
    assert all(term not in above for term, above in graph.ancestors.items())


@pytest.mark.parametrize(
    "terms",
    [
        [{"id": B, "name": "B"}, {"id": B, "name": "B"}],
        [{"id": B, "name": "B", "parents": [T]}, {"id": T, "name": "T", "parents": [B]}],
        [{"id": B, "name": "B", "parents": [B]}],
        [{"id": "UBERON:0000178", "name": "blood"}],
        [{"id": B, "name": " "}],
        [{"id": B, "name": "B\0"}],
    ],
)
def test_a_card_with_terms_that_are_no_ontology_is_refused(terms: list[dict[str, object]]) -> None:
    with pytest.raises(ValidationError):
        make_card(3, 4, terms=terms)


@st.composite
def graphs(draw: st.DrawFn) -> TermGraph:
    """Terms with up to three parents each, and labels at some of them or at none."""
    n_terms = draw(st.integers(1, 12))
    ids = [ROOT_ID, *(f"CL:{number:07d}" for number in range(1, n_terms))]
    terms = [Term(id=ROOT_ID, name="cell")]
    for number, term in enumerate(ids[1:], 1):
        parents = draw(st.lists(st.sampled_from(ids[:number]), min_size=1, max_size=3, unique=True))
        terms.append(Term(id=term, name=f"type {number}", parents=tuple(parents)))
    own = draw(st.lists(st.none() | st.sampled_from(ids), min_size=2, max_size=8))
    return graph_of([Label(name=f"label {place}", ontology_id=term) for place, term in enumerate(own)], (), terms)


@given(graphs(), st.integers(0, 2**16), st.booleans())
def test_every_score_is_the_share_of_the_labels_at_or_below_the_term(
    graph: TermGraph, seed: int, all_alike: bool
) -> None:
    probability_nl = np.random.default_rng(seed).dirichlet(np.ones(len(graph.term_l)), 5).astype(np.float32)
    if not all_alike:
        probability_nl *= np.random.default_rng(seed).uniform(0.1, 1, probability_nl.shape).astype(np.float32)
    scores = TermScorer(graph).scores(probability_nl, np.zeros(5, np.bool_))
    for cell, own_l in enumerate(probability_nl.astype(np.float64)):
        within = {
            term: sum(p for p, at in zip(own_l, graph.term_l, strict=True) if at and term in {at, *graph.ancestors[at]})
            for term in graph.names
        }
        expected = {term: value / own_l.sum() for term, value in within.items()}
        found = by_term(graph, scores, cell)
        assert found == pytest.approx({t: v for t, v in expected.items() if v >= PRUNED_BELOW}, rel=1e-6)
        assert all(found.get(parent, 0) >= found[term] for term in found for parent in graph.parents[term])
        if None not in graph.term_l:
            assert found[ROOT_ID] == 1


@given(graphs())
def test_a_graph_is_one_from_the_root_and_its_paths_are_those_of_its_steps(graph: TermGraph) -> None:
    assert graph.ids[0] == ROOT_ID
    assert all(ROOT_ID in graph.ancestors[term] for term in graph.ids[1:])
    place = {term: number for number, term in enumerate(graph.ids)}
    assert all(place[parent] < place[term] for term in graph.ids for parent in graph.parents[term])
    for term in graph.ids[1:]:
        steps = [(graph.shortest[parent], graph.longest[parent]) for parent in graph.parents[term]]
        assert graph.shortest[term] == 1 + min(short for short, _ in steps)
        assert graph.longest[term] == 1 + max(long for _, long in steps)
    assert all(graph.longest[one] <= graph.longest[other] for one, other in pairwise(graph.ids))


@given(graphs(), st.integers(0, 2**16))
def test_scores_do_not_depend_on_the_other_cells(graph: TermGraph, seed: int) -> None:
    probability_nl = np.random.default_rng(seed).uniform(0, 1, (7, len(graph.term_l))).astype(np.float32)
    silent_n = np.zeros(7, np.bool_)
    together = TermScorer(graph).scores(probability_nl, silent_n)
    alone = [TermScorer(graph).scores(probability_nl[i : i + 1], silent_n[:1]) for i in range(7)]
    assert np.concatenate([one.score_nt for one in alone]).tobytes() == together.score_nt.tobytes()


@settings(max_examples=30)
@given(st.integers(0, 2**16), st.integers(1, 30), st.sampled_from([0.5, 1, 3]), st.sampled_from([0.6, 1.0, 2.5]))
def test_a_neighbours_bundle_gives_the_vote_of_cas_whatever_its_temperature(
    seed: int, k: int, prefactor: float, temperature: float
) -> None:
    made, tensors = make_neighbours(4, 12, k=k, prefactor=prefactor, seed=seed)
    card = made.model_copy(update={"labels": tuple(LABELS), "tree": tuple(GROUPS), "temperature": temperature})
    counts_ng = counts(seed, 9, 12)
    annotated = Scorer.of(card, tensors, np.arange(12, dtype=np.int32), torch.device("cpu")).annotate(
        block_of(counts_ng)
    )
    scorer = TermScorer.of(card)
    found = scorer.scores(annotated.probability_nl, np.zeros(9, np.bool_))
    place_nc = standardised(counts_ng, tensors) @ tensors["projection"].double().numpy().T
    search = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(tensors["reference"].double().numpy())
    distance_nk, near_nk = search.kneighbors(place_nc)
    terms = [LABELS[int(label)].ontology_id or "" for label in tensors["reference_label"]]
    for cell, (distance_k, near_k) in enumerate(zip(distance_nk, near_nk, strict=True)):
        own = [terms[place] for place in near_k]
        vote = ontology_vote(distance_k.tolist(), own, scorer.graph.ancestors, prefactor=prefactor, pruned_below=0)
        theirs = np.array([vote.score[term] for term in scorer.graph.ids])
        clear = np.abs(theirs - PRUNED_BELOW) > 2e-3
        ours = found.score_nt[cell]
        # log1p of a float32 quotient moves a cell a little, and so its distances and their weights.
        np.testing.assert_allclose(ours[clear], np.where(theirs >= PRUNED_BELOW, theirs, 0)[clear], atol=1e-3)
        assert (found.n_voters_n[cell], found.n_unrecognized_n[cell]) == (vote.n_neighbours, vote.n_unrecognized)
    assert (found.total_weight_n == 1).all()
    assert not scorer.corrects


def test_neighbours_without_a_term_are_counted_by_their_share_of_the_votes() -> None:
    made, _ = make_neighbours(4, 12, k=9)
    labels = (*LABELS[:3], Label(name="other"))
    card = made.model_copy(update={"labels": labels})
    assert isinstance(card, NeighboursCard)
    share_nl = np.array([[0, 2, 4, 3], [9, 0, 0, 0]]) / 9
    probability_nl = ((share_nl * 9 + 1 / 4) / 10).astype(np.float32)
    scores = TermScorer.of(card).scores(probability_nl, np.zeros(2, np.bool_))
    assert scores.n_unrecognized_n.tolist() == [3, 0]
    np.testing.assert_allclose(scores.score_nt[:, 0], [6 / 9, 1], rtol=1e-6)
    assert scores.n_voters_n.tolist() == [9, 9]
