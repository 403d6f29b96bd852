"""The genes that spoke for a label are those of the textbooks, and pseudobulk has the sums that scanpy makes."""

from __future__ import annotations

import json
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy

from shared.h5ad.names.gene_table import symbol_of
from tests.pipeline.conftest import ROOT, Celldrop

MODELS = {"CELLDROP_MODELS_DIR": str(ROOT / "models"), "CELLDROP_DEFAULT_MODEL": "pbmc-sorted"}
PSEUDOBULK = ("--set", "map=off", "--set", "pseudobulk=louvain_scanpy")
MARKERS = {
    "B cell": {"CD79A", "MS4A1"},
    "NK cell": {"GNLY", "NKG7"},
    "CD14 monocyte": {"S100A8", "LYZ"},
    "Naive CD8 T cell": {"CD8A", "CD8B"},
}
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


def evidence_in(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "evidence.csv")


def test_blood_is_recognised_by_its_markers(celldrop: Celldrop, data_dir: Path) -> None:
    file = data_dir / "h5ad" / "pbmc3k_raw_labelled.h5ad"
    done = celldrop("run", file, "--json", *PSEUDOBULK, **MODELS)
    frame = evidence_in(done.folder)
    page = (done.folder / "report.html").read_text()
    section = page[page.index("the genes that spoke for them") : page.index('aria-labelledby="sure"')]
    for label, markers in MARKERS.items():
        spoke = frame[(frame["label"] == label) & (frame["speaks_by"] == "expression")]
        assert markers <= set(spoke["gene"][:5]), label
        best = spoke[spoke["gene"].isin(markers)]
        assert (best["share"] > best["share_rest"] + 0.3).all(), label
        assert all(f">{gene} in {label}: " in section for gene in spoke["gene"][:2])
    labels = pd.read_csv(done.folder / "annotations.csv.gz")["label"]
    assert frame.groupby("label")["cells"].first().to_dict() == labels.value_counts().to_dict()
    three = celldrop("run", file, "--json", *PSEUDOBULK, "--set", "tasks=3", **MODELS)
    for name in ("evidence.csv", "pseudobulk.h5ad"):
        assert (three.folder / name).read_bytes() == (done.folder / name).read_bytes()
    check_sums(done.folder)


def check_sums(folder: Path) -> None:
    """Scanpy sums the same cells, by the labels that they have in annotated.h5ad."""
    cells, pooled = (anndata.read_h5ad(folder / name) for name in ("annotated.h5ad", "pseudobulk.h5ad"))
    known_n = cells.obs["louvain_scanpy"].notna()
    assert pooled.uns["celldrop"]["n_cells_without_sample"] == str((~known_n).sum())
    cells = cells[known_n]
    theirs = scanpy.get.aggregate(cells, by=["celldrop_label", "louvain_scanpy"], func="sum")
    groups = zip(pooled.obs["label"], pooled.obs["sample"], strict=True)
    place = {f"{label}_{sample}": row for row, (label, sample) in enumerate(groups)}
    filled = np.flatnonzero(theirs.layers["sum"].sum(axis=1))
    assert {theirs.obs_names[row] for row in filled} == set(place)
    order = [place[theirs.obs_names[row]] for row in filled]
    np.testing.assert_array_equal(theirs.layers["sum"][filled], pooled.X[order])
    assert pooled.obs["psbulk_cells"].sum() == cells.n_obs


def test_a_file_without_counts_has_no_pseudobulk_and_the_manifest_says_why(celldrop: Celldrop, data_dir: Path) -> None:
    file = data_dir / "h5ad" / "pbmc68k_reduced_v050.h5ad"
    done = celldrop("run", file, "--json", "--set", "map=off", "--set", "pseudobulk=on", **MODELS)
    assert not (done.folder / "pseudobulk.h5ad").exists()
    manifest = json.loads((done.folder / "manifest.json").read_text())
    reasons = {one["name"]: one["reason"] for one in manifest["missing"]}
    assert reasons["pseudobulk.h5ad"].startswith("The file has no counts to sum: raw.X was used")
    assert manifest["options"]["pseudobulk"] == "on"


def test_a_column_of_samples_that_is_not_there_is_refused_at_once(celldrop: Celldrop, data_dir: Path) -> None:
    file = data_dir / "h5ad" / "pbmc3k_raw_labelled.h5ad"
    done = celldrop("run", file, "--set", "pseudobulk=donor", **MODELS)
    assert done.status != 0
    assert "obs has no column 'donor'" in done.stdout
    assert "louvain_scanpy" in done.stdout, "the hint names those that are there"


def test_ensembl_ids_are_read_as_symbols_and_kept_as_the_file_has_them(celldrop: Celldrop, data_dir: Path) -> None:
    done = celldrop("run", data_dir / "h5ad" / "mixology_sc_dropseq.h5ad", "--json", "--set", "map=off", **MODELS)
    frame = evidence_in(done.folder)
    named = frame[frame["speaks_by"] != "missing"]
    assert named["gene_in_file"].str.startswith("ENSG").all()
    assert (named["gene"] == named["gene_in_file"].map(symbol_of)).mean() > 0.9
    missing = frame[frame["speaks_by"] == "missing"]
    assert missing["gene_in_file"].isna().all()
