"""Files that lack some of the model's genes: no label is called reliable by a record that is of all genes."""

from __future__ import annotations

import json
from pathlib import Path

import anndata
import numpy as np
import pytest
import scipy.sparse as sp

from tests.pipeline.conftest import ROOT, Celldrop
from tests.pipeline.few_cells import few_cells

OPTIONS = ("--json", "--set", "map=off", "--set", "clusters=off")
PBMC = ("--model", ROOT / "models" / "pbmc" / "1.2.0")

TELLING = (
    *("CST3", "HLA-DRA", "LYZ", "NKG7", "CCL5", "TYROBP", "GPX1", "HLA-DPA1", "HLA-DRB1", "HLA-DPB1", "S100A9"),
    *("LST1", "AIF1", "FCER1G", "CD74"),
)
"""Genes that tell blood cells apart best."""

pytestmark = [pytest.mark.xdist_group("runs"), pytest.mark.filterwarnings("ignore::UserWarning")]


def cells_with(data_dir: Path, tmp_path: Path, share: float) -> Path:
    """Cells with this share of their genes, drawn."""
    cells = few_cells(data_dir, 300)
    kept = np.random.default_rng(0).random(cells.n_vars) < share
    cells[:, kept].copy().write_h5ad(tmp_path / "cells.h5ad")
    return tmp_path / "cells.h5ad"


def test_without_a_third_of_the_genes_no_label_is_reliable_and_everything_says_why(
    celldrop: Celldrop, data_dir: Path, tmp_path: Path
) -> None:
    file = cells_with(data_dir, tmp_path, 2 / 3)
    done = celldrop("run", file, *PBMC, *OPTIONS)
    manifest = json.loads((done.folder / "manifest.json").read_text())
    (said,) = (one for one in manifest["verdict"]["findings"] if one["code"] == "MISSING_GENES")
    assert 0.5 < said["details"]["coverage"] < 0.8
    assert manifest["labels"]["reliability"]["label_score"] is None
    assert manifest["labels"]["reliability"]["why_none"].startswith("the file lacks genes with ")
    obs = anndata.read_h5ad(done.folder / "annotated.h5ad").obs
    assert set(obs["celldrop_reliable_label"]) == {"Unassigned"}
    assert len(set(obs["celldrop_label"])) > 1
    report = (done.folder / "report.html").read_text()
    assert "300 cells, whose labels are guesses: the file lacks genes with" in report[report.index("<h1>") :]
    assert "No label is called reliable: the file lacks genes with" in report
    three = celldrop("run", file, *PBMC, *OPTIONS, "--set", "tasks=3")
    assert (three.folder / "annotations.parquet").read_bytes() == (done.folder / "annotations.parquet").read_bytes()
    shown = celldrop("run", file, *PBMC, "--set", "map=off", "--rerun").stdout
    assert shown.index("MISSING_GENES") < shown.index("share"), "above the table"


def test_genes_that_a_filter_took_from_a_small_file_are_not_missed(
    celldrop: Celldrop, data_dir: Path, tmp_path: Path
) -> None:
    cells = few_cells(data_dir, 300)
    cells[:, np.diff(cells.X.tocsc().indptr) >= 10].copy().write_h5ad(tmp_path / "filtered.h5ad")
    done = celldrop("run", tmp_path / "filtered.h5ad", *PBMC, *OPTIONS)
    verdict = done.json["verdict"]
    assert verdict["overlap"]["n_matched"] < 0.9 * verdict["overlap"]["n_model"], "more than a tenth, by number"
    assert "MISSING_GENES" not in [one["code"] for one in verdict["findings"]]
    obs = anndata.read_h5ad(done.folder / "annotated.h5ad").obs
    assert (obs["celldrop_reliable_label"] != "Unassigned").mean() > 0.8


def emptied(cells: anndata.AnnData, n_cells: int) -> anndata.AnnData:
    """The same without values of the telling genes in the first cells, as where different files are joined."""
    kept = sp.diags((~cells.var_names.isin(TELLING)).astype(np.float32))
    cells.X = sp.vstack([cells.X[:n_cells] @ kept, cells.X[n_cells:]]).tocsr()
    cells.X.eliminate_zeros()
    return cells


@pytest.mark.parametrize("n_emptied", [900, 300])
def test_genes_that_are_there_by_name_only_are_missed(
    celldrop: Celldrop, data_dir: Path, tmp_path: Path, n_emptied: int
) -> None:
    file = tmp_path / "cells.h5ad"
    emptied(few_cells(data_dir, 900), n_emptied).write_h5ad(file)
    done = celldrop("run", file, *PBMC, "--model", ROOT / "models" / "pbmc-sorted" / "1.3.0", *OPTIONS)
    manifest = json.loads((done.folder / "manifest.json").read_text())
    (said,) = (one for one in manifest["verdict"]["findings"] if one["code"] == "MISSING_GENES")
    assert said["details"]["coverage"] < 0.9
    assert set(said["details"]["genes"]) <= set(TELLING)
    assert len(said["details"]["genes"]) >= 8
    assert ("in about rows 1 to 270 " in said["message"]) == (n_emptied == 300)
    obs = anndata.read_h5ad(done.folder / "annotated.h5ad").obs
    assert set(obs["celldrop_reliable_label"]) == {"Unassigned"}
    assert set(obs["celldrop_consensus_label"]) == {"Unassigned"}, "the file's fault, whatever the model"
    report = (done.folder / "report.html").read_text()
    assert "900 cells, whose labels are guesses: no cell" in report[report.index("<h1>") :]
    three = celldrop("run", file, *PBMC, *OPTIONS, "--set", "tasks=3")
    assert (three.folder / "annotations.parquet").read_bytes() == (done.folder / "annotations.parquet").read_bytes()


def test_a_sorted_population_is_not_missing_the_genes_of_others(
    celldrop: Celldrop, data_dir: Path, tmp_path: Path
) -> None:
    sorted_cells = anndata.read_h5ad(data_dir / "h5ad/zheng_sorted_pbmc_train.h5ad")
    b_cells = sorted_cells[sorted_cells.obs["cell_type_ontology_term_id"] == "CL:0000236"]
    of_others = ["CD3D", "GNLY", "NKG7", "S100A8", "FCER1G", "FCN1", "CD8B"]
    assert not b_cells[:, of_others].X.sum(), "not one of 1,138 cells expresses any of them"
    b_cells.write_h5ad(tmp_path / "b_cells.h5ad")
    done = celldrop("run", tmp_path / "b_cells.h5ad", *PBMC, *OPTIONS)
    assert "MISSING_GENES" not in [one["code"] for one in done.json["verdict"]["findings"]]
    obs = anndata.read_h5ad(done.folder / "annotated.h5ad").obs
    assert (obs["celldrop_reliable_label"] == "B cell").mean() > 0.95
