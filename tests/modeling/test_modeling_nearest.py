"""The terms that are nearest to a label without one, by letters, words and abbreviations; and what takes no time."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.modeling.nearest import Near, Nearest, near_words, nearest_of
from jobs.modeling.ontology import Ontology, read_ontology


@pytest.fixture(scope="module")
def ontology(data_dir: Path) -> Ontology:
    return read_ontology(data_dir / "reference" / "cl-simple-2026-03-26.obo")


@pytest.fixture(scope="module")
def nearest(ontology: Ontology) -> Nearest:
    return Nearest.among(ontology)


@pytest.mark.parametrize(
    ("label", "term"),
    [
        ("monocytic", Near("monocyte", "CL:0000576")),
        ("Regulatory T cel", Near("regulatory T cell", "CL:0000815")),
        ("Macrophage, alveolar", Near("alveolar macrophage", "CL:0000583")),
        ("Ciliated", Near("ciliated cell", "CL:0000064")),
        ("Capillary endothelial", Near("capillary endothelial cell", "CL:0002144")),
        ("Treg", Near("regulatory T cell", "CL:0000815")),
    ],
)
def test_the_term_that_is_meant_comes_first_and_two_more_at_most_follow(
    nearest: Nearest, label: str, term: Near
) -> None:
    found = nearest.of(label)
    assert found[0] == term
    assert 1 <= len(found) <= 3
    assert len({near.id for near in found}) == len(found)


@pytest.mark.parametrize("label", ["x", "", "cluster 17", "AT2", "🦠", "++"])
def test_what_is_like_nothing_has_nothing_near(nearest: Nearest, label: str) -> None:
    assert nearest.of(label) == ()


def test_of_hundreds_of_labels_the_first_fifty_have_some(ontology: Ontology) -> None:
    found = nearest_of((f"monocyte {place}" for place in range(60)), ontology)
    assert (len(found), sum(bool(near) for near in found.values())) == (60, 50)
    assert nearest_of((), ontology) == {}


def test_words_for_people_name_the_id() -> None:
    assert near_words([Near("monocyte", "CL:0000576")]) == "; nearest: monocyte (CL:0000576)"
    assert near_words([]) == ""
