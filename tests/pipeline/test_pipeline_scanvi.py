"""A scANVI model from the folder that scvi-tools saved to the labels of a file, as a user would do it."""

from __future__ import annotations

import json
from pathlib import Path

import anndata
import pytest
import scanpy as sc

from jobs.modeling.kinds.table import RECIPES
from shared.bundles.card import Kind
from tests.pipeline.conftest import Celldrop
from tests.scvi.library import MODELS

PBMC = "h5ad/pbmc3k_raw_labelled.h5ad"


@pytest.fixture
def some_cells(tmp_path: Path, data_dir: Path) -> Path:
    path = tmp_path / "cells.h5ad"
    anndata.read_h5ad(data_dir / PBMC)[:700].copy().write_h5ad(path)
    return path


def test_a_scanvi_model_is_imported_shown_and_used(celldrop: Celldrop, some_cells: Path, tmp_path: Path) -> None:
    out = tmp_path / "bundles"
    done = celldrop("models", "import", MODELS / "scanvi", "--name", "mine", "--version", "1", "--out", out, "--json")
    assert done.status == 0, done.stderr
    shown = celldrop("models", "show", out / "mine" / "1").stdout
    assert "scANVI model scanvi" in shown
    assert "It computes from counts." in shown
    done = celldrop("run", some_cells, "--model", out / "mine" / "1", "--json")
    assert done.status == 0, done.stderr
    report = (done.folder / "report.html").read_text()
    assert "log1p → neural → softmax" in report
    assert "does not score by single genes" in report
    assert "genes that spoke" not in report
    manifest = json.loads((done.folder / "manifest.json").read_text())
    assert [one["name"] for one in manifest["missing"]] == ["evidence.csv"]
    labels = anndata.read_h5ad(done.folder / "annotated.h5ad").obs
    monocytes = labels["cell_type_seurat"] == "CD14+ Mono"
    assert (labels["celldrop_label"][monocytes] == "cd14-monocytes").mean() > 0.9


def test_one_task_and_three_give_the_same_bytes(celldrop: Celldrop, some_cells: Path, tmp_path: Path) -> None:
    out = tmp_path / "bundles"
    asked = ("--name", "mine", "--version", "1", "--batch", "first", "--out", out)
    assert celldrop("models", "import", MODELS / "scanvi_covariates", *asked).status == 0
    places = [("--set", f"tasks={n}", "--out", tmp_path / str(n)) for n in (1, 3)]
    runs = [celldrop("run", some_cells, "--model", out, *place, "--json") for place in places]
    assert [done.status for done in runs] == [0, 0]
    for name in ("annotations.parquet", "annotated.h5ad"):
        one, three = ((done.folder / name).read_bytes() for done in runs)
        assert one == three


def test_a_scanvi_model_is_added_from_its_folder(celldrop: Celldrop, some_cells: Path) -> None:
    added = celldrop("models", "add", MODELS / "scanvi", "--json")
    assert added.status == 0, added.stderr
    assert added.json["added"] == "scanvi@1"
    refused = celldrop("models", "add", MODELS / "scanvi_covariates", "--json")
    assert (refused.status, refused.json["code"]) == (2, "INVALID_OPTION")
    assert "--batch with one of first, second" in refused.json["message"]
    again = celldrop("models", "add", MODELS / "scanvi_covariates" / "model.pt", "--batch", "second", "--json")
    assert again.json["added"] == "scanvi-covariates@1"
    verdict = celldrop("validate", some_cells, "--model", "scanvi-covariates", "--json").json
    assert verdict["overlap"] == {"n_matched": 160, "n_model": 160}


def test_a_file_without_counts_is_refused(celldrop: Celldrop, some_cells: Path, tmp_path: Path) -> None:
    cells = anndata.read_h5ad(some_cells)
    sc.pp.normalize_total(cells, target_sum=1e4)
    sc.pp.log1p(cells)
    cells.write_h5ad(tmp_path / "logarithms.h5ad")
    out = tmp_path / "bundles"
    celldrop("models", "import", MODELS / "scanvi", "--name", "mine", "--version", "1", "--out", out)
    done = celldrop("run", tmp_path / "logarithms.h5ad", "--model", out, "--json")
    assert (done.status, done.json["code"]) == (3, "COUNTS_NEEDED")
    assert "mine@1 computes from" in done.json["message"]


def test_only_kinds_with_a_recipe_can_be_trained(celldrop: Celldrop, some_cells: Path) -> None:
    asked = ("--labels", "cell_type_seurat", "--name", "x", "--version", "1", "--kind", "neural")
    refused = celldrop("models", "train", some_cells, *asked)
    assert refused.status == 2
    assert set(RECIPES) == set(Kind) - {Kind.NEURAL, Kind.ENCODED}
    assert all(str(kind) in refused.stderr for kind in RECIPES)


def test_the_folder_of_a_model_that_was_not_imported_says_what_to_do(celldrop: Celldrop, some_cells: Path) -> None:
    refused = celldrop("run", some_cells, "--model", MODELS / "scanvi", "--json")
    assert refused.json["code"] == "MODEL_NOT_FOUND"
    assert "models import" in refused.json["hint"]
