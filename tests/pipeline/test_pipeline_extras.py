"""`celldrop run` on files whose map cannot be had: the labels are there, and the report says what is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anndata
import h5py
import numpy as np
import pytest
import scipy.sparse as sp

from tests.pipeline.conftest import Celldrop, Ended
from tests.pipeline.few_cells import few_cells

N_CELLS = 60
Spoil = Callable[[h5py.File], object]


def cells(data_dir: Path, *, alike: bool = False) -> anndata.AnnData:
    adata = few_cells(data_dir, N_CELLS)
    counts = np.asarray(sp.csr_matrix(adata.X).toarray(), np.float32)
    adata.X = sp.csr_matrix(np.repeat(counts[:1], N_CELLS, axis=0) if alike else counts)
    return adata


@pytest.fixture
def shipped(celldrop: Celldrop) -> Callable[[Path], Ended]:
    """Runs a file with the model that comes with celldrop."""
    models = str(Path(__file__).resolve().parents[2] / "models")

    def run(file: Path) -> Ended:
        ended = celldrop("run", file, "--json", "--model", "pbmc-sorted", CELLDROP_MODELS_DIR=models)
        assert ended.status == 0, ended.stderr
        return ended

    return run


def test_cells_that_score_alike_get_their_labels(
    shipped: Callable[[Path], Ended], data_dir: Path, tmp_path: Path
) -> None:
    file = tmp_path / "alike.h5ad"
    cells(data_dir, alike=True).write_h5ad(file)
    ended = shipped(file)
    assert set(ended.json["summary"]["labels"].values()) == {N_CELLS}
    assert "All cells are alike" in (ended.folder / "report.html").read_text()


ODD: dict[str, Spoil] = {
    "no columns": lambda file: file.create_dataset("obsm/X_umap", (N_CELLS, 0), "f4"),
    "infinite": lambda file: file.create_dataset("obsm/X_umap", data=np.full((N_CELLS, 2), np.inf)),
    "one place": lambda file: file.create_dataset("obsm/X_umap", data=np.ones((N_CELLS, 2))),
}
LAID_OUT_IN_ANOTHER_TEST = {"infinite", "one place"}
"""What the report does with these coordinates is tested in tests/outputs, too."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(spoil, id=name, marks=[pytest.mark.exhaustive] if name in LAID_OUT_IN_ANOTHER_TEST else [])
        for name, spoil in ODD.items()
    ],
)
def test_an_odd_embedding_costs_no_label_and_the_map_is_computed(
    shipped: Callable[[Path], Ended], data_dir: Path, tmp_path: Path, spoil: Spoil
) -> None:
    file = tmp_path / "odd.h5ad"
    cells(data_dir).write_h5ad(file)
    with h5py.File(file, "r+") as opened:
        spoil(opened)
    page = (shipped(file).folder / "report.html").read_text()
    assert "(t-SNE of principal components" in page
