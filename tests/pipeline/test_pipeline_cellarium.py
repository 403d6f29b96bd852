"""A checkpoint of cellarium-ml to the labels of a file, as a user would do it."""

from __future__ import annotations

from pathlib import Path

import anndata
import pytest

from tests.cellarium.library import MODELS
from tests.pipeline.conftest import Celldrop


@pytest.fixture
def some_cells(tmp_path: Path, data_dir: Path) -> Path:
    path = tmp_path / "cells.h5ad"
    anndata.read_h5ad(data_dir / "h5ad" / "pbmc3k_raw_labelled.h5ad")[:700].copy().write_h5ad(path)
    return path


@pytest.mark.parametrize(
    ("name", "steps", "evidence"),
    [
        ("logistic", "normalise → log1p → standardise → linear → softmax", True),
        ("pca_logistic", "normalise_features → log1p → standardise → linear → softmax", False),
    ],
)
def test_a_checkpoint_is_imported_and_used(
    name: str, steps: str, evidence: bool, celldrop: Celldrop, some_cells: Path, tmp_path: Path
) -> None:
    out = tmp_path / "bundles"
    asked = ("--name", "mine", "--version", "1", "--out", out, "--json")
    done = celldrop("models", "import", MODELS / f"{name}.ckpt", *asked)
    assert done.status == 0, done.stderr
    done = celldrop("run", some_cells, "--model", out / "mine" / "1", "--json")
    assert done.status == 0, done.stderr
    assert steps in (done.folder / "report.html").read_text()
    assert (done.folder / "evidence.csv").exists() == evidence
    labels = anndata.read_h5ad(done.folder / "annotated.h5ad").obs
    monocytes = labels["cell_type_seurat"] == "CD14+ Mono"
    assert (labels["celldrop_label"][monocytes] == "cd14-monocytes").mean() > 0.9


def test_a_checkpoint_is_added_from_its_path(celldrop: Celldrop) -> None:
    added = celldrop("models", "add", MODELS / "pca_logistic.ckpt", "--json")
    assert added.status == 0, added.stderr
    assert added.json["added"] == "pca-logistic@1"
    refused = celldrop("models", "add", MODELS / "pca.ckpt", "--json")
    assert refused.json["code"] == "MODEL_UNSUPPORTED"
    assert refused.json["message"].startswith("an IncrementalPCA of cellarium-ml, which has no labels")
