"""Clusters and their votes through the command line: every result says the same, and CellTypist votes alike."""

from __future__ import annotations

import json
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from tests.oracle.oracle import ask_celltypist
from tests.pipeline.conftest import SORTED, Celldrop, Ended
from tests.pipeline.few_cells import few_cells
from tests.pipeline.test_pipeline_doubt import frame_of

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


@pytest.mark.xdist_group("blood")
def test_similar_cells_vote_and_every_result_says_the_same(blood: Ended) -> None:
    frame, cells = frame_of(blood), anndata.read_h5ad(blood.folder / "annotated.h5ad")
    for name in ("cluster", "cluster_label"):
        assert cells.obs[f"celldrop_{name}"].astype(str).tolist() == frame[name].astype(str).tolist()
    np.testing.assert_array_equal(cells.obs["celldrop_cluster_share"], frame["cluster_share"].astype(np.float32))
    assert cells.obsm["X_celldrop"].shape == (2700, 20)
    assert cells.obsm["X_celldrop"].dtype == np.float32
    counts_ng = scipy.sparse.csr_matrix(cells.X)
    mito_n = np.asarray(counts_ng[:, cells.var_names.str.startswith("MT-")].sum(axis=1)).ravel()
    wanted_n = (mito_n / np.asarray(counts_ng.sum(axis=1)).ravel()).astype(np.float32)
    np.testing.assert_array_equal(cells.obs["celldrop_mito_share"], wanted_n)
    np.testing.assert_array_equal(frame["mito_share"].astype(np.float32), wanted_n)
    facts = json.loads((blood.folder / "manifest.json").read_text())["labels"]["clusters"]
    assert facts["n_clusters"] == frame["cluster"].nunique()
    doubted = frame["unfamiliar"].astype(bool) | (frame["label"] == "Unassigned")
    agreeing = int(
        (frame["label"] == frame["cluster_label"]).where(frame["cluster_label"] != "Unassigned", doubted).sum()
    )
    assert (facts["n_cells"], facts["n_agreeing"]) == (2700, agreeing)
    assert facts["labels"] == frame["cluster_label"].value_counts().to_dict()
    page = (blood.folder / "report.html").read_text()
    assert f"{facts['n_clusters']} clusters of cells with similar expression" in page
    assert "placed by their expression" in page


@pytest.mark.xdist_group("blood")
def test_clusters_are_of_one_type_each_and_know_types_that_the_model_does_not(blood: Ended, data_dir: Path) -> None:
    frame = frame_of(blood)
    types = anndata.read_h5ad(data_dir / "h5ad/pbmc3k_raw_labelled.h5ad").obs["cell_type_seurat"].astype(str).to_numpy()
    kept = pd.crosstab(frame["cluster"], types)
    assert kept.max(axis=1).sum() / len(frame) > 0.85
    for type_ in ("DC", "Platelet", "FCGR3A+ Mono"):  # pbmc-sorted has none of them
        own = kept.loc[kept.idxmax(axis=1) == type_, type_].sum()
        assert own > 0.6 * kept[type_].sum(), type_


def test_without_clusters_there_are_no_columns_and_the_map_is_of_scores(celldrop: Celldrop, data_dir: Path) -> None:
    done = celldrop("run", data_dir / "h5ad/cas_test_adata.h5ad", "--json", "--set", "clusters=off", **SORTED)
    cells = anndata.read_h5ad(done.folder / "annotated.h5ad")
    assert not [name for name in cells.obs.columns if "cluster" in name]
    assert "X_celldrop" not in cells.obsm
    assert frame_of(done)["cluster"].isna().all()
    page = (done.folder / "report.html").read_text()
    assert "(t-SNE of the scores of all labels" in page
    assert "Groups of similar cells" not in page


def test_a_file_that_was_annotated_before_is_told_what_is_replaced(
    celldrop: Celldrop, data_dir: Path, tmp_path: Path
) -> None:
    few_cells(data_dir, 500).write_h5ad(tmp_path / "a.h5ad")
    first = celldrop("run", tmp_path / "a.h5ad", "--json", "--set", "map=off", **SORTED)
    file = first.folder / "annotated.h5ad"
    done = celldrop("run", file, "--json", "--set", "map=off", **SORTED)
    assert done.status == 0, done.stderr
    assert "EARLIER_RESULTS" in done.stderr
    findings = json.loads((done.folder / "manifest.json").read_text())["verdict"]["findings"]
    (told,) = [one for one in findings if one["code"] == "EARLIER_RESULTS"]
    ours = [name for name in anndata.read_h5ad(file).obs.columns if name.startswith("celldrop_")]
    assert sorted(told["details"]["names"]) == sorted([*ours, 'obsm["X_celldrop"]'])
    assert "file was annotated before: celldrop_label" in (done.folder / "report.html").read_text()
    assert "EARLIER_RESULTS" not in (first.folder / "manifest.json").read_text()


def test_the_clusters_of_a_column_get_celltypist_s_majority_vote(celldrop: Celldrop, data_dir: Path) -> None:
    file, pkl = data_dir / "h5ad/pbmc3k_raw_labelled.h5ad", data_dir / "models/adams_45_f_0.pkl"
    theirs = ask_celltypist(file, pkl, over_clustering="cell_type_seurat").majority
    done = celldrop("run", file, "--json", "--set", "map=off", "--set", "clusters=cell_type_seurat")
    frame = frame_of(done)
    groups = anndata.read_h5ad(file).obs["cell_type_seurat"].astype(object)
    assert frame["cluster"].fillna("").tolist() == groups.fillna("").tolist()
    assert frame["cluster_label"].dropna().tolist() == theirs.tolist()
    assert frame["cluster_label"].isna().tolist() == groups.isna().tolist()


def test_a_column_that_is_not_there_is_refused_by_name(celldrop: Celldrop, data_dir: Path) -> None:
    done = celldrop("run", data_dir / "h5ad/pbmc3k_raw_labelled.h5ad", "--set", "clusters=leiden")
    assert done.status == 2
    assert "clusters=leiden" in done.stdout + done.stderr
    assert "louvain_scanpy" in done.stdout + done.stderr
