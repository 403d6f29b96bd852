"""Agreement in the Cell Ontology is that of CAS's definitions, computed cell by cell in the plainest way."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.modeling.evaluation import evaluate
from jobs.modeling.hierarchy import HOPS, HierarchicalAgreement, Hierarchy, hierarchical_agreement
from jobs.modeling.ontology import read_ontology
from jobs.modeling.training import TrainedModel, train
from shared.domain.errors import LabelsNotComparableError
from tests.modeling.synthetic import SMALL, Population, quick

LINEAGE = {"T": ["lymphocyte"], "NK": ["lymphocyte"], "CD4 T": ["T"], "CD8 T": ["T"], "B": ["lymphocyte"]}
TREE = Hierarchy({**LINEAGE, "lymphocyte": ["cell"], "monocyte": ["cell"], "cell": []}, root="cell")
TERMS = ["cell", "lymphocyte", "monocyte", "T", "NK", "B", "CD4 T", "CD8 T"]


def one(true: str, predicted: str | None) -> HierarchicalAgreement:
    found = hierarchical_agreement(TREE, np.array([[3]]), [true], [predicted])
    assert found is not None
    return found


def test_a_wider_prediction_is_partly_right() -> None:
    found = one("CD4 T", "T")  # {CD4 T, T, lymphocyte} and {T, lymphocyte}, without cell
    assert (found.exact, found.ancestor, found.descendant) == (0, 1, 0)
    assert (found.precision, found.recall, found.f1) == (1, 2 / 3, 4 / 5)
    assert found.macro_f1 == pytest.approx(2 / 3)  # Of CD4 T 0, of the two others 1.
    assert found.hop_f1 == (0, 1, 1, 1, 1)
    assert found.hop_specificity == (1, 1, 1, 1, 1)


def test_a_narrower_prediction_may_be_right() -> None:
    found = one("T", "CD4 T")
    assert (found.ancestor, found.descendant, found.precision, found.recall) == (0, 1, 2 / 3, 1)


def test_a_sibling_is_wrong_but_shares_ancestors() -> None:
    found = one("CD4 T", "CD8 T")
    assert (found.exact, found.ancestor, found.descendant, found.f1) == (0, 0, 0, 2 / 3)
    assert found.hop_f1 == (0, 0, 1, 1, 1)
    assert found.hop_specificity == (0, 1, 1, 1, 1)  # Within one hop is T, of which CD8 T is a kind.


def test_a_label_without_a_term_is_wrong() -> None:
    found = one("T", None)
    assert (found.precision, found.recall, found.f1, found.hop_f1) == (0, 0, 0, (0,) * 5)
    assert found.hop_specificity == (0,) * 5
    some = hierarchical_agreement(TREE, np.array([[3, 1]]), ["T"], ["T", None])
    assert some is not None
    assert (some.precision, some.recall, some.f1) == (1, 3 / 4, 6 / 7)
    assert (some.hop_f1, some.hop_specificity) == ((3 / 4,) * 5, (3 / 4,) * 5)
    assert hierarchical_agreement(TREE, np.array([[3]]), [None], ["T"]) is None


# --- Cell by cell -------------------------------------------------------------------------------------------------

Parents = Mapping[int, Sequence[int]]


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, list[str]]:
    """Terms of which each has parents among the earlier ones, or none."""
    size = draw(st.integers(1, 9))
    return {
        str(term): [str(parent) for parent in draw(st.sets(st.integers(0, term - 1), max_size=2))] if term else []
        for term in range(size)
    }


def closure(term: str, edges: Mapping[str, Sequence[str]]) -> set[str]:
    return {term}.union(*(closure(near, edges) for near in edges.get(term, [])))


@given(st.data(), graphs())
def test_figures_are_those_of_the_definitions(data: st.DataObject, parents: dict[str, list[str]]) -> None:
    terms = list(parents)
    children = {term: [child for child in terms if term in parents[child]] for term in terms}
    cells = data.draw(st.lists(st.tuples(st.sampled_from(terms), st.sampled_from(terms)), min_size=1, max_size=20))
    cells_tp = np.zeros((len(terms), len(terms)), np.int64)
    for true, predicted in cells:
        cells_tp[terms.index(true), terms.index(predicted)] += 1
    root = data.draw(st.sampled_from([*terms, "none"]))
    found = hierarchical_agreement(Hierarchy(parents, root), cells_tp, terms, terms)
    assert found is not None
    above = {term: closure(term, parents) for term in terms}
    kinds = {term: above[term] - {root} for term in terms}
    below = {term: closure(term, children) for term in terms}
    common = sum(len(kinds[true] & kinds[predicted]) for true, predicted in cells)
    assert found.precision == pytest.approx(common / max(sum(len(kinds[predicted]) for _, predicted in cells), 1))
    assert found.recall == pytest.approx(common / max(sum(len(kinds[true]) for true, _ in cells), 1))
    each = []
    for term in set().union(*(kinds[true] for true, _ in cells)):
        is_n, said_n = (np.array([term in kinds[cell[place]] for cell in cells]) for place in (0, 1))
        each.append(2 * (is_n & said_n).sum() / (is_n.sum() + said_n.sum()))
    assert found.macro_f1 == pytest.approx(np.mean(each or [0]))
    assert found.f1 == pytest.approx(2 / (1 / found.precision + 1 / found.recall) if common else 0)
    assert found.ancestor == pytest.approx(np.mean([t != p and p in above[t] for t, p in cells]))
    assert found.descendant == pytest.approx(np.mean([t != p and p in below[t] for t, p in cells]))
    for hops in range(HOPS + 1):
        right, off = [], []
        for true, predicted in cells:
            nodes = {true}
            for _ in range(hops):
                nodes |= {near for node in nodes for near in (*parents[node], *children[node])}
            wider = set().union(*(above[node] for node in nodes))
            narrower = set().union(*(below[node] for node in nodes))
            right.append(predicted in nodes)
            related = predicted in nodes | wider | narrower or below[predicted] & narrower
            off.append(not related)
        assert found.hop_f1[hops] == pytest.approx(np.mean(right))
        assert found.hop_specificity[hops] == pytest.approx(1 - np.mean(off))


def test_ancestors_are_those_of_cas(data_dir: Path) -> None:
    resource = json.loads((data_dir / "reference" / "cas_cell_ontology_resource_mini.json").read_text())
    parents: dict[str, list[str]] = {term: [] for term in resource["children_dictionary"]}
    for parent, children in resource["children_dictionary"].items():
        for child in children:
            parents[child].append(parent)
    tree = Hierarchy(parents)
    for term, ancestors in resource["ancestors_dictionary"].items():
        assert tree.ancestors(term) == {term, *ancestors}


def test_the_cell_ontology_is_read_with_its_tree(data_dir: Path) -> None:
    ontology = read_ontology(data_dir / "reference" / "cl-simple-2026-03-26.obo")
    tree = Hierarchy(ontology.parents)
    naive, t_cell, b_cell = "CL:0000895", "CL:0000084", "CL:0000236"
    assert t_cell in tree.ancestors(naive)
    assert naive in tree.descendants([t_cell])
    assert b_cell not in tree.ancestors(naive)


# --- From a file --------------------------------------------------------------------------------------------------

OBO = """
[Term]
id: CL:0000542
name: lymphocyte

