"""`celldrop models evaluate` with several files and models, an ontology, and files to keep."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import anndata
import pytest

from tests.pipeline.conftest import ROOT, Celldrop

ZHENG = "h5ad/zheng_sorted_pbmc_train.h5ad"
SORTED, PBMC = ROOT / "models" / "pbmc-sorted" / "1.1.0", ROOT / "models" / "pbmc" / "1.1.0"
OBO = "reference/cl-simple-2026-03-26.obo"

pytestmark = pytest.mark.xdist_group("runs")


@pytest.fixture(scope="module")
def two(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Some of the sorted cells, with slugs and with ids as labels, and as many without a label that a model has."""
    folder = tmp_path_factory.mktemp("two")
    cells = anndata.read_h5ad(data_dir / ZHENG)[::40].copy()
    cells.write_h5ad(folder / "known.h5ad")
    cells.obs["population"] = "dragon"
    cells.write_h5ad(folder / "unknown.h5ad")
    return folder / "known.h5ad", folder / "unknown.h5ad"


def test_models_and_files_are_compared_in_one_table_and_written(
    celldrop: Celldrop, two: tuple[Path, Path], data_dir: Path, tmp_path: Path
) -> None:
    columns = ("--labels", "cell_type_ontology_term_id", "--labels", "population")
    out = tmp_path / "figures"
    arguments = ("--model", PBMC, "--ontology", data_dir / OBO, "--out", out, "--json")
    done = celldrop("models", "evaluate", SORTED, *two, *columns, *arguments)
    assert done.status == 3, done.stderr  # Of two files, one has nothing to compare.
    found = done.json["evaluations"]
    assert [(one["model"], Path(one["file"]).name) for one in found] == [
        ("pbmc-sorted@1.1.0", "known.h5ad"),
        ("pbmc-sorted@1.1.0", "unknown.h5ad"),
        ("pbmc@1.1.0", "known.h5ad"),
        ("pbmc@1.1.0", "unknown.h5ad"),
    ]
    assert [one["error"]["code"] for one in found[1::2]] == ["LABELS_NOT_COMPARABLE"] * 2
    assert found[0]["labels"]["accuracy"] > 0.85
    assert found[0]["hierarchical"]["exact"] == found[0]["labels"]["accuracy"]
    assert found[0]["hierarchical"]["f1"] > found[0]["labels"]["accuracy"]
    assert json.loads((out / "metrics.json").read_text())["evaluations"] == found
    rows = list(csv.DictReader((out / "metrics.csv").read_text().splitlines()))
    assert [row["model"] for row in rows] == [one["model"] for one in found]
    assert float(rows[0]["accuracy"]) == found[0]["labels"]["accuracy"]
    assert float(rows[2]["hop_2_f1"]) == found[2]["hierarchical"]["hop_f1"][2]
    assert [row["error"] for row in rows] == ["", "LABELS_NOT_COMPARABLE"] * 2
    cells = csv.DictReader((out / "cross_tables.csv").read_text().splitlines())
    assert sum(int(row["cells"]) for row in cells) == 2 * found[0]["n_cells"]
    page = (out / "evaluation.html").read_text()
    assert 'class="same"' in page
    assert "Not labels of" in page, "what the terminal says of it"
    assert "dragon" in page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")


def test_one_file_and_one_model_print_what_they_did(celldrop: Celldrop, two: tuple[Path, Path]) -> None:
    done = celldrop("models", "evaluate", SORTED, two[0], "--labels", "sorted_population")
    assert done.status == 0, done.stderr
    first = done.stdout.splitlines()
    assert first[0] == "pbmc-sorted@1.1.0 on known.h5ad, 242 labelled cells"
    assert first[1].split() == ["compared", "by", "cells", "accuracy", "balanced", "accuracy", "macro", "F1"]
    assert [line.split()[0] for line in first[2:5]] == ["labels", "lineages", "label"]
    assert "Ontology" not in done.stdout


def test_models_that_know_different_labels_are_compared_on_the_cells_common_to_both(
    celldrop: Celldrop, two: tuple[Path, Path], tmp_path: Path
) -> None:
    cells = anndata.read_h5ad(two[0])
    labels = cells.obs["sorted_population"].astype(object)
    labels.iloc[:9] = "cd16-monocytes"  # `pbmc` alone has these.
    cells.obs["sorted_population"] = labels
    cells.write_h5ad(tmp_path / "a.h5ad")
    out = tmp_path / "figures"
    named = ("models", "evaluate", SORTED, tmp_path / "a.h5ad", "--labels", "sorted_population")
    done = celldrop(*named, "--model", PBMC, "--out", out, "--json")
    assert done.status == 0, done.stderr
    (common,) = done.json["common"]
    assert [one["labels"]["n_cells"] for one in done.json["evaluations"]] == [233, 242]
    assert (common["n_cells"], common["different"]) == (233, True)
    assert common["accuracy"][0] == done.json["evaluations"][0]["labels"]["accuracy"]
    assert json.loads((out / "metrics.json").read_text())["common"] == [common]
    told = celldrop(*named, "--model", PBMC)
    text = " ".join(told.stdout.split())
    assert "compared on different cells" in text
    assert "cells common to all can be compared. They say nothing of types that" in text
    assert f"pbmc@1.1.0 {common['accuracy'][1]:.4f}" in text.partition("accuracy (233 cells)")[2]
    assert max(map(len, told.stdout.splitlines())) <= 80
    page = (out / "evaluation.html").read_text()
    assert "compared on different cells" in page
    assert "accuracy (233 cells)" in page
    assert "expected calibration error" in page
    same = celldrop(*named, "--model", SORTED)
    assert "All models are compared on the same cells." in same.stdout


