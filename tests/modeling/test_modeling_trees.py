"""The labels' tree: made from the Cell Ontology and lineages, and its thresholds learned on held-out cells."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from pydantic import ValidationError

from jobs.engine.tree import NOTHING, is_within, narrowest, tree_of
from jobs.modeling.nearest import Near
from jobs.modeling.ontology import Ontology, Term, ontology_of, read_ontology
from jobs.modeling.reliability import learn_tree_scores
from jobs.modeling.trees import place_labels
from shared.bundles.card import Label, Reliability
from shared.bundles.groups import Group
from shared.bundles.terms import check_terms
from shared.domain.options import ERROR_RATES
from tests.engine.cards import make_card

TERMS = [
    ("CL:0000000", "cell", ()),
    ("CL:0000542", "lymphocyte", ("CL:0000000",)),
    ("CL:0000084", "T cell", ("CL:0000542",)),
    ("CL:0000624", "CD4-positive T cell", ("CL:0000084",)),
    ("CL:0000898", "naive T cell", ("CL:0000084",)),
    ("CL:0000895", "naive CD4 T cell", ("CL:0000624", "CL:0000898")),
    ("CL:0000900", "naive CD8 T cell", ("CL:0000898",)),
    ("CL:0000897", "CD4 memory T cell", ("CL:0000624",)),
    ("CL:0000236", "B cell", ("CL:0000542",)),
    ("CL:0000576", "monocyte", ("CL:0000000",)),
]
IDS = {name: identifier for identifier, name, _ in TERMS}


def ontology() -> Ontology:
    return ontology_of(
        Term(identifier, name, ("B lymphocyte",) if name == "B cell" else (), parents)
        for identifier, name, parents in TERMS
    )


def labels(*names: str, **lineages: str) -> list[Label]:
    return [Label(name=name, lineage=lineages.get(name.replace(" ", "_"))) for name in names]


FIVE = ("naive CD4 T cell", "naive CD8 T cell", "CD4 memory T cell", "B cell", "monocyte")


def groups_of(found: tuple[Group, ...]) -> dict[str, set[str]]:
    return {group.name: set(group.labels) for group in found}


def test_a_tree_has_the_terms_that_labels_share_and_no_two_that_cross() -> None:
    placed = place_labels(labels(*FIVE), ontology())
    assert [label.ontology_id for label in placed.labels] == [IDS[name] for name in FIVE]
    # "naive T cell" and "CD4-positive T cell" cross. Both have two labels and are as deep: the first label decides.
    assert groups_of(placed.tree) == {
        "CD4-positive T cell": {"naive CD4 T cell", "CD4 memory T cell"},
        "T cell": {"naive CD4 T cell", "naive CD8 T cell", "CD4 memory T cell"},
        "lymphocyte": {"naive CD4 T cell", "naive CD8 T cell", "CD4 memory T cell", "B cell"},
    }
    assert placed.unplaced == {}


def test_a_lineage_is_a_group_of_its_name_and_goes_before_terms_that_cross_it() -> None:
    lineage_of = {name: "naive" if name.startswith("naive") else "other" for name in FIVE}
    found = place_labels([Label(name=name, lineage=lineage_of[name]) for name in FIVE], ontology())
    assert groups_of(found.tree) == {
        "naive": {"naive CD4 T cell", "naive CD8 T cell"},
        "other": {"CD4 memory T cell", "B cell", "monocyte"},
    }


def test_a_lineage_with_the_labels_of_a_term_of_its_name_has_its_id() -> None:
    lineage_of = {name: "T cells" if "T cell" in name else name for name in FIVE}
    found = place_labels([Label(name=name, lineage=lineage_of[name]) for name in FIVE], ontology())
    assert [(group.name, group.ontology_id) for group in found.tree if len(group.labels) == 3] == [
        ("T cells", "CL:0000084")
    ]


@pytest.mark.parametrize("name", ["B cell", "b-cells", "B lymphocyte", "B Lymphocytes"])
def test_a_label_is_placed_by_its_name_or_an_exact_synonym(name: str) -> None:
    (placed, _) = place_labels(labels(name, "monocyte"), ontology()).labels
    assert placed.ontology_id == "CL:0000236"


def test_a_label_is_placed_by_its_submitted_name_where_the_readable_one_is_no_term() -> None:
    placed = place_labels([Label(name="Bees", submitted="b-cells"), Label(name="monocyte")], ontology())
    assert (placed.labels[0].ontology_id, placed.unplaced) == ("CL:0000236", {})


def test_a_label_that_is_no_term_is_named_with_what_is_spelled_alike() -> None:
    placed = place_labels([*labels("monocytic", "B cell"), Label(name="x", ontology_id="CL:9999999")], ontology())
    assert placed.unplaced == {"monocytic": (Near("monocyte", "CL:0000576"),), "x": ()}
    assert placed.labels[2].ontology_id == "CL:9999999", "an id of the data stays"


def test_a_label_that_is_itself_above_another_names_their_group_only_if_no_wider_term_does() -> None:
    found = place_labels(labels("CD4-positive T cell", "naive CD4 T cell", "B cell"), ontology())
    assert groups_of(found.tree) == {"T cell": {"CD4-positive T cell", "naive CD4 T cell"}}
    alone = place_labels(labels("T cell", "naive CD4 T cell", "B cell"), ontology())
    assert groups_of(alone.tree) == {"T cell": {"T cell", "naive CD4 T cell"}}


def test_the_json_of_an_ontology_gives_the_same_tree(tmp_path: Path) -> None:
    document = {
        identifier: {"label": name, "ancestors": dict.fromkeys(parents, 1), "deprecated": False}
        for identifier, name, parents in TERMS
    }
    document["CL:0000001"] = {"label": "old B cell", "ancestors": {}, "deprecated": True}
    document["CL:0000236"]["synonyms"] = ["B lymphocyte"]
    (tmp_path / "cl.json").write_text(json.dumps(document))
    assert read_ontology(tmp_path / "cl.json") == ontology()


def test_a_model_carries_the_terms_of_its_labels_and_all_above_them_parents_first() -> None:
    placed = place_labels(labels("naive CD8 T cell", "B cell", "no term"), ontology())
    found = {term.id: (term.name, term.parents) for term in placed.terms}
    assert set(found) == {IDS[name] for name in ("cell", "lymphocyte", "T cell", "naive T cell", "B cell")} | {
        IDS["naive CD8 T cell"]
    }
    assert found[IDS["naive T cell"]] == ("naive T cell", (IDS["T cell"],))
    check_terms(placed.terms)
    assert place_labels(labels("no term"), ontology()).terms == ()


def test_a_circle_of_terms_is_cut() -> None:
    circle = ontology_of(
        [Term("CL:0000001", "one", (), ("CL:0000002",)), Term("CL:0000002", "two", (), ("CL:0000001",))]
    )
    found = place_labels(labels("two"), circle).terms
    assert {term.name for term in found} == {"one", "two"}
    check_terms(found)


def test_both_forms_of_the_cell_ontology_place_the_labels_of_blood(data_dir: Path) -> None:
    card = json.loads((Path(__file__).parents[2] / "models" / "pbmc" / "1.0.0" / "model.json").read_text())
    known = [Label.model_validate(label) for label in card["labels"]]
    found = [
        place_labels(known, read_ontology(data_dir / "reference" / name))
        for name in ("cl-simple-2026-03-26.obo", "CL-ontology-v2025-07-30.json.gz")
    ]
    assert replace(found[0], terms=()) == replace(found[1], terms=())
    assert len(found[0].terms) == 49
    assert {term.id for term in found[0].terms} == {term.id for term in found[1].terms}
    assert not found[0].unplaced
    assert {"CD4-positive, alpha-beta T cell", "CD8-positive, alpha-beta T cell", "T cell", "Monocyte"} <= set(
        groups_of(found[0].tree)
    )


# --- What a card may have -----------------------------------------------------------------------------------------

THREE = tuple(Label(name=name, lineage=lineage) for name, lineage in [("a", "x"), ("b", "x"), ("c", "y"), ("d", "z")])


@pytest.mark.parametrize(
    ("tree", "problem"),
    [
        ([Group(name="g", labels=("a", "e"))], "some labels of the model"),
        ([Group(name="g", labels=("a", "a"))], "each once"),
        ([Group(name="g", labels=("a", "b", "c", "d"))], "not all"),
        ([Group(name="g", labels=("a", "b")), Group(name="h", labels=("b", "a"))], "must differ"),
        ([Group(name="g", labels=("a", "b", "c")), Group(name="h", labels=("a", "b"))], "fewest first"),
        ([Group(name="g", labels=("a", "b")), Group(name="h", labels=("b", "c"))], "within one another"),
        ([Group(name="g", labels=("a", "b")), Group(name="g", labels=("c", "d"))], "different names"),
        ([Group(name="Unassigned", labels=("a", "b"))], "Unassigned"),
        ([Group(name="x", labels=("a", "c"))], "the lineage or the label"),
        ([Group(name="c", labels=("a", "b"))], "the lineage or the label"),
    ],
)
def test_a_card_refuses_what_is_no_tree(tree: list[Group], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        make_card(4, 3, labels=THREE, activation="softmax", tree=tuple(tree))


def test_a_tree_needs_scores_that_add_up_to_one_and_its_threshold_a_tree() -> None:
    tree = (Group(name="x", labels=("a", "b")),)
    with pytest.raises(ValidationError, match="add up to 1"):
        make_card(4, 3, labels=THREE, activation="sigmoid", tree=tree)
    learned = (Reliability(error=0.1, label_score=None, lineage_score=None, tree_score=0.5),)
    assert make_card(4, 3, labels=THREE, activation="softmax", tree=tree, reliability=learned).needs_all_scores
    with pytest.raises(ValidationError, match="needs a tree"):
        make_card(4, 3, labels=THREE, activation="softmax", reliability=learned)


# --- Error rates --------------------------------------------------------------------------------------------------

KNOWN = tuple(Label(name=name) for name in ("helper", "memory", "killer", "B", "NK"))
TREE = (
    Group(name="CD4", labels=("helper", "memory")),
    Group(name="T", labels=("helper", "memory", "killer")),
)
CENTRE = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 2.5], [6.0, 0.0], [0.0, 7.0]])


def drawn(n_cells: int, seed: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Probabilities of a model that is too sure of itself, and true labels: two T cells are hard to tell apart."""
    draw = np.random.default_rng(seed)
    class_n = draw.integers(0, 5, n_cells)
    place_nd = CENTRE[class_n] + draw.normal(size=(n_cells, 2))
    odd_n = draw.random(n_cells) < 0.02
    place_nd[odd_n] = CENTRE[(class_n[odd_n] + 3) % 5]
    density_nl = np.exp(-0.8 * ((place_nd[:, None] - CENTRE) ** 2).sum(axis=2))
    return (density_nl / density_nl.sum(axis=1, keepdims=True)).astype(np.float32), class_n


