"""The vote of several models: against a brute force over the ontology, and by what must hold of any vote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.engine.cell_types import NO_TYPE, CellTypes
from jobs.engine.consensus import Counting, Relation, relation, vote
from shared.bundles.card import Label, ModelCard, Training
from shared.bundles.common_sources import common_sources
from shared.bundles.groups import Group
from shared.bundles.terms import ROOT_ID, Term
from tests.engine.cards import make_card

Ontology = Mapping[str, tuple[str, ...]]
"""The parents of each term by id, parents first."""
SETTINGS = settings(deadline=None, max_examples=200)


def term_id(number: int) -> str:
    return f"CL:{number:07d}"


@st.composite
def ontologies(draw: st.DrawFn) -> Ontology:
    """A root and up to 12 terms, each below one or more of those before it."""
    found: dict[str, tuple[str, ...]] = {ROOT_ID: ()}
    for number in range(1, draw(st.integers(2, 12)) + 1):
        above = draw(st.lists(st.sampled_from(sorted(found)), min_size=1, max_size=3, unique=True))
        found[term_id(number)] = tuple(above)
    return found


def way_up(ontology: Ontology, term: str) -> set[str]:
    """The term and all above it, found by walking."""
    return {term}.union(*(way_up(ontology, parent) for parent in ontology[term]))


def steps(ontology: Ontology, term: str) -> int:
    """The length of the longest of all ways to the root."""
    return max((1 + steps(ontology, parent) for parent in ontology[term]), default=0)


def card_of(ontology: Ontology, labels: Sequence[str]) -> ModelCard:
    """A model of these terms, with the part of the ontology above them. Its labels are called as the terms."""
    carried = set[str]().union(*(way_up(ontology, term) for term in labels))
    terms = tuple(Term(id=term, name=f"type {term}", parents=ontology[term]) for term in ontology if term in carried)
    named = tuple(Label(name=f"type {term}", ontology_id=term) for term in labels)
    return make_card(len(labels), 3, labels=named, terms=terms)


def brute_force(ontology: Ontology, said: Sequence[str | None]) -> tuple[str | None, int]:
    """The consensus by its definition: every term is asked how many models' labels are kinds of it."""
    for_term = {
        term: sum(label is not None and term in way_up(ontology, label) for label in said)
        for term in ontology
        if term != ROOT_ID
    }
    most = [term for term, votes in for_term.items() if Fraction(votes, len(said)) > Fraction(1, 2)]
    if not most:
        return None, 0
    deepest = [term for term in most if steps(ontology, term) == max(steps(ontology, one) for one in most)]
    best = min(deepest, key=lambda term: (-for_term[term], f"type {term}"))
    return best, for_term[best]


def related_by_force(ontology: Ontology, models: Sequence[Sequence[str]], said: Sequence[str | None]) -> Relation:
    """How labels agree, by walking up from each of every two. What a known type is both of, is not different."""
    ways = {term: way_up(ontology, term) for term in said if term}
    carried = set[str]().union(*(way_up(ontology, term) for labels in models for term in labels))
    apart = [{one, other} for one in ways for other in ways if one not in ways[other] and other not in ways[one]]
    both = [pair for pair in apart if any(pair <= way_up(ontology, term) for term in carried)]
    if len(both) < len(apart):
        return Relation.DIFFERENT
    if both:
        return Relation.NOT_COMPARABLE
    if None in said:
        return Relation.UNSAID
    return Relation.SAME if len(set(said)) == 1 else Relation.WIDER


@st.composite
def votes(draw: st.DrawFn) -> tuple[Ontology, list[list[str]], list[list[str | None]]]:
    """An ontology, the labels of two to five models, and what each says of some cells."""
    ontology = draw(ontologies())
    known = [term for term in ontology if term != ROOT_ID]
    labels = st.lists(st.sampled_from(known), min_size=2, max_size=len(known), unique=True)
    models = draw(st.lists(labels, min_size=2, max_size=5))
    cell = st.tuples(*(st.sampled_from([*own, None]) for own in models))
    return ontology, models, [list(one) for one in draw(st.lists(cell, min_size=1, max_size=6))]


def types_said(types: CellTypes, said: Sequence[str | None]) -> list[int]:
    return [NO_TYPE if term is None else own[f"type {term}"] for own, term in zip(types.type_of, said, strict=True)]


