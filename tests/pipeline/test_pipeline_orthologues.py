"""The option orthologues, through the real command: cells with mouse names, and a model of human cells."""

from __future__ import annotations

import json
from pathlib import Path

import anndata
import pandas as pd
import pytest

from shared.domain.verdict import Species
from shared.h5ad.names.gene_table import names_of, symbol_of
from shared.h5ad.names.orthologues import orthologues
from tests.pipeline.conftest import ROOT, Celldrop
from tests.pipeline.few_cells import few_cells

OPTIONS = ("--json", "--set", "map=off", "--set", "clusters=off")
PBMC = ("--model", ROOT / "models" / "pbmc" / "1.2.0")

pytestmark = [pytest.mark.xdist_group("runs"), pytest.mark.filterwarnings("ignore::UserWarning")]


@pytest.fixture
def mice(data_dir: Path, tmp_path: Path) -> Path:
    """Human cells whose genes have the names of their one-to-one orthologues; the others are left out."""
    cells = few_cells(data_dir, 300)
    table, other = names_of("ENSG"), orthologues(Species.HUMAN)
    assert table is not None
    ids = [table.id_of(symbol) for symbol in cells.var_names]
    symbols = [symbol_of(other.get(gene or "", "")) for gene in ids]
    kept = [symbol is not None for symbol in symbols]
    cells = cells[:, kept].copy()
    cells.var = pd.DataFrame(index=[symbol for symbol in symbols if symbol])
    path = tmp_path / "mice.h5ad"
    cells.write_h5ad(path)
    return path


@pytest.mark.slow
def test_a_run_with_orthologues_says_so_everywhere(celldrop: Celldrop, mice: Path) -> None:
    done = celldrop("run", mice, *PBMC, *OPTIONS, "--set", "orthologues=on")
    assert done.status == 0, done.stderr
    manifest = json.loads((done.folder / "manifest.json").read_text())
    assert manifest["options"]["orthologues"] is True
    assert manifest["verdict"]["genes"]["orthologues"] is True
    (said,) = (one for one in manifest["verdict"]["findings"] if one["code"] == "ORTHOLOGUES_USED")
    assert said["details"]["n_orthologues"] == manifest["verdict"]["overlap"]["n_matched"] > 1_500
    report = (done.folder / "report.html").read_text()
    assert "one-to-one orthologues" in report
    assert "a model of the cells' own species is better" in report.replace("&#39;", "'")
    obs = anndata.read_h5ad(done.folder / "annotated.h5ad").obs
    assert obs["celldrop_label"].notna().all()
    assert set(obs["celldrop_reliable_label"]) == {"Unassigned"}, "the model's record is of human cells"
    assert "genes of another species" in manifest["labels"]["reliability"]["why_none"]
    three = celldrop("run", mice, *PBMC, *OPTIONS, "--set", "orthologues=on", "--set", "tasks=2")
    for name in ("annotations.parquet", "annotated.h5ad"):
        assert (done.folder / name).read_bytes() == (three.folder / name).read_bytes(), name
    again = celldrop("reproduce", done.folder / "manifest.json", mice, *PBMC, "--json")
    assert again.status == 0, again.stdout


@pytest.mark.parametrize("command", ["run", "validate"])
def test_without_the_option_the_file_is_refused_and_the_option_named(
    celldrop: Celldrop, mice: Path, command: str
) -> None:
    done = celldrop(command, mice, *PBMC, "--json")
    assert done.status != 0
    assert "WRONG_SPECIES" in done.stdout
    assert "orthologues=on" in done.stdout
