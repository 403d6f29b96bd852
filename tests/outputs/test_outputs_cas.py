"""The files for the client of Cellarium CAS: their shape, their numbers, the same bytes from any number of tasks."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.engine.terms import PRUNED_BELOW, TermScorer, graph_of
from jobs.inference.annotated.contents import BESIDE_OBS
from jobs.inference.annotated.h5ad import NewColumns, write_annotated_h5ad
from jobs.inference.merge.groups import Merge
from jobs.inference.merge.survey import Survey
from jobs.inference.merge.term_scores import BEST, LEAST_SCORE, TermMerge, most_granular
from jobs.inference.outputs.cas_files import (
    Provenance,
    inferred_labels,
    metadata,
    ontology_resource,
    ontology_response,
)
from jobs.inference.parts.part import PartLayout
from jobs.inference.task.tables import path_of
from shared.bundles.card import Label
from shared.bundles.groups import Group
from shared.bundles.terms import ROOT_ID
from shared.domain.submission import ObjectRef
from shared.h5ad.source import BytesSource
from shared.ports.blobs import BlobInfo
from tests.outputs.stand_ins import Draws, Shelf, merge_of

N_CELLS = 5_000
LAYOUT = PartLayout(N_CELLS, n_labels=4, top_k=2, full=True)
LABELS = [
    Label(name='a "B" cell', ontology_id="CL:0000001"),
    Label(name="CD4 T\\ü", ontology_id="CL:0000002"),
    Label(name="CD8 T", ontology_id="CL:0000003"),
    Label(name="odd"),
]
GROUPS = (Group(name="T", ontology_id="CL:0000004", labels=("CD4 T\\ü", "CD8 T")),)
GRAPH = graph_of(LABELS, GROUPS)


def terms_of(merge: Merge) -> TermMerge:
    return TermMerge(merge, TermScorer(GRAPH), "demo@1")


def merged(n_tasks: int = 1, draws: Draws | None = None) -> Merge:
    return merge_of(draws or Draws(LAYOUT, softmax=True, noted=7), n_tasks, labels=LABELS)


def response_of(terms: TermMerge) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(b"".join(ontology_response(terms)))
    return found


def matrix_of(response: dict[str, Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The scores, cells x terms, as the client would put them."""
    scores = np.zeros((len(response["data"]), len(GRAPH.ids)))
    for row, cell in enumerate(response["data"]):
        for match in cell["matches"]:
            scores[row, GRAPH.ids.index(match["cell_type_ontology_term_id"])] = match["score"]
    return scores


def probabilities(merge: Merge) -> np.ndarray[Any, np.dtype[np.float64]]:
    found = [group.calls.probability_nl for group in merge.groups()]
    return np.concatenate([one for one in found if one is not None]).astype(np.float64)


@pytest.fixture(scope="module")
def terms() -> TermMerge:
    return terms_of(merged())


@pytest.fixture(scope="module")
def response(terms: TermMerge) -> dict[str, Any]:
    return response_of(terms)


def test_a_cell_has_the_fields_of_cas(response: dict[str, Any]) -> None:
    assert response.keys() == {"data", "model_name"}
    assert response["model_name"] == "demo@1"
    assert [cell["query_cell_id"] for cell in response["data"]] == [f"cell-{row}" for row in range(N_CELLS)]
    for cell in response["data"][::97]:
        assert cell.keys() == {
            "query_cell_id", "matches", "total_weight", "total_neighbors", "total_neighbors_unrecognized",
        }  # fmt: skip
        assert (cell["total_neighbors"], cell["total_neighbors_unrecognized"]) == (4, 1)
        assert cell["total_weight"] == pytest.approx(1, abs=1e-6)
        for match in cell["matches"]:
            assert match.keys() == {"score", "cell_type_ontology_term_id", "cell_type"}
            assert match["cell_type"] == GRAPH.names[match["cell_type_ontology_term_id"]]


def test_scores_are_the_sums_of_what_scores_parquet_has(terms: TermMerge, response: dict[str, Any]) -> None:
    own_nl, found_nt = probabilities(terms.merge), matrix_of(response)
    below = {ROOT_ID: [0, 1, 2], "CL:0000001": [0], "CL:0000002": [1], "CL:0000003": [2], "CL:0000004": [1, 2]}
    expected_nt = np.stack([own_nl[:, below[term]].sum(axis=1) for term in GRAPH.ids], axis=1)
    expected_nt /= own_nl.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found_nt, np.where(expected_nt >= PRUNED_BELOW, expected_nt, 0), rtol=1e-6)


