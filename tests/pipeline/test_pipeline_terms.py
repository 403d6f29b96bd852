"""Labels that are no terms of the Cell Ontology, by the real command: named with the nearest, and a user's table."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipeline.conftest import ROOT, Celldrop
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
