"""Labels that are no terms of the Cell Ontology, by the real command: named with the nearest, and a user's table."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.conftest import ROOT, Celldrop, Ended
from tests.pipeline.few_cells import few_cells

IMPORT = ("--name", "immune", "--version", "1", "--json")


@pytest.fixture
def ontology(data_dir: Path) -> Path:
    return data_dir / "reference" / "cl-simple-2026-03-26.obo"


@pytest.fixture
def immune(data_dir: Path) -> Path:
    return data_dir / "models" / "adams_45_f_0.pkl"


def test_an_import_names_the_labels_without_terms_with_the_nearest(
    celldrop: Celldrop, immune: Path, ontology: Path, tmp_path: Path
) -> None:
    done = celldrop("models", "import", immune, *IMPORT, "--ontology", ontology, "--out", tmp_path)
    assert done.status == 0, done.stderr
    without = done.json["labels_without_terms"]
    assert without
    assert all(len(near) <= 3 for near in without.values())
    label = next(name for name, near in without.items() if near)
    assert "(CL:" in without[label][0]
    told = done.stderr.splitlines()
    assert max(len(line) for line in told if str(tmp_path) not in line) <= 80
    assert f"'{label}' is no term of" in " ".join(" ".join(told).split())
    table = tmp_path / "terms.tsv"
    table.write_text(f"{label}\tCL:0000576\n")
    named = ("--ontology", ontology, "--terms", table, "--out", tmp_path / "again")
    again = celldrop("models", "import", immune, *IMPORT, *named)
    assert again.status == 0, again.stderr
    assert again.json["labels_without_terms"].keys() == without.keys() - {label}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{label}\tmonocytic", "nearest: monocyte (CL:0000576)"),
        ("{label}\tCL:9999999", "is no term of the ontology"),
        ("dragon\tmonocyte", "no label of the model"),
        ("{label}", "terms cannot be read"),
    ],
)
def test_a_wrong_table_is_refused(  # fixtures
    celldrop: Celldrop, immune: Path, ontology: Path, tmp_path: Path, line: str, words: str
) -> None:
    table = tmp_path / "terms.tsv"
    table.write_text(line.format(label="ABCs") + "\n")
    done = celldrop("models", "import", immune, *IMPORT, "--ontology", ontology, "--terms", table, "--out", tmp_path)
    assert (done.status, done.json["code"]) == (2, "INVALID_OPTION")
    assert words in done.stdout
    assert not list(tmp_path.glob("immune/*"))


def test_a_table_without_an_ontology_is_refused(celldrop: Celldrop, immune: Path, tmp_path: Path) -> None:
    done = celldrop("models", "import", immune, *IMPORT, "--terms", tmp_path / "terms.tsv", "--out", tmp_path)
    assert "--terms without --ontology" in done.stdout


# --- Terms that are added afterwards ----------------------------------------------------------------------------------

OPTIONS = ("--json", "--set", "map=off", "--set", "clusters=off")
SHIPPED = {"CELLDROP_MODELS_DIR": str(ROOT / "models"), "CELLDROP_CATALOGUES": ""}


@pytest.fixture
def environment(environment: dict[str, str], tmp_path: Path) -> dict[str, str]:
    return {**environment, **SHIPPED, "CELLDROP_ADDED_MODELS_DIR": str(tmp_path / "added")}


def consensus(celldrop: Celldrop, cells: Path, *models: object) -> tuple[Ended, dict[str, Any]]:
    """A run by several models, and what the manifest says of them."""
    done = celldrop("run", cells, *OPTIONS, *(word for model in models for word in ("--model", model)))
    assert done.status == 0, done.stderr
    return done, json.loads((done.folder / "manifest.json").read_text())["consensus"]


def test_models_that_get_their_terms_afterwards_can_be_compared(
    celldrop: Celldrop, ontology: Path, data_dir: Path, tmp_path: Path
) -> None:
    cells, popv = tmp_path / "cells.h5ad", data_dir / "models" / "popv_celltypist.pkl"
    few_cells(data_dir, 700).write_h5ad(cells)
    before = {path: path.read_bytes() for path in (ROOT / "models").rglob("*") if path.is_file()}
    assert celldrop("models", "add", popv, "--name", "popv", "--json").status == 0
    for name in ("pbmc", "pbmc-sorted", "popv"):
        done = celldrop("models", "add", name, "--ontology", ontology, "--json")
        assert (done.status, done.json["added"].partition("@")[0]) == (0, f"{name}-terms"), done.stderr
        assert done.json["labels_without_terms"] == {}
    assert before == {path: path.read_bytes() for path in (ROOT / "models").rglob("*") if path.is_file()}

    plain, without = consensus(celldrop, cells, "pbmc", "popv")
    done, found = consensus(celldrop, cells, "pbmc-terms", "popv-terms")
    assert without["n_not_comparable"] > len(few_cells(data_dir, 700)) / 10
    assert found["n_not_comparable"] < without["n_not_comparable"] / 20, "but for what a known type is both of"
    assert found["counts"].get("Unassigned", 0) < without["counts"]["Unassigned"]
    assert (done.folder / "annotations.csv.gz").read_bytes() == (plain.folder / "annotations.csv.gz").read_bytes()
    _, found = consensus(celldrop, cells, "pbmc-terms", "pbmc-sorted-terms")
    assert found["n_not_comparable"] == 0
    assert found["common_sources"][0]["source"] == "doi:10.1038/ncomms14049"
    twice = celldrop("run", cells, *OPTIONS, "--model", "pbmc", "--model", "pbmc-terms")
    assert (twice.status, twice.json["code"]) == (2, "INVALID_OPTION"), "the same model votes twice"


def test_the_bundle_with_terms_is_another_one_and_its_card_says_whose_they_are(
    celldrop: Celldrop, ontology: Path
) -> None:
    own = json.loads((ROOT / "models/pbmc/1.2.0/model.json").read_text())
    done = celldrop("models", "add", "pbmc@1.2.0", "--ontology", ontology, "--version", "2", "--json")
    assert done.json["added"] == "pbmc-terms@2", done.stderr
    card = json.loads((Path(done.json["path"]) / "model.json").read_text())
    assert card["digest"] == done.json["digest"] != own["digest"]
    assert (
        "pbmc@1.2.0 with the Cell Ontology terms of cl-simple-2026-03-26.obo (cl/releases/2026-03"
        in (card["description"])
    )
    assert card["training"]["parameters"]["terms_added_to"] == own["digest"]
    assert [label["name"] for label in card["labels"]] == [label["name"] for label in own["labels"]]
    carried = {term["id"]: term["parents"] for term in card["terms"]}
    assert {label["ontology_id"] for label in card["labels"]} < carried.keys()
    assert all(parent in carried for parents in carried.values() for parent in parents)


@pytest.mark.parametrize(
    ("model", "more", "code", "words"),
    [
        ("pbmc", ["--name", "pbmc"], "INVALID_OPTION", "would be called pbmc@1.2.0, too"),
        (ROOT / "models/pbmc/1.2.0", ["--name", "pbmc"], "INVALID_OPTION", "would be called pbmc@1.2.0, too"),
        ("pbmc", ["--name", "pbmc-sorted", "--version", "1.3.0"], "MODEL_EXISTS", "is installed already"),
        ("pbmc", ["--name", "Ä"], "INVALID_OPTION", "a name that a bundle can have"),
        ("pbmc", ["--batch", "a"], "INVALID_OPTION", "for models of other programs"),
        ("nobody", [], "MODEL_NOT_FOUND", "nobody"),
    ],
)
def test_terms_never_make_two_models_of_one_reference(
    celldrop: Celldrop, ontology: Path, model: object, more: list[str], code: str, words: str
) -> None:
    done = celldrop("models", "add", model, "--ontology", ontology, *more, "--json")
    assert done.json["code"] == code
    assert words in done.stdout


def test_a_bundle_elsewhere_keeps_its_reference_to_itself_and_an_added_one_is_never_replaced(
    celldrop: Celldrop, ontology: Path, data_dir: Path, tmp_path: Path
) -> None:
    elsewhere = shutil.copytree(ROOT / "models/pbmc/1.2.0", tmp_path / "elsewhere")
    none = {**SHIPPED, "CELLDROP_MODELS_DIR": str(tmp_path / "none")}
    same = celldrop("models", "add", elsewhere, "--ontology", ontology, "--name", "pbmc", "--json", **none)
    assert (same.status, same.json["code"]) == (2, "INVALID_OPTION")
    assert "would be called pbmc@1.2.0, too" in same.json["message"]
    for expected in ("pbmc-terms@1.2.0", None):
        done = celldrop("models", "add", elsewhere, "--ontology", ontology, "--json", **none)
        assert done.json.get("added") == expected
    assert done.json["code"] == "MODEL_EXISTS"
    guide = data_dir / "reference" / "CL-ontology-v2025-07-30.json.gz"
    done = celldrop("models", "add", elsewhere, "--ontology", guide, "--version", "2025", "--json", **none)
    assert done.json["added"] == "pbmc-terms@2025", done.stderr


def test_a_table_of_terms_and_no_term_at_all(celldrop: Celldrop, ontology: Path, immune: Path, tmp_path: Path) -> None:
    assert celldrop("models", "add", immune, "--name", "immune", "--json").status == 0
    table, nothing = tmp_path / "terms.tsv", tmp_path / "few.obo"
    table.write_text("ABCs\tCL:0000236\nMAIT\tmucosal invariant T cell\n")
    plain = celldrop("models", "add", "immune", "--ontology", ontology, "--json")
    by_hand = ("--ontology", ontology, "--terms", table, "--version", "2")
    done = celldrop("models", "add", "immune", *by_hand, "--json")
    assert done.json["labels_without_terms"].keys() == plain.json["labels_without_terms"].keys() - {"ABCs", "MAIT"}
    nothing.write_text("[Term]\nid: CL:0000540\nname: neuron\n")
    none = celldrop("models", "add", "immune", "--ontology", nothing, "--version", "3", "--json")
    assert (none.status, none.json["code"]) == (2, "INVALID_OPTION")
    assert "none of 45 labels of immune@1 is a term of few.obo" in none.json["message"]
    alone = celldrop("models", "add", "immune", "--terms", table, "--json")
    assert "--terms without --ontology" in alone.json["message"]


@pytest.mark.slow
def test_an_evaluation_names_labels_of_file_and_model(
    celldrop: Celldrop, ontology: Path, data_dir: Path, tmp_path: Path
) -> None:
    cells = few_cells(data_dir, 200)
    column = next(name for name in cells.obs.columns if "cell_type" in name or "louvain" in name)
    names = cells.obs[column].astype(object)
    names.iloc[:20] = "monocytic"
    cells.obs["mine"] = names
    path = tmp_path / "labelled.h5ad"
    cells.write_h5ad(path)
    model = ROOT / "models" / "pbmc" / "1.2.0"
    done = celldrop("models", "evaluate", model, path, "--labels", "mine", "--ontology", ontology, "--json")
    assert done.status == 0, done.stderr
    assert done.json["without_terms"]["monocytic"][0] == "monocyte (CL:0000576)"
    said = celldrop("models", "evaluate", model, path, "--labels", "mine", "--ontology", ontology)
    assert "'monocytic' is no term of the ontology; nearest: monocyte (CL:0000576)" in " ".join(said.stdout.split())