def test_the_resource_has_what_the_client_needs(terms: TermMerge) -> None:
    resource = json.loads(b"".join(ontology_resource(terms)))
    assert resource.keys() == {
        "cl_names", "cell_ontology_term_id_to_cell_type", "children_dictionary", "ancestors_dictionary",
        "shortest_path_lengths_from_cell_root", "longest_path_lengths_from_cell_root",
    }  # fmt: skip
    assert resource["cl_names"] == [ROOT_ID, "CL:0000001", "CL:0000004", "CL:0000002", "CL:0000003"]
    assert resource["cell_ontology_term_id_to_cell_type"]["CL:0000002"] == "CD4 T\\ü"
    assert resource["children_dictionary"]["CL:0000004"] == ["CL:0000002", "CL:0000003"]
    assert resource["ancestors_dictionary"]["CL:0000003"] == [ROOT_ID, "CL:0000004"]
    for kind in ("shortest", "longest"):
        assert list(resource[f"{kind}_path_lengths_from_cell_root"].values()) == [0, 1, 1, 2, 2]
    assert all(set(value) == set(resource["cl_names"]) for key, value in resource.items() if key != "cl_names")


def test_the_labels_are_the_deepest_terms_with_enough(terms: TermMerge, response: dict[str, Any]) -> None:
    table = pd.read_csv(io.BytesIO(b"".join(inferred_labels(terms))), index_col=0)
    assert list(table.columns) == [
        f"cas_cell_type_{what}_{place}" for what in ("label", "name", "score") for place in (1, 2, 3)
    ]
    assert list(table.index) == [f"cell-{row}" for row in range(N_CELLS)]
    scores = matrix_of(response)
    for row in range(0, N_CELLS, 97):
        ranked = sorted(
            (term for term in range(len(GRAPH.ids)) if scores[row, term] >= LEAST_SCORE),
            key=lambda term, row=row: (-GRAPH.shortest[GRAPH.ids[term]], -scores[row, term]),  # type: ignore[misc]
        )[:BEST]
        expected = [(GRAPH.ids[term], scores[row, term]) for term in ranked]
        expected += [(ROOT_ID, 1.0)] * (BEST - len(expected))
        own = table.iloc[row]
        assert [own[f"cas_cell_type_name_{place}"] for place in (1, 2, 3)] == [term for term, _ in expected]
        assert [own[f"cas_cell_type_score_{place}"] for place in (1, 2, 3)] == pytest.approx([s for _, s in expected])
        assert [own[f"cas_cell_type_label_{place}"] for place in (1, 2, 3)] == [GRAPH.names[t] for t, _ in expected]


@given(
    st.lists(st.sampled_from([0.0, 0.1, LEAST_SCORE, 0.5, 1.0]), min_size=1, max_size=6),
    st.lists(st.integers(0, 3), min_size=6, max_size=6),
)
def test_of_equally_deep_terms_the_higher_score_and_then_the_first_comes_first(
    scores: list[float], depths: list[int]
) -> None:
    depth_t = np.array(depths[: len(scores)], np.int64)
    (found,) = most_granular(np.array([scores], np.float32), depth_t).tolist()
    enough = [place for place, score in enumerate(scores) if score >= LEAST_SCORE]
    expected = sorted(enough, key=lambda place: (-depth_t[place], -scores[place]))[:BEST]
    assert found == expected + [-1] * (BEST - len(expected))


@given(n_cells=st.integers(1, 9_000), n_tasks=st.integers(2, 7))
@settings(max_examples=6)
def test_any_number_of_tasks_gives_the_same_bytes(n_cells: int, n_tasks: int) -> None:
    draws = Draws(replace(LAYOUT, n_cells=n_cells), softmax=True)
    one, many = terms_of(merged(1, draws)), terms_of(merged(n_tasks, draws))
    for write in (ontology_response, ontology_resource, inferred_labels):
        assert b"".join(write(one)) == b"".join(write(many))


def test_names_of_cells_are_json_and_csv_whatever_they_are() -> None:
    hostile = '=1+"x",\\\n\u2028ü-'
    terms = terms_of(merged(draws=Draws(replace(LAYOUT, n_cells=300), softmax=True, prefix=hostile)))
    assert [cell["query_cell_id"] for cell in response_of(terms)["data"]] == [f"{hostile}{row}" for row in range(300)]
    rows = list(csv.reader(io.StringIO(b"".join(inferred_labels(terms)).decode(), newline="")))
    assert [row[0] for row in rows] == ["", *(f"'{hostile}{row}" for row in range(300))]


