"""The client of Cellarium CAS itself reads our results as its service's, and labels cells as we do."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

from tests.cas.environment import Answer, read_by_client, run_by_client
from tests.pipeline.conftest import ROOT, Celldrop, celldrop, celltypist_models, environment

__all__ = ["celldrop", "celltypist_models", "environment"]  # Fixtures of the command line.

PBMC, ZHENG, CL = "h5ad/pbmc3k_raw_labelled.h5ad", "h5ad/zheng_sorted_pbmc_train.h5ad", "cl-simple-2026-03-26.obo"
PAGE = ROOT / "docs" / "how-to" / "use-the-cas-client.md"
COLUMN = "louvain_scanpy"

pytestmark = [
    pytest.mark.exhaustive,
    pytest.mark.xdist_group("runs"),
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning"),
]


def shipped(_celldrop: Celldrop, _data_dir: Path, _out: Path) -> Path:
    """A linear model whose scores add up to 1, with a tree."""
    return ROOT / "models" / "pbmc" / "1.2.0"


def imported(celldrop: Celldrop, data_dir: Path, out: Path) -> Path:
    """A linear model whose labels each stand alone, with the terms of the Cell Ontology."""
    named = ("--name", "popv", "--version", "1", "--out", out, "--ontology", data_dir / "reference" / CL)
    done = celldrop("models", "import", data_dir / "models" / "popv_celltypist.pkl", *named)
    assert done.status == 0, done.stderr
    return out / "popv" / "1"


def trained(kind: str) -> Callable[[Celldrop, Path, Path], Path]:
    """A model of another kind, with the terms of the Cell Ontology and a tree."""

    def train(celldrop: Celldrop, data_dir: Path, out: Path) -> Path:
        named = ("--name", kind, "--version", "1", "--out", out, "--kind", kind, "--n-genes", "500")
        labels = ("--labels", "sorted_population", "--names", "blood", "--ontology", data_dir / "reference" / CL)
        done = celldrop("models", "train", data_dir / ZHENG, *named, *labels)
        assert done.status == 0, done.stderr
        return out / kind / "1"

    return train


MODELS = {
    "linear, shipped": shipped,
    "linear, imported": imported,
    "centroid": trained("centroid"),
    "neighbours": trained("neighbours"),
}


@pytest.mark.parametrize("model", MODELS)
def test_the_client_finds_the_same_scores_and_labels_in_every_place(
    model: str, celldrop: Celldrop, data_dir: Path, tmp_path: Path
) -> None:
    bundle = MODELS[model](celldrop, data_dir, tmp_path / "bundles")
    cells = anndata.read_h5ad(data_dir / PBMC)
    cells = cells[cells.obs[COLUMN].notna()].copy()
    clusters = cells.obs[COLUMN].to_numpy()
    cells.write_h5ad(tmp_path / "cells.h5ad")
    done = celldrop("run", tmp_path / "cells.h5ad", "--model", bundle, "--json", "--set", "map=off", "--set", "cas=on")
    assert done.status == 0, done.stderr
    answer = read_by_client(done.folder, COLUMN, tmp_path / "answer.npz")
    assert str(answer["model_name"]) == done.json["model"]
    check_scores(answer)
    check_labels(answer, pd.read_csv(done.folder / "inferred_labels.csv", index_col=0))
    of_clusters = pd.Series(answer["annotated/cluster/name_1"]).groupby(clusters).unique()
    assert (of_clusters.str.len() == 1).all()
    assert "leukocyte" in str(answer["annotated/phyloxml"])


def check_scores(answer: Answer) -> None:
    scores = answer["inserted/scores"]
    np.testing.assert_allclose(answer["annotated/scores"], scores, rtol=1e-7)
    assert (scores[:, 0] == 1).all(), "every label of these models has a term"
    assert answer["cl_names"][0] == "CL:0000000"
    assert (scores.max(axis=1) <= 1).all()
    assert ((scores == 0) | (scores >= 0.05 - 1e-9)).all()


def check_labels(answer: Answer, own: pd.DataFrame) -> None:
    for place in (1, 2, 3):
        for what in ("label", "name"):
            assert list(answer[f"inserted/shortest/{what}_{place}"]) == list(own[f"cas_cell_type_{what}_{place}"])
            for way in ("shortest", "longest", "cluster"):
                one, other = (answer[f"{whose}/{way}/{what}_{place}"] for whose in ("inserted", "annotated"))
                assert list(one) == list(other), (way, what, place)
        scores = answer[f"inserted/shortest/score_{place}"]
        np.testing.assert_allclose(own[f"cas_cell_type_score_{place}"], scores, rtol=1e-7)


def test_the_code_of_the_page_runs_as_it_stands(celldrop: Celldrop, data_dir: Path) -> None:
    done = celldrop(
        "run",
        data_dir / PBMC,
        "--model",
        MODELS["linear, shipped"](celldrop, data_dir, Path()),
        "--json",
        "--set",
        "map=off",
        "--set",
        "cas=on",
    )
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL))
    printed = run_by_client(["-c", code], done.folder)
    counted = pd.read_csv(done.folder / "inferred_labels.csv")["cas_cell_type_label_1"].value_counts()
    for label, n_cells in counted.items():
        assert re.search(rf"^{re.escape(str(label))} +{n_cells}$", printed, re.MULTILINE), printed
