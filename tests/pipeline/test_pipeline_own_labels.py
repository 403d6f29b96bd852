"""Labels that a file has are compared with celldrop's in a real run; a column is refused only if it was asked for."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest

from jobs.inference.task.looking import inspect_for_merge
from shared.bundles.card import CARD_NAME
from shared.bundles.stored import card_bytes, digest_of, parse_card
from shared.domain.submission import ObjectRef, State, Submission
from shared.h5ad.source import BytesSource
from tests.pipeline.conftest import ROOT, Celldrop
from tests.pipeline.few_cells import few_cells

MODEL = ("--model", ROOT / "models" / "pbmc" / "1.2.0")
OPTIONS = (*MODEL, "--json", "--set", "map=off")

pytestmark = pytest.mark.xdist_group("runs")


@pytest.fixture(scope="module")
def some(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("some") / "some.h5ad"
    few_cells(data_dir, 500).write_h5ad(path)
    return path


def test_the_manifest_counts_what_the_annotated_file_says(celldrop: Celldrop, some: Path) -> None:
    done = celldrop("run", some, *OPTIONS, "--set", "truth=louvain_scanpy", "--set", "tasks=2")
    assert done.status == 0, done.stderr
    told = json.loads((done.folder / "manifest.json").read_text())["own_labels"]
    obs = anndata.read_h5ad(done.folder / "annotated.h5ad").obs
    table = pd.crosstab(obs["louvain_scanpy"], obs["celldrop_label"])
    assert told["asked"] is True
    assert told["counts"] == {
        name: {label: int(n) for label, n in row.items() if n} for name, row in table.iterrows() if row.any()
    }
    meant = obs["louvain_scanpy"].astype(object).map(told["counterparts"])
    right = (meant == obs["celldrop_label"].astype(object))[meant.notna()]
    assert told["label_agreement"]["accuracy"] == right.mean()
    assert told["label_agreement"]["n_cells"] == len(right)
    reliable = (obs["celldrop_reliable_label"].astype(object) == obs["celldrop_label"].astype(object))[meant.notna()]
    assert (told["n_reliable"], told["reliable_accuracy"]) == (reliable.sum(), right[reliable].mean())
    assert 0 < told["n_reliable"] < len(right)
    assert 'obs["louvain_scanpy"]' in (done.folder / "report.html").read_text().replace("&#34;", '"')


def test_a_column_is_recognised_or_none_is_compared_with(celldrop: Celldrop, some: Path) -> None:
    found = celldrop("run", some, *OPTIONS)
    told = json.loads((found.folder / "manifest.json").read_text())["own_labels"]
    assert (told["column"], told["asked"]) == ("cell_type_seurat", False)
    off = celldrop("run", some, *OPTIONS, "--set", "truth=off")
    assert json.loads((off.folder / "manifest.json").read_text())["own_labels"] is None
    assert "truth=off" in (off.folder / "report.html").read_text()


def test_a_model_without_lineages_is_compared_by_label_only(celldrop: Celldrop, some: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(MODEL[1], bundle)
    said = json.loads((bundle / CARD_NAME).read_text())
    assert "T cell" in {label["lineage"] for label in said["labels"]} - {label["name"] for label in said["labels"]}
    del said["labels"][0]["lineage"], said["reliability"]  # Every label has a lineage, or none is of use.
    card = parse_card(json.dumps({**said, "digest": ""}).encode(), where=CARD_NAME)
    weights = hashlib.sha256((bundle / "weights.safetensors").read_bytes()).hexdigest()
    card = card.model_copy(update={"digest": digest_of(card_bytes(card), weights)})
    (bundle / CARD_NAME).write_bytes(card_bytes(card))
    adata = anndata.read_h5ad(some)
    adata.obs["cell_type"] = "T cell"
    adata.write_h5ad(tmp_path / "own.h5ad")
    done = celldrop("run", tmp_path / "own.h5ad", "--model", bundle, "--json", "--set", "map=off")
    assert done.status == 0, done.stderr
    told = json.loads((done.folder / "manifest.json").read_text())["own_labels"]
    assert (told["column"], told["lineages"], told["lineage_agreement"]) == ("cell_type", {}, None)
    assert "Compared only by lineage" not in (done.folder / "report.html").read_text()


@pytest.mark.parametrize(("command", "status"), [("run", 2), ("validate", 3)])
def test_a_column_that_was_asked_for_and_is_not_there_is_refused(
    command: str, status: int, celldrop: Celldrop, some: Path
) -> None:
    done = celldrop(command, some, *MODEL, "--json", "--set", "truth=louvan")
    assert (done.status, done.json["code"]) == (status, "INVALID_OPTION")
    assert "'louvain_scanpy'" in done.json["hint"]


def bomb(path: Path) -> bytes:
    """A column of labels of which every cell refers to one and the same text of 40 MB."""
    with h5py.File(path, "r+") as file:
        n_cells = int(file["obs/_index"].shape[0])
        column = file["obs"].create_dataset("cell_type", (n_cells,), chunks=(n_cells,), dtype=h5py.string_dtype())
        column[0] = "x" * 40_000_000
        _, raw = column.id.read_direct_chunk((0,))
        column.id.write_direct_chunk((0,), raw[: len(raw) // n_cells] * n_cells)
    return path.read_bytes()


def test_a_recognised_column_that_ends_the_inspection_is_left_out(tmp_path: Path) -> None:
    cells = pd.DataFrame(index=[f"cell{row}" for row in range(200)])
    adata = anndata.AnnData(np.random.default_rng(0).poisson(2, (200, 50)).astype(np.float32), obs=cells)
    adata.var_names = [f"ENSG{place:011d}" for place in range(50)]
    adata.write_h5ad(tmp_path / "a.h5ad")
    source = BytesSource(bomb(tmp_path / "a.h5ad"))
    record = Submission("s", ObjectRef("in", "a.h5ad", 1), {}, State.RUNNING)
    (found,) = inspect_for_merge(source, record, "X")
    assert found.recognised
    assert "cannot be read" in found.problem