@SETTINGS
@given(votes())
def test_the_vote_is_that_of_a_brute_force_over_the_ontology(
    drawn: tuple[Ontology, list[list[str]], list[list[str | None]]],
) -> None:
    ontology, models, cells = drawn
    types = CellTypes.of([card_of(ontology, labels) for labels in models])
    type_nm = np.array([types_said(types, said) for said in cells], np.int64)
    agreed = Counting(types).agreed(type_nm)
    found = np.stack([agreed.type_n, agreed.votes_n, agreed.relation_n], axis=1).tolist()
    for said, type_m, (won, n_votes, related) in zip(cells, type_nm.tolist(), found, strict=True):
        assert (None if won == NO_TYPE else types.ids[won], n_votes) == brute_force(ontology, said)
        assert vote(types, type_m) == (won, n_votes)
        assert related == related_by_force(ontology, models, said)


@SETTINGS
@given(votes())
def test_what_must_hold_of_any_vote(drawn: tuple[Ontology, list[list[str]], list[list[str | None]]]) -> None:
    ontology, models, cells = drawn
    types = CellTypes.of([card_of(ontology, labels) for labels in models])
    for said in cells:
        type_m = types_said(types, said)
        won, n_votes = vote(types, type_m)
        assert n_votes == 0 or 2 * n_votes > len(said)
        if won != NO_TYPE:
            assert types.ids[won] != ROOT_ID
            assert n_votes == sum(one != NO_TYPE and won in types.within[one] for one in type_m)
        if len(set(said)) == 1 and said[0] is not None:
            assert (won, n_votes) == (type_m[0], len(said))
        for order in list(permutations(type_m))[:6]:
            assert vote(types, order) == (won, n_votes), "the order of the models changed the vote"


# --- Models without an ontology -------------------------------------------------------------------------------------


def named(*labels: str | tuple[str, str | None] | tuple[str, str | None, str]) -> ModelCard:
    """A model of labels: a name, or a name and an id, or these and a lineage."""
    made = [(label,) if isinstance(label, str) else label for label in labels]
    return make_card(
        len(labels),
        3,
        labels=tuple(
            Label(name=one[0], ontology_id=one[1] if len(one) > 1 else None, lineage=one[2] if len(one) > 2 else None)
            for one in made
        ),
    )


def winner(cards: Sequence[ModelCard], *said: str) -> str | None:
    types = CellTypes.of(cards)
    won, _ = vote(types, [own.get(name, NO_TYPE) for own, name in zip(types.type_of, said, strict=True)])
    return None if won == NO_TYPE else types.names[won]


def test_labels_without_ids_are_aligned_by_name() -> None:
    cards = [named("B cells", "NK cells"), named("B cell", "NK"), named("b-cell", "Platelet")]
    assert winner(cards, "B cells", "B cell", "b-cell") == "B cells", "under the main model's name"
    assert winner(cards, "NK cells", "NK", "Platelet") == "NK cells"
    assert winner(cards, "B cells", "NK", "Platelet") is None


def test_a_label_without_an_id_stands_for_the_term_of_another_model() -> None:
    cards = [named("NK cells", "B cells"), named(("NK cell", "CL:0000623"), ("B cell", "CL:0000236"))]
    types = CellTypes.of(cards)
    assert winner(cards, "NK cells", "NK cell") == "NK cells"
    assert types.ids[types.type_of[0]["NK cells"]] == "CL:0000623"


def test_a_label_without_an_id_stands_for_a_group_or_a_term_of_that_name() -> None:
    tree = (Group(name="T cell", labels=("CD4", "CD8"), ontology_id="CL:0000084"),)
    labels = tuple(Label(name=name) for name in ("B", "CD4", "CD8"))
    first = make_card(3, 3, labels=labels, activation="softmax", tree=tree)
    types = CellTypes.of([first, named("T cells", "Mast cell")])
    ours, theirs = types.type_of
    assert ours["T cell"] == theirs["T cells"]
    assert relation(types, (ours["CD4"], theirs["T cells"])) is Relation.WIDER
    root, mast = Term(id=ROOT_ID, name="cell"), Term(id="CL:0000097", name="mast cell", parents=(ROOT_ID,))
    carried = make_card(2, 3, labels=(Label(name="Mast", ontology_id=mast.id), Label(name="B")), terms=(root, mast))
    types = CellTypes.of([named("T cells", "Mast cell"), carried])
    assert types.ids[types.type_of[0]["Mast cell"]] == mast.id


def test_a_lineage_is_a_wider_type_by_which_models_without_an_ontology_agree() -> None:
    cards = [
        named(("CD4 T", None, "T cell"), ("B", None, "B cell")),
        named(("CD8 T", None, "T cell"), ("B", None, "B cell")),
    ]
    assert winner(cards, "CD4 T", "CD8 T") == "T cell"
    assert winner(cards, "CD4 T", "T cell") == "T cell", "a reliable lineage"
    assert winner(cards, "CD4 T", "B") is None


