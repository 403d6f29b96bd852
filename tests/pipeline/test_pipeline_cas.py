"""The option cas, through the real command: its files, the same bytes from any number of tasks, and its refusal."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest

from shared.domain.options import Options
from shared.domain.outputs import CAS_METADATA, INFERRED_LABELS, ONTOLOGY_RESOURCE, ONTOLOGY_RESPONSE, reproducible
from tests.pipeline.conftest import ROOT, Celldrop
from tests.pipeline.few_cells import few_cells

OPTIONS = ("--json", "--set", "map=off", "--set", "clusters=off", "--set", "cas=on")
PBMC = ("--model", ROOT / "models" / "pbmc" / "1.2.0")
FILES = {output.name for output in (ONTOLOGY_RESPONSE, ONTOLOGY_RESOURCE, INFERRED_LABELS, CAS_METADATA)}
T_CELL = "CL:0000084"

pytestmark = [pytest.mark.xdist_group("runs"), pytest.mark.filterwarnings("ignore::UserWarning")]


@pytest.fixture
def cells(data_dir: Path, tmp_path: Path) -> Path:
    path = tmp_path / "cells.h5ad"
    few_cells(data_dir, 600).write_h5ad(path)
    return path


@pytest.mark.slow
def test_a_run_has_the_files_of_cas_and_one_task_or_three_the_same(celldrop: Celldrop, cells: Path) -> None:
    one = celldrop("run", cells, *PBMC, *OPTIONS, "--set", "scores=full")
    assert one.status == 0, one.stderr
    assert {path.name for path in one.folder.iterdir()} >= FILES
    scores = pd.read_parquet(one.folder / "scores.parquet")
    found = json.loads((one.folder / "ontology_response.json").read_text())
    assert found["model_name"] == "pbmc@1.2.0"
    card = json.loads((ROOT / "models/pbmc/1.2.0/model.json").read_text())
    kinds = next(group["labels"] for group in card["tree"] if group["ontology_id"] == T_CELL)
    sums = scores[kinds].to_numpy(np.float64).sum(axis=1) / scores.iloc[:, 1:].to_numpy(np.float64).sum(axis=1)
    for cell, cell_id, expected in zip(found["data"], scores["cell_id"], sums, strict=True):
        own = {match["cell_type_ontology_term_id"]: match["score"] for match in cell["matches"]}
        assert cell["query_cell_id"] == cell_id
        assert own["CL:0000000"] == 1
        assert own.get(T_CELL, 0) == pytest.approx(expected if expected >= 0.05 else 0, rel=1e-5)
    metadata = json.loads((one.folder / "metadata.json").read_text())
    assert Path(metadata["input_path"]) == cells.resolve()
    three = celldrop("run", cells, *PBMC, *OPTIONS, "--set", "scores=full", "--set", "tasks=3")
    assert three.json["plan"]["n_tasks"] == 3
    for name in reproducible(Options(cas=True)):
        assert (one.folder / name).read_bytes() == (three.folder / name).read_bytes(), name
    again = celldrop("reproduce", one.folder / "manifest.json", cells, *PBMC, "--json")
    assert again.status == 0, again.stdout


@pytest.mark.slow
def test_a_linear_models_score_of_a_term_is_the_sum_of_its_descendants(
    celldrop: Celldrop, cells: Path, data_dir: Path, tmp_path: Path
) -> None:
    ontology = data_dir / "reference" / "CL-ontology-v2025-07-30.json.gz"
    named = ("--name", "lung", "--version", "1", "--ontology", ontology, "--out", tmp_path / "models")
    imported = celldrop("models", "import", data_dir / "models" / "popv_celltypist.pkl", *named)
    assert imported.status == 0, imported.stderr
    bundle = tmp_path / "models" / "lung" / "1"
    done = celldrop("run", cells, "--model", bundle, *OPTIONS, "--set", "scores=full")
    assert done.status == 0, done.stderr
    answers = json.loads((done.folder / "ontology_response.json").read_text())["data"]
    card = json.loads((bundle / "model.json").read_text())
    check_sums(answers, card, pd.read_parquet(done.folder / "scores.parquet"), ontology)


def check_sums(answers: list[dict[str, Any]], card: dict[str, Any], scores: pd.DataFrame, ontology: Path) -> None:
    """Each score of a term is the sum over the labels below it, by the ancestors that CELLxGENE's ontology lists."""
    above = json.loads(gzip.decompress(ontology.read_bytes()))
    labels = [label for label in card["labels"] if label.get("ontology_id") in above]
    total = scores.iloc[:, 1:].to_numpy(np.float64).sum(axis=1)
    n_summed = 0
    for row, cell in enumerate(answers):
        for match in cell["matches"]:
            term = match["cell_type_ontology_term_id"]
            below = [
                one["name"] for one in labels if term in {one["ontology_id"], *above[one["ontology_id"]]["ancestors"]}
            ]
            expected = scores[below].iloc[row].to_numpy(np.float64).sum() / total[row]
            assert match["score"] == pytest.approx(expected, rel=1e-5), (term, below)
            n_summed += len(below) > 1
    assert n_summed > 1_000


def test_without_the_option_there_is_none_of_it(celldrop: Celldrop, cells: Path) -> None:
    done = celldrop("run", cells, *PBMC, *OPTIONS, "--set", "cas=off")
    assert done.status == 2, "given twice"
    done = celldrop("run", cells, *PBMC, *OPTIONS[:-2])
    assert not {path.name for path in done.folder.iterdir()} & FILES
    found = anndata.read_h5ad(done.folder / "annotated.h5ad")
    assert "cas_cl_scores" not in found.obsm
    assert "cas_metadata" not in found.uns


@pytest.mark.parametrize("command", ["run", "validate"])
def test_a_model_without_terms_is_refused(celldrop: Celldrop, cells: Path, command: str) -> None:
    options = OPTIONS if command == "run" else ("--json", "--set", "cas=on")
    done = celldrop(command, cells, *options)
    assert done.status == 2, done.stdout
    problem = done.stdout
    assert "MODEL_HAS_NO_TERMS" in problem
    assert "adams-45-f-0@1" in problem
    assert "--ontology cl.obo" in problem


def test_a_model_imported_with_an_ontology_carries_all_wider_terms(
    celldrop: Celldrop, cells: Path, data_dir: Path, tmp_path: Path
) -> None:
    obo = data_dir / "reference" / "cl-simple-2026-03-26.obo"
    pkl, out = data_dir / "models" / "popv_celltypist.pkl", tmp_path / "bundles"
    named = ("--name", "popv", "--version", "1", "--out", out)
    assert celldrop("models", "import", pkl, *named, "--ontology", obo).status == 0
    done = celldrop("run", cells, "--model", out / "popv" / "1", *OPTIONS)
    assert done.status == 0, done.stderr
    resource = json.loads((done.folder / "ontology_resource.json").read_text())
    names, above = resource["cell_ontology_term_id_to_cell_type"], resource["ancestors_dictionary"]
    assert {"leukocyte", "hematopoietic cell", "cell"} <= {names[term] for term in above[T_CELL]}
    found = json.loads((done.folder / "ontology_response.json").read_text())["data"]
    assert {(cell["total_neighbors"], cell["total_neighbors_unrecognized"]) for cell in found} == {(31, 0)}
    for cell in found:
        own = {match["cell_type_ontology_term_id"]: match["score"] for match in cell["matches"]}
        assert all(own.get(one, 0) >= score - 1e-6 for term, score in own.items() for one in above[term])
