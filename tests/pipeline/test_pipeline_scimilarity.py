"""The folder of a SCimilarity model to the labels of a file, as a user would do it."""

from __future__ import annotations

import json
from pathlib import Path

import anndata
import pytest

from tests.pipeline.conftest import Celldrop
from tests.scimilarity.library import MODEL


@pytest.fixture
def some_cells(tmp_path: Path, data_dir: Path) -> Path:
    path = tmp_path / "cells.h5ad"
    anndata.read_h5ad(data_dir / "h5ad" / "pbmc3k_raw_labelled.h5ad")[:700].copy().write_h5ad(path)
    return path


def test_a_model_is_imported_shown_and_used(celldrop: Celldrop, some_cells: Path, tmp_path: Path) -> None:
    out = tmp_path / "bundles"
    done = celldrop("models", "import", MODEL, "--name", "mine", "--version", "1", "--out", out, "--json")
    assert done.status == 0, done.stderr
    assert "SCimilarity model blood" in celldrop("models", "show", out / "mine" / "1").stdout
    done = celldrop("run", some_cells, "--model", out / "mine" / "1", "--json")
    assert done.status == 0, done.stderr
    report = (done.folder / "report.html").read_text()
    assert "normalise_features → log1p → encoded → softmax" in report
    manifest = json.loads((done.folder / "manifest.json").read_text())
    assert [one["name"] for one in manifest["missing"]] == ["evidence.csv"]
    labels = anndata.read_h5ad(done.folder / "annotated.h5ad").obs
    monocytes = labels["cell_type_seurat"] == "CD14+ Mono"
    assert (labels["celldrop_label"][monocytes] == "cd14-monocytes").mean() > 0.9


def test_one_task_and_three_give_the_same_bytes(celldrop: Celldrop, some_cells: Path, tmp_path: Path) -> None:
    added = celldrop("models", "add", MODEL, "--json")
    assert added.json["added"] == "blood@1", added.stderr
    places = [("--set", f"tasks={n}", "--out", tmp_path / str(n)) for n in (1, 3)]
    runs = [celldrop("run", some_cells, "--model", "blood", *place, "--json") for place in places]
    assert [done.status for done in runs] == [0, 0]
    for name in ("annotations.parquet", "annotated.h5ad"):
        one, three = ((done.folder / name).read_bytes() for done in runs)
        assert one == three


def test_an_encoder_without_its_reference_is_refused(celldrop: Celldrop, tmp_path: Path) -> None:
    (tmp_path / "encoder.ckpt").write_bytes((MODEL / "encoder.ckpt").read_bytes())
    (tmp_path / "gene_order.tsv").write_bytes((MODEL / "gene_order.tsv").read_bytes())
    done = celldrop("models", "add", tmp_path, "--json")
    assert done.json["code"] == "MODEL_UNSUPPORTED"
    assert "which has no labels" in done.json["message"]