def test_groups_of_one_model_serve_another_that_has_none() -> None:
    monocytes = (("CD14 monocyte", "CL:0001054", "Monocyte"), ("CD16 monocyte", "CL:0002396", "Monocyte"))
    cards = [named(*monocytes, ("B", None, "B")), named(("CD14 monocyte", "CL:0001054"), ("B", None))]
    types = CellTypes.of(cards)
    pair = types.type_of[0]["CD16 monocyte"], types.type_of[1]["CD14 monocyte"]
    assert relation(types, pair) is Relation.NOT_COMPARABLE, "one label may be a kind of the other"
    assert relation(types, (pair[0], types.type_of[1]["B"])) is Relation.DIFFERENT
    assert types.names[vote(types, pair)[0]] == "Monocyte"


def test_models_that_take_each_other_for_the_wider_type_make_no_circle() -> None:
    one, other = term_id(1), term_id(2)
    first = Term(id=ROOT_ID, name="cell"), Term(id=one, name="one"), Term(id=other, name="other", parents=(one,))
    second = Term(id=ROOT_ID, name="cell"), Term(id=other, name="other"), Term(id=one, name="one", parents=(other,))
    labels = (Label(name="one", ontology_id=one), Label(name="other", ontology_id=other))
    types = CellTypes.of([make_card(2, 3, labels=labels, terms=terms) for terms in (first, second)])
    assert vote(types, [types.type_of[0]["other"], types.type_of[1]["one"]]) == (types.type_of[0]["one"], 2)


def test_the_root_and_a_label_called_unassigned_say_nothing() -> None:
    cards = [named(("cell", ROOT_ID), "Unassigned"), named(("cell", ROOT_ID), "Unassigned")]
    assert winner(cards, "cell", "cell") is None
    assert winner(cards, "Unassigned", "Unassigned") is None


def test_groups_without_ids_within_one_another_are_wider_types() -> None:
    groups = (Group(name="T", labels=("CD4", "CD8")), Group(name="lymphocyte", labels=("B", "CD4", "CD8")))
    softmax = {"activation": "softmax", "tree": groups}
    card = make_card(4, 3, labels=tuple(Label(name=name) for name in ("B", "CD4", "CD8", "Mono")), **softmax)
    assert winner([card, named("CD4", "CD8")], "CD8", "CD4") == "T"
    assert winner([card, card], "T", "B") == "lymphocyte"
    assert winner([card, card], "Mono", "B") is None


@pytest.mark.parametrize("n_models", [2, 3, 4, 5])
def test_half_of_the_models_are_no_majority(n_models: int) -> None:
    cards = [named("B cell", "T cell")] * n_models
    half = n_models // 2
    assert winner(cards, *["B cell"] * half, *["T cell"] * half, *["Unassigned"] * (n_models % 2)) is None
    assert winner(cards, *["B cell"] * (half + 1), *["T cell"] * (n_models - half - 1)) == "B cell"


# --- What agreement proves ------------------------------------------------------------------------------------------


def of_source(name: str, citation: str = "", source: str = "", sha256: str | None = None) -> ModelCard:
    training = Training(method="made for a test", source=source, source_sha256=sha256)
    return make_card(2, 3, name=name, citation=citation, training=training)


def test_a_file_among_several_is_a_common_source() -> None:
    several = of_source("several", "", "a.h5ad, b.h5ad", f"{'1' * 64}, {'0' * 64}")
    indexed = of_source("indexed", "", "c.h5ad", "2" * 64)
    trained_on = indexed.training.model_copy(update={"parameters": {"trained_on": "0" * 64}})
    (found,) = common_sources([several, indexed.model_copy(update={"training": trained_on})])
    assert [one.partition("@")[0] for one in found.models] == ["several", "indexed"]


def test_models_of_one_file_or_publication_are_told() -> None:
    cards = [
        of_source("one", "Zheng et al., Nature, doi:10.1038/ncomms14049; others (10.1/short)", "cells.h5ad", "0" * 64),
        of_source("two", "See https://doi.org/10.1038/NCOMMS14049.", "other.h5ad", "1" * 64),
        of_source("three", "", "copy.h5ad", "0" * 64),
        of_source("four", "doi:10.1038/s41586-024-00001-2", "cells.h5ad", None),
    ]
    found = {common.models: common.source for common in common_sources(cards)}
    assert found == {
        ("one@1.0.0", "two@1.0.0"): "doi:10.1038/ncomms14049",
        ("one@1.0.0", "three@1.0.0"): "cells.h5ad",
    }


def test_of_groups_of_models_within_one_another_the_widest_is_told() -> None:
    same = "doi:10.1038/ncomms14049"
    cards = [of_source("one", same, sha256="0" * 64), of_source("two", same, sha256="0" * 64), of_source("three", same)]
    (found,) = common_sources(cards)
    assert (len(found.models), found.source) == (3, same)
    assert common_sources(cards[:1]) == ()