def wrong_share(learned: Reliability, probability_nl: npt.NDArray[np.float32], class_n: npt.NDArray[np.int64]) -> float:
    tree = tree_of(TREE, KNOWN)
    best_n = probability_nl.argmax(axis=1)
    place_n = narrowest(probability_nl, best_n, probability_nl.max(axis=1), tree, learned.tree_score)
    return float(((place_n != NOTHING) & ~is_within(place_n, class_n, tree)).mean())


@pytest.mark.parametrize("n_cells", [100, 1_000])
def test_the_error_rate_is_held_on_average_over_draws_of_the_held_out_cells(n_cells: int) -> None:
    fresh = drawn(10_000, 10_000)
    share_de = np.array(
        [
            [wrong_share(one, *fresh) for one in learn_tree_scores(*drawn(n_cells, seed), KNOWN, TREE)]
            for seed in range(60)
        ]
    )
    # The theorem is about the mean over draws; three standard errors for 60 of them.
    assert (share_de.mean(axis=0) <= ERROR_RATES + 3 * share_de.std(axis=0) / np.sqrt(60)).all()


def test_the_rate_is_nearly_used_up_where_it_binds() -> None:
    learned = {one.error: one for one in learn_tree_scores(*drawn(5_000, 0), KNOWN, TREE)}
    assert 0.03 < wrong_share(learned[0.05], *drawn(20_000, 1)) <= 0.06


def test_a_higher_rate_asks_for_no_higher_score() -> None:
    found = learn_tree_scores(*drawn(2_000, 3), KNOWN, TREE)
    assert tuple(one.error for one in found) == ERROR_RATES
    scores = [1.01 if one.tree_score is None else one.tree_score for one in found]
    assert scores == sorted(scores, reverse=True)
    assert all(one.label_score is None and one.lineage_score is None for one in found)


def test_few_cells_tell_nothing() -> None:
    assert learn_tree_scores(*drawn(49, 0), KNOWN, TREE) == ()


def test_a_rate_that_so_few_cells_cannot_show_gets_no_score() -> None:
    found = {one.error: one.tree_score for one in learn_tree_scores(*drawn(60, 0), KNOWN, TREE)}
    assert found[0.01] is None, "even without a wrong answer, 1 / 61 is more"
