"""The report's code runs as it stands, one piece after the other, in the folder of its results."""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import anndata
import pandas as pd
import pytest

from tests.pipeline.conftest import ROOT, Celldrop, Ended
from tests.pipeline.few_cells import few_cells

PBMC = ("--model", ROOT / "models" / "pbmc" / "1.2.0")
SORTED = ("--model", ROOT / "models" / "pbmc-sorted" / "1.3.0")
START = "import matplotlib\nmatplotlib.use('Agg')\n"
UMAP = "# A UMAP"
"""What follows takes half a minute to compile, and runs in the exhaustive case only."""

pytestmark = [pytest.mark.xdist_group("runs"), pytest.mark.filterwarnings("ignore::UserWarning")]


def snippets(done: Ended) -> dict[str, str]:
    """The code of each piece, by its title."""
    page = (done.folder / "report.html").read_text()
    found = re.findall(r"<figcaption>([^<]*)</figcaption><pre><code>(.*?)</code>", page, re.DOTALL)
    return {html.unescape(title): html.unescape(code) for title, code in found}


def executed(done: Ended, code: str, end: str) -> dict[str, object]:
    """Run code in a process of its own, in the results; ``end`` is an expression of what to give back."""
    script = f"{START}{code}\nimport json\nprint('found ' + json.dumps({end}))\n"
    ran = subprocess.run(
        [sys.executable, "-c", script],
        cwd=done.folder,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, f"{code}\n{ran.stderr[-3000:]}"
    found: dict[str, object] = json.loads(ran.stdout.rsplit("found ", 1)[1])
    return found


def python_of(done: Ended, *, umap: bool = False) -> str:
    """All pieces that are not commands."""
    pieces = [code for code in snippets(done).values() if "celldrop models list" not in code]
    return "\n".join(code if umap else code.split(UMAP)[0] for code in pieces)


def frame_of(done: Ended) -> pd.DataFrame:
    return pd.read_parquet(done.folder / "annotations.parquet")


@pytest.mark.parametrize("umap", [False, pytest.param(True, marks=pytest.mark.exhaustive)])
def test_blood_with_sums(celldrop: Celldrop, data_dir: Path, tmp_path: Path, umap: bool) -> None:
    path = tmp_path / "blood.h5ad"
    few_cells(data_dir, 500).write_h5ad(path)
    done = celldrop("run", path, *PBMC, "--json", "--set", "map=off", "--set", "pseudobulk=on")
    frame, code = frame_of(done), python_of(done, umap=umap)
    end = '{"kept": confident.n_obs, "shape": list(adata.shape), "ranked": "rank_genes_groups" in adata.uns,'
    found = executed(done, code, f'{end} "sums": len(counts)}}')
    assert found["kept"] == int((frame["reliable_label"].astype(str) == frame["label"].astype(str)).sum())
    assert 0 < int(str(found["kept"])) < len(frame)
    assert found["ranked"] is True
    assert found["sums"] == 1
    assert ("sc.tl.umap" in code) is umap


@pytest.mark.parametrize(
    "fixed",
    [*(pytest.param(one, marks=pytest.mark.exhaustive) for one in ("counts", "log-normalised")), "scaled, with raw"],
)
def test_values_of_any_kind_are_normalised_once(celldrop: Celldrop, data_dir: Path, tmp_path: Path, fixed: str) -> None:
    import scanpy as sc  # noqa: PLC0415  # takes seconds

    cells = few_cells(data_dir, 300)
    if fixed != "counts":
        sc.pp.normalize_total(cells, target_sum=1e4)
        sc.pp.log1p(cells)
    if fixed == "scaled, with raw":
        cells.raw = cells.copy()
        sc.pp.scale(cells)
    path = tmp_path / "cells.h5ad"
    cells.write_h5ad(path)
    done = celldrop("run", path, *SORTED, "--json", "--set", "map=off", "--set", "clusters=off")
    found = executed(
        done, python_of(done), '{"most": float(adata.X.max()), "ranked": "rank_genes_groups" in adata.uns}'
    )
    assert found["ranked"] is True
    assert 5 < float(str(found["most"])) < 9.3, "log1p of counts per 10,000, once"


def test_a_model_without_a_record_of_its_errors(celldrop: Celldrop, data_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "blood.h5ad"
    few_cells(data_dir, 300).write_h5ad(path)
    done = celldrop("run", path, "--json", "--set", "map=off", "--set", "clusters=off")
    assert "Keep the confident ones" in snippets(done)
    found = executed(done, python_of(done), '{"kept": confident.n_obs}')
    assert found["kept"] == int((frame_of(done)["score"] >= 0.8).sum())


def test_mostly_unfamiliar_cells(celldrop: Celldrop, data_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "lung.h5ad"
    anndata.read_h5ad(data_dir / "h5ad" / "mixology_sc_dropseq.h5ad")[:150].write_h5ad(path)
    done = celldrop("run", path, *SORTED, "--json", "--set", "map=off")
    pieces = snippets(done)
    assert "Run it again with a model of this tissue" in pieces
    found = executed(done, python_of(done), '{"unlike": int(adata.obs["celldrop_unfamiliar"].sum())}')
    assert found["unlike"] == int(frame_of(done)["unfamiliar"].sum()) > 75
