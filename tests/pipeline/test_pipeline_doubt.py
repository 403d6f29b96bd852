"""Cells unlike the model's, the sample's shares and reliable labels: every result says the same about them."""

from __future__ import annotations

import json
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

from shared.h5ad.judge.cautions import WarningCode
from tests.pipeline.conftest import SORTED, Celldrop, Ended
from tests.pipeline.few_cells import few_cells

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


def frame_of(done: Ended) -> pd.DataFrame:
    return pd.read_csv(done.folder / "annotations.csv.gz", index_col="cell_id")


def test_cells_of_another_tissue_are_told_to_everybody(celldrop: Celldrop, data_dir: Path) -> None:
    file = data_dir / "h5ad" / "mixology_sc_dropseq.h5ad"
    done = celldrop("run", file, "--json", "--set", "map=off", **SORTED)
    frame = frame_of(done)
    assert frame["unfamiliar"].mean() >= 0.95
    assert set(frame["reliable_label"][frame["unfamiliar"]]) == {"Unassigned"}
    n_unfamiliar = int(frame["unfamiliar"].sum())
    cells = anndata.read_h5ad(done.folder / "annotated.h5ad")
    assert cells.obs["celldrop_unfamiliar"].dtype == np.bool_
    assert int(cells.obs["celldrop_unfamiliar"].sum()) == n_unfamiliar
    np.testing.assert_array_equal(cells.obs["celldrop_unfamiliarity"], frame["unfamiliarity"].astype(np.float32))
    manifest = json.loads((done.folder / "manifest.json").read_text())
    assert manifest["labels"]["n_unfamiliar"] == done.json["summary"]["n_unfamiliar"] == n_unfamiliar
    assert manifest["labels"]["n_judged"] == done.json["summary"]["n_judged"] == frame["unfamiliarity"].notna().sum()
    (told,) = [one for one in manifest["verdict"]["findings"] if one["code"] == WarningCode.UNFAMILIAR_CELLS]
    assert told["details"]["n_unfamiliar"] == n_unfamiliar
    assert told in done.json["verdict"]["findings"]
    page = (done.folder / "report.html").read_text()
    assert "are unlike the cells that pbmc-sorted@" in page[page.index("<h1>") : page.index("</h1>")]
    shown = celldrop("run", file, "--set", "map=off", **SORTED)
    assert shown.stdout.index("UNFAMILIAR_CELLS") < shown.stdout.index("share")


@pytest.mark.xdist_group("blood")
def test_cells_of_the_model_s_tissue_get_levels_and_the_shares_that_were_used(blood: Ended, data_dir: Path) -> None:
    frame = frame_of(blood)
    labels = (
        anndata.read_h5ad(data_dir / "h5ad" / "pbmc3k_raw_labelled.h5ad").obs["cell_type_seurat"].astype(str).to_numpy()
    )
    for type_ in ("B", "CD14+ Mono", "NK", "Naive CD4 T", "Memory CD4 T"):
        assert frame["unfamiliar"][labels == type_].mean() <= 0.1, type_
    assert (frame["label"] == "Regulatory T cell").mean() <= 0.06
    lineage = {"B": "B cell", "CD14+ Mono": "Monocyte", "NK": "NK cell", "Naive CD4 T": "T cell"}
    for type_, name in lineage.items():
        assert (frame["lineage"][labels == type_] == name).mean() >= 0.95, type_
    manifest = json.loads((blood.folder / "manifest.json").read_text())
    assert sum(manifest["labels"]["shares"].values()) == pytest.approx(1, abs=1e-4)
    assert manifest["labels"]["lineages"] == frame["lineage"].value_counts().to_dict()
    assert manifest["labels"]["reliable"] == frame["reliable_label"].value_counts().to_dict()
    assert not [one for one in manifest["verdict"]["findings"] if one["code"] == WarningCode.UNFAMILIAR_CELLS]
    page = (blood.folder / "report.html").read_text()
    assert "By lineage: T cell" in page
    assert "at most 5% of the cells that were held out of its training got a wrong answer" in page


def test_scores_are_corrected_alike_by_several_tasks_and_not_at_all_on_request(
    celldrop: Celldrop, data_dir: Path, tmp_path: Path
) -> None:
    few_cells(data_dir, 600).write_h5ad(tmp_path / "few.h5ad")
    command = ("run", tmp_path / "few.h5ad", "--json", "--set", "map=off")
    one, several = (celldrop(*command, "--set", f"tasks={n}", "--rerun", **SORTED) for n in (1, 3))
    assert (several.folder / "annotations.parquet").read_bytes() == (one.folder / "annotations.parquet").read_bytes()
    as_they_are = celldrop(*command, "--set", "composition=off", **SORTED)
    assert not frame_of(as_they_are)["score"].equals(frame_of(one)["score"])
    assert json.loads((as_they_are.folder / "manifest.json").read_text())["labels"]["shares"] is None


def test_no_label_is_reliable_where_the_names_of_the_genes_do_not_fit(
    celldrop: Celldrop, data_dir: Path, tmp_path: Path
) -> None:
    cells = anndata.read_h5ad(data_dir / "h5ad" / "pbmc3k_raw_labelled.h5ad")[:300]
    cells.var_names = np.random.default_rng(0).permutation(cells.var_names)
    cells = anndata.AnnData(cells.X, var=pd.DataFrame(index=cells.var_names))
    cells.write_h5ad(tmp_path / "shuffled.h5ad")
    done = celldrop("run", tmp_path / "shuffled.h5ad", "--json", "--set", "map=off", **SORTED)
    assert WarningCode.GENES_DISAGREE in [one["code"] for one in done.json["verdict"]["findings"]]
    assert set(frame_of(done)["reliable_label"]) == {"Unassigned"}
    assert done.json["summary"]["n_reliable_label"] == 0


def test_an_imported_model_says_what_it_cannot_tell(celldrop: Celldrop, data_dir: Path) -> None:
    done = celldrop("run", data_dir / "h5ad" / "mixology_sc_dropseq.h5ad", "--json", "--set", "map=off")
    frame = frame_of(done)
    for column in ("unfamiliar", "unfamiliarity", "lineage", "lineage_score", "reliable_label"):
        assert frame[column].isna().all()
        assert f"celldrop_{column}" not in anndata.read_h5ad(done.folder / "annotated.h5ad").obs
    assert "Not known: this model cannot recognise cells" in (done.folder / "report.html").read_text()


def test_a_model_that_tells_nothing_is_told_by_training_and_by_every_run(
    celldrop: Celldrop, data_dir: Path, tmp_path: Path
) -> None:
    cells = few_cells(data_dir, 400)
    cells.obs["drawn"] = [f"type {number}" for number in np.random.default_rng(0).integers(0, 4, cells.n_obs)]
    cells.write_h5ad(tmp_path / "drawn.h5ad")
    trained = celldrop(
        *("models", "train", tmp_path / "drawn.h5ad", "--labels", "drawn", "--kind", "centroid", "--json"),
        *("--name", "drawn", "--version", "1.0.0", "--out", tmp_path / "models"),
    )
    assert WarningCode.WEAK_MODEL in [one["code"] for one in trained.json["warnings"]]
    done = celldrop("run", tmp_path / "drawn.h5ad", "--set", "map=off", "--model", tmp_path / "models/drawn/1.0.0")
    table = done.stdout.index("share")
    assert done.stdout.index("LOW_SCORES") < table
    assert done.stdout.index("WEAK_MODEL") < table
    (report,) = (tmp_path / "home").rglob("report.html")
    assert "gets few labels right" in report.read_text()
