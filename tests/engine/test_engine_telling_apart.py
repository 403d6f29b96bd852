"""Which types of several models are known to be different: by definition, on drawn cards, and by examples."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.engine.cell_types import NO_TYPE, CellTypes
from jobs.engine.consensus import Relation, relation
from shared.bundles.card import Label, ModelCard
from shared.bundles.groups import Group
from shared.bundles.terms import ROOT_ID, Term
from tests.engine.cards import make_card

SETTINGS = settings(deadline=None, max_examples=200)
TYPES = ("B", "CD4", "CD8", "Mast", "Mono", "NK")
IDS = tuple(f"CL:{number:07d}" for number in range(1, 8))


@st.composite
def cards(draw: st.DrawFn) -> ModelCard:
    """A model of a few types, with or without ids, lineages, groups within one another, and terms."""
    names = draw(st.lists(st.sampled_from(TYPES), min_size=4, max_size=6, unique=True))
    some_ids, some_lineages = st.sampled_from([None, *IDS]), st.sampled_from([None, "lineage 1", "lineage 2", "B"])
    lineages = [draw(some_lineages) for _ in names] if "B" not in names and draw(st.booleans()) else [None] * len(names)
    labels = tuple(
        Label(name=name, ontology_id=draw(some_ids), lineage=lineage)
        for name, lineage in zip(names, lineages, strict=True)
    )
    sizes = draw(st.lists(st.integers(2, len(names) - 1), max_size=2, unique=True))
    tree = tuple(
        Group(name=f"group {size}", labels=tuple(names[:size]), ontology_id=draw(some_ids)) for size in sorted(sizes)
    )
    terms: list[Term] = []
    if draw(st.booleans()):
        terms = [Term(id=ROOT_ID, name="cell")]
        for one in draw(st.lists(st.sampled_from(IDS), min_size=1, max_size=6, unique=True)):
            above = st.lists(st.sampled_from([term.id for term in terms]), min_size=1, max_size=2, unique=True)
            terms.append(Term(id=one, name=f"term {one}", parents=tuple(draw(above))))
    return make_card(len(names), 3, labels=labels, activation="softmax", tree=tree, terms=tuple(terms))


def labels_within(card: ModelCard, types: CellTypes, model: int, wanted: int) -> frozenset[str] | None:
    """The labels of the groups and lineages of a card that are this type; None if none of them is."""
    classes = [(label.lineage, [label.name]) for label in card.labels if label.lineage]
    classes += [(group.name, list(group.labels)) for group in card.tree]
    found = [set(labels) for name, labels in classes if types.type_of[model].get(name) == wanted]
    if not found:
        return None
    own = {label.name for label in card.labels if types.type_of[model].get(label.name) == wanted}
    return frozenset(own.union(*found))


def differ_by_definition(drawn: Sequence[ModelCard], types: CellTypes, one: int, other: int) -> bool:
    """Whether two types are known to be different: all other types are looked at as the docs say."""
    everything = range(len(types.names))

    def are_apart(first: int, second: int) -> bool:
        return not any({first, second} <= types.within[kind] for kind in everything)

    carried = {term.id for card in drawn for term in card.terms}
    if {types.ids[one], types.ids[other]} <= carried and are_apart(one, other):
        return True
    for model, card in enumerate(drawn):
        members = {type_: labels_within(card, types, model, type_) for type_ in everything}
        for first in types.within[one]:
            for second in types.within[other]:
                ours, theirs = members[first], members[second]
                if ours and theirs and not ours & theirs and are_apart(first, second):
                    return True
    return False


@SETTINGS
@given(st.lists(cards(), min_size=2, max_size=3))
def test_every_pair_of_types_is_in_exactly_one_class_whatever_their_order(drawn: list[ModelCard]) -> None:
    types = CellTypes.of(drawn)
    said = sorted({type_ for own in types.type_of for type_ in own.values()})
    for one in said:
        for other in said:
            differ = types.distinctions.differ(one, other)
            related = one in types.within[other] or other in types.within[one]
            assert differ == types.distinctions.differ(other, one) == differ_by_definition(drawn, types, one, other)
            assert not (differ and related), "a kind of a type is not different from it"
            expected = (
                Relation.SAME
                if one == other
                else Relation.WIDER
                if related
                else Relation.DIFFERENT
                if differ
                else Relation.NOT_COMPARABLE
            )
            assert relation(types, (one, other)) == relation(types, (other, one)) == expected


@SETTINGS
@given(st.lists(cards(), min_size=2, max_size=3), st.data())
def test_the_relation_of_many_is_that_of_their_pairs(drawn: list[ModelCard], data: st.DataObject) -> None:
    types = CellTypes.of(drawn)
    known = sorted({type_ for own in types.type_of for type_ in own.values()})
    said = data.draw(st.lists(st.sampled_from([*known, NO_TYPE]), min_size=2, max_size=4))
    pairs = {relation(types, pair) for pair in permutations(said, 2) if NO_TYPE not in pair}
    found = relation(types, said)
    assert (found is Relation.DIFFERENT) == (Relation.DIFFERENT in pairs)
    assert (found is Relation.NOT_COMPARABLE) == (Relation.NOT_COMPARABLE in pairs and Relation.DIFFERENT not in pairs)
    assert {relation(types, order) for order in list(permutations(said))[:6]} == {found}


# --- Examples ---------------------------------------------------------------------------------------------------------

T_CELL, MEMORY, CD4, CD4_MEMORY = "CL:0000084", "CL:0000813", "CL:0000624", "CL:0000897"
T_TERMS = (
    Term(id=ROOT_ID, name="cell"),
    Term(id=T_CELL, name="T cell", parents=(ROOT_ID,)),
    Term(id=MEMORY, name="memory T cell", parents=(T_CELL,)),
    Term(id=CD4, name="CD4 T cell", parents=(T_CELL,)),
)


def model(*labels: str | Label, terms: tuple[Term, ...] = ()) -> ModelCard:
    made = tuple(Label(name=one) if isinstance(one, str) else one for one in labels)
    return make_card(len(made), 3, labels=made, terms=terms)


def related(one: str, other: str, *models: ModelCard) -> Relation:
    """The relation of a name of the first model to one of the second."""
    types = CellTypes.of(models)
    return relation(types, (types.type_of[0][one], types.type_of[1][other]))


def test_types_that_no_card_relates_cannot_be_compared() -> None:
    assert related("Naive B cell", "B cell", model("Naive B cell", "NK"), model("B cell", "T cell")) is (
        Relation.NOT_COMPARABLE
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("CD4-positive, alpha-beta T cell", "effector CD4-positive, alpha-beta T cell"),
        ("smooth muscle cell", "bronchial smooth muscle cell"),
        ("B cells", "Memory B cells"),
        ("B cells", "T cells"),
    ],
)
def test_two_labels_of_one_model_need_not_be_different(one: str, other: str) -> None:
    both = model(one, other, "Mast cell")
    assert related(one, other, both, both) is Relation.NOT_COMPARABLE
    assert related(other, one, both, model(one, "NK")) is Relation.NOT_COMPARABLE


def test_labels_in_one_lineage_are_not_known_to_be_different_but_those_in_groups_that_lie_apart_are() -> None:
    names = ("CD4 T", "CD4 Treg", "CD8 T", "CD8 effector", "B")
    labels = tuple(Label(name=name, lineage="B cell" if name == "B" else "T cell") for name in names)
    plain = make_card(5, 3, labels=labels, activation="softmax")
    tree = Group(name="all CD4", labels=names[:2]), Group(name="all CD8", labels=names[2:4])
    grouped = make_card(5, 3, labels=labels, activation="softmax", tree=tree)
    for card, expected in ((plain, Relation.NOT_COMPARABLE), (grouped, Relation.DIFFERENT)):
        assert related("CD4 T", "CD8 T", card, card) is expected
        assert related("CD4 T", "CD4 Treg", card, card) is Relation.NOT_COMPARABLE
        assert related("CD4 T", "B", card, card) is Relation.DIFFERENT


def test_lineages_of_one_model_are_different_and_so_are_their_kinds() -> None:
    both = model("B cell", "T cell")
    lineages = Label(name="Plasmablast", lineage="B cell"), Label(name="Treg", lineage="T cell")
    assert related("Plasmablast", "T cell", model(*lineages), both) is Relation.DIFFERENT
    assert related("B cell", "T cell", both, both) is Relation.NOT_COMPARABLE
    assert related("B cell", "T cell", both, both, model(*lineages)) is Relation.DIFFERENT
    assert related("Plasmablast", "Treg", model(*lineages), model(*lineages)) is Relation.DIFFERENT
    assert related("Plasmablast", "B cell", model(*lineages), both) is Relation.WIDER


def test_a_third_model_can_tell_two_types_apart() -> None:
    two = model("Naive B cell", "NK"), model("CD4", "Mono")
    assert related("NK", "Mono", *two) is Relation.NOT_COMPARABLE
    third = Label(name="CD56 NK", lineage="NK cell"), Label(name="CD14 Mono", lineage="Mono")
    assert related("NK", "Mono", *two, model(*third)) is Relation.DIFFERENT


@pytest.mark.parametrize("known", [False, True])
def test_terms_of_which_a_known_type_is_both_are_not_different(known: bool) -> None:
    memory = model(Label(name="memory T", ontology_id=MEMORY), "A", terms=T_TERMS)
    cd4 = model(Label(name="CD4 T", ontology_id=CD4), "B", terms=T_TERMS)
    both = Term(id=CD4_MEMORY, name="CD4 memory", parents=(MEMORY, CD4))
    third = model(Label(name="CD4 memory", ontology_id=CD4_MEMORY), "C", terms=(*T_TERMS, both))
    models = (memory, cd4, third) if known else (memory, cd4)
    assert related("memory T", "CD4 T", *models) is (Relation.NOT_COMPARABLE if known else Relation.DIFFERENT)


def test_an_id_without_the_terms_above_it_tells_nothing_apart() -> None:
    killer = model(Label(name="NK cell", ontology_id="CL:0000623"), "A")
    carrying = model(Label(name="CD4 T", ontology_id=CD4), "B", terms=T_TERMS)
    assert related("NK cell", "CD4 T", killer, carrying) is Relation.NOT_COMPARABLE