[Term]
id: CL:0000236
name: B cell
synonym: "B lymphocyte" EXACT []
is_a: CL:0000542 ! lymphocyte

[Term]
id: CL:0000084
name: T cell
is_a: CL:0000542 ! lymphocyte

[Term]
id: CL:0000623
name: natural killer cell
synonym: "NK cell" EXACT []
is_a: CL:0000542 ! lymphocyte
"""


@pytest.fixture(scope="module")
def model() -> TrainedModel:
    return train(SMALL.cells(), quick(), lambda _: None)


@pytest.fixture
def obo(tmp_path: Path) -> Path:
    path = tmp_path / "cl.obo"
    path.write_text(OBO)
    return path


def test_labels_are_aligned_through_the_ontology(model: TrainedModel, obo: Path, tmp_path: Path) -> None:
    file = Population({"B lymphocytes": 30, "natural killer cell": 30, "CL:0000084": 30, "Lymphocytes": 9}, seed=5)
    path = file.write(tmp_path / "a.h5ad")
    report = evaluate(model.card, model.tensors, path, "label", ontology=read_ontology(obo))
    assert report.labels is not None
    assert report.labels.n_cells == 90
    assert report.labels.accuracy >= 0.95
    assert report.counterparts == {"B lymphocytes": "B", "natural killer cell": "NK", "CL:0000084": "T"}
    assert report.hierarchical is not None
    assert report.hierarchical.n_cells == 99
    assert report.hierarchical.descendant == pytest.approx(9 / 99)
    assert report.n_left_out == {"Lymphocytes": 9}
    by_name = evaluate(model.card, model.tensors, path, "label")
    assert by_name.counterparts == {"natural killer cell": "NK", "CL:0000084": "T"}
    assert by_name.n_left_out == {"B lymphocytes": 30, "Lymphocytes": 9}
    other = Population({"first": 30, "second": 30}, seed=5).write(tmp_path / "b.h5ad")
    with pytest.raises(LabelsNotComparableError):
        evaluate(model.card, model.tensors, other, "label")


def test_labels_that_are_only_terms_are_compared_in_the_tree(model: TrainedModel, obo: Path, tmp_path: Path) -> None:
    file = Population({"lymphocyte": 60}, seed=5).write(tmp_path / "a.h5ad")
    report = evaluate(model.card, model.tensors, file, "label", ontology=read_ontology(obo))
    assert report.labels is None
    assert report.hierarchical is not None
    assert (report.hierarchical.descendant, report.hierarchical.recall) == (1, 1)


def test_ids_beside_the_labels_place_them(model: TrainedModel, obo: Path, tmp_path: Path) -> None:
    adata = Population({"first": 30, "second": 30}, seed=5).adata()
    adata.obs["label_ontology_term_id"] = pd.Series(adata.obs["label"]).map(
        {"first": "CL:0000236", "second": "CL:0000623"}
    )
    adata.write_h5ad(tmp_path / "a.h5ad")
    report = evaluate(model.card, model.tensors, tmp_path / "a.h5ad", "label", ontology=read_ontology(obo))
    assert report.counterparts == {"first": "B", "second": "NK"}
    assert report.cells_tp.sum(axis=1).tolist() == [30, 30]
