"""The genes that spoke for a label are those of the textbooks, in the table and in the report."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from shared.h5ad.names.gene_table import symbol_of
from tests.pipeline.conftest import ROOT, Celldrop

MODELS = {"CELLDROP_MODELS_DIR": str(ROOT / "models"), "CELLDROP_DEFAULT_MODEL": "pbmc-sorted"}
MARKERS = {
    "b-cells": {"CD79A", "MS4A1"},
    "cd56-nk": {"GNLY", "NKG7"},
    "cd14-monocytes": {"S100A8", "LYZ"},
    "naive-cytotoxic": {"CD8A", "CD8B"},
}
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


def evidence_in(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "evidence.csv")


def test_blood_is_recognised_by_its_markers(celldrop: Celldrop, data_dir: Path) -> None:
    file = data_dir / "h5ad" / "pbmc3k_raw_labelled.h5ad"
    done = celldrop("run", file, "--json", "--set", "map=off", **MODELS)
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
    seven = celldrop("run", file, "--json", "--set", "map=off", "--set", "tasks=7", "--rerun", **MODELS)
    assert (seven.folder / "evidence.csv").read_bytes() == (done.folder / "evidence.csv").read_bytes()


def test_ensembl_ids_are_read_as_symbols_and_kept_as_the_file_has_them(celldrop: Celldrop, data_dir: Path) -> None:
    done = celldrop("run", data_dir / "h5ad" / "mixology_sc_dropseq.h5ad", "--json", "--set", "map=off", **MODELS)
    frame = evidence_in(done.folder)
    named = frame[frame["speaks_by"] != "missing"]
    assert named["gene_in_file"].str.startswith("ENSG").all()
    assert (named["gene"] == named["gene_in_file"].map(symbol_of)).mean() > 0.9
    missing = frame[frame["speaks_by"] == "missing"]
    assert missing["gene_in_file"].isna().all()