@pytest.mark.parametrize("columns", [40, 120])
def test_sentences_end_at_the_width_of_the_terminal(celldrop: Celldrop, two: tuple[Path, Path], columns: int) -> None:
    named = ("models", "evaluate", SORTED, two[0], "--labels", "sorted_population")
    lines = celldrop(*named, COLUMNS=str(columns)).stdout.splitlines()
    (start,) = [place for place, line in enumerate(lines) if line.startswith("  scores are corrected")]
    assert len(lines[start]) <= columns
    assert len(lines[start]) + len(lines[start + 1].split()[0]) >= columns
    assert lines[start + 1].startswith("    ")


def test_a_model_that_is_not_there_is_told_before_anything_is_scored(
    celldrop: Celldrop, two: tuple[Path, Path], tmp_path: Path
) -> None:
    arguments = ("--labels", "sorted_population", "--out", tmp_path / "figures")
    done = celldrop("models", "evaluate", SORTED, two[0], "--model", "no-such-model", *arguments)
    assert done.status != 0
    assert "MODEL_NOT_FOUND" in done.stderr
    assert "labelled cells" not in done.stdout


def test_labels_and_file_names_can_be_any_text(celldrop: Celldrop, two: tuple[Path, Path], tmp_path: Path) -> None:
    cells = anndata.read_h5ad(two[0])
    labels = cells.obs["sorted_population"].astype(object)
    evil = ["=1+1", "+1", "-1", "@x", "\uff1dx"]
    labels.iloc[: len(evil)] = evil
    cells.obs["sorted_population"] = labels
    cells.write_h5ad(tmp_path / "a.h5ad")
    file, out = tmp_path / os.fsdecode(b"=\xff.h5ad"), tmp_path / "figures"
    (tmp_path / "a.h5ad").rename(file)
    done = celldrop("models", "evaluate", SORTED, file, "--labels", "sorted_population", "--out", out)
    assert done.status == 0, done.stderr
    rows = list(csv.DictReader((out / "cross_tables.csv").read_text().splitlines()))
    assert {row["file"] for row in rows} == {"'=\\udcff.h5ad"}
    assert {f"'{label}" for label in evil} < {row["own_label"] for row in rows}
    (figures,) = csv.DictReader((out / "metrics.csv").read_text().splitlines())
    assert figures["file"] == "'=\\udcff.h5ad"
    assert "=\\udcff.h5ad" in (out / "evaluation.html").read_text()
    (told,) = json.loads((out / "metrics.json").read_text())["evaluations"]
    assert told["file"] == str(file)
    assert set(evil) < set(told["own"])


def test_an_out_that_holds_bundles_is_refused(celldrop: Celldrop, two: tuple[Path, Path]) -> None:
    done = celldrop("models", "evaluate", SORTED, two[0], "--labels", "x", "--out", ROOT / "models", "--json")
    assert (done.status, done.json["code"]) == (2, "INVALID_OPTION")
    assert "--models" in done.json["hint"]


def test_as_many_columns_as_files_are_expected(celldrop: Celldrop, two: tuple[Path, Path]) -> None:
    done = celldrop("models", "evaluate", SORTED, two[0], "--labels", "x", "--labels", "y", "--json")
    assert (done.status, done.json["code"]) == (2, "INVALID_OPTION")


def test_a_report_and_an_evaluation_say_the_same_of_one_file(
    celldrop: Celldrop, data_dir: Path, tmp_path: Path
) -> None:
    file, column = data_dir / "h5ad/pbmc3k_raw_labelled.h5ad", "louvain_scanpy"
    done = celldrop("run", file, "--model", PBMC, "--json", "--set", "map=off", "--set", f"truth={column}")
    assert done.status == 0, done.stderr
    manifest = json.loads((done.folder / "manifest.json").read_text())
    reported = manifest["own_labels"]
    out = tmp_path / "figures"
    found = celldrop("models", "evaluate", PBMC, file, "--labels", column, "--out", out, "--json").json
    names = found["predicted"]
    crossed = {
        own: {name: cells for name, cells in zip(names, row, strict=True) if cells}
        for own, row in zip(found["own"], found["cells_tp"], strict=True)
    }
    assert crossed == reported["counts"]
    assert found["labels"]["n_cells"] == reported["label_agreement"]["n_cells"]
    assert found["labels"]["accuracy"] == reported["label_agreement"]["accuracy"]
    assert found["labels"]["macro_f1"] == pytest.approx(reported["label_agreement"]["macro_f1"], rel=1e-12)
    assert found["composition"] == manifest["labels"]["shares"]
    assert "corrected to the shares" in (out / "evaluation.html").read_text()


def test_scores_are_compared_as_they_are_if_that_is_asked_for(
    celldrop: Celldrop, data_dir: Path, tmp_path: Path
) -> None:
    file, column = data_dir / "h5ad/pbmc3k_raw_labelled.h5ad", "louvain_scanpy"
    options = ("--set", "map=off", "--set", f"truth={column}", "--set", "composition=off")
    done = celldrop("run", file, "--model", PBMC, "--json", *options)
    reported = json.loads((done.folder / "manifest.json").read_text())["own_labels"]["label_agreement"]
    out = tmp_path / "figures"
    arguments = ("--labels", column, "--no-composition", "--out", out, "--json")
    found = celldrop("models", "evaluate", PBMC, file, *arguments).json
    assert found["labels"]["accuracy"] == reported["accuracy"]
    assert found["composition"] is None
    assert [row["composition"] for row in csv.DictReader((out / "metrics.csv").read_text().splitlines())] == ["off"]
    assert "corrected to the shares" not in (out / "evaluation.html").read_text()