def test_scores_of_labels_that_each_stand_alone_are_shares() -> None:
    terms = terms_of(merged(draws=Draws(replace(LAYOUT, n_cells=300))))
    response, own_nl = response_of(terms), probabilities(terms.merge)
    np.testing.assert_allclose([cell["total_weight"] for cell in response["data"]], own_nl.sum(axis=1), rtol=1e-6)
    np.testing.assert_allclose(matrix_of(response)[:, 0], own_nl[:, :3].sum(axis=1) / own_nl.sum(axis=1), rtol=1e-6)


def test_of_a_silent_cell_only_the_root_is_said() -> None:
    draws = Draws(replace(LAYOUT, n_cells=3), softmax=True, silent=(False, True, False))
    silent = response_of(terms_of(merged(draws=draws)))["data"][1]
    assert silent == {
        "query_cell_id": "cell-1",
        "matches": [{"score": 1, "cell_type_ontology_term_id": ROOT_ID, "cell_type": "cell"}],
        "total_weight": 0,
        "total_neighbors": 0,
        "total_neighbors_unrecognized": 0,
    }


@pytest.mark.parametrize(
    ("source", "path"),
    [
        (ObjectRef("files", "home/ada/cells.h5ad", 1), "/home/ada/cells.h5ad"),
        (ObjectRef("inbox", "ada/cells.h5ad", 1), "inbox/ada/cells.h5ad"),
    ],
)
def test_the_metadata_name_file_and_model(terms: TermMerge, source: ObjectRef, path: str) -> None:
    assert json.loads(b"".join(metadata(terms, Provenance(path_of(source), N_CELLS)))) == {
        "input_path": path,
        "model_name": "demo@1",
        "n_cells": N_CELLS,
        "ontology_resource_name": "demo@1",
    }


def annotated(data: bytes, terms: TermMerge | None) -> bytes:
    merge, shelf = merged(), Shelf()
    survey = Survey(merge)
    list(survey.tables())
    columns = NewColumns.of(merge, survey.findings().tally, {"model": "demo@1"}, lambda: None, terms)
    outcome = write_annotated_h5ad(shelf, "results", "a.h5ad", BytesSource(data), columns)
    assert isinstance(outcome, BlobInfo), outcome
    return shelf.read(outcome.ref)


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    path = tmp_path / "cells.h5ad"
    made = ad.AnnData(sp.csr_matrix(np.eye(N_CELLS, 3, dtype=np.float32)))
    made.obs_names = [f"cell-{row}" for row in range(N_CELLS)]
    made.obsm["cas_cl_scores"] = sp.csr_matrix(np.ones((N_CELLS, 2)))
    made.uns["cas_metadata"] = {"cl_names": ["CL:1", "CL:2"], "ontology_resource_name": "theirs"}
    made.write_h5ad(path)
    return path


def test_the_annotated_file_has_the_scores_where_the_client_has_them(
    cells: Path, terms: TermMerge, response: dict[str, Any]
) -> None:
    written = annotated(cells.read_bytes(), terms)
    assert written == annotated(cells.read_bytes(), terms_of(merged(3)))
    cells.write_bytes(written)
    found = ad.read_h5ad(cells)
    scores: Any = found.obsm["cas_cl_scores"]
    assert scores.format == "csr"
    assert scores.has_sorted_indices
    np.testing.assert_allclose(scores.toarray(), matrix_of(response), rtol=1e-7)
    about = found.uns["cas_metadata"]
    assert list(about["cl_names"]) == list(GRAPH.ids)
    assert list(about["cl_labels"]) == list(GRAPH.names.values())
    assert about["ontology_resource_name"] == "demo@1"
    documented = {element.place for element in BESIDE_OBS}
    assert {f'uns["cas_metadata"]["{key}"]' for key in about} <= documented
    assert 'obsm["cas_cl_scores"]' in documented


def test_without_the_option_what_cas_itself_wrote_stays(cells: Path) -> None:
    cells.write_bytes(annotated(cells.read_bytes(), None))
    found = ad.read_h5ad(cells)
    assert found.obsm["cas_cl_scores"].shape == (N_CELLS, 2)
    assert found.uns["cas_metadata"]["ontology_resource_name"] == "theirs"


def test_memory_does_not_grow_with_the_cells() -> None:
    def peak_bytes(n_cells: int) -> int:
        terms = terms_of(merged(draws=Draws(replace(LAYOUT, n_cells=n_cells), softmax=True)))
        tracemalloc.start()
        for write in (ontology_response, inferred_labels):
            for _ in write(terms):
                pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    few, many = peak_bytes(9_000), peak_bytes(36_000)
    assert many < 1.3 * few + 1_000_000
