"""The same cells under other names of genes get the same labels, from a file to its results."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from tests.pipeline.conftest import Celldrop, command_in, own_environment

pytestmark = pytest.mark.xdist_group("gene-names")  # What its tests share is made once.


@pytest.fixture(scope="module")
def cells(data_dir: Path) -> anndata.AnnData:
    """Some hundred cells by symbol, and nothing else."""
    whole = anndata.read_h5ad(data_dir / "h5ad/pbmc3k_raw_labelled.h5ad")[::9].copy()
    return anndata.AnnData(sp.csr_matrix(whole.X), whole.obs[[]], pd.DataFrame(index=whole.var_names))


@pytest.fixture(scope="module")
def clean(cells: anndata.AnnData, celltypist_models: Path, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The table of the cells as they are."""
    folder = tmp_path_factory.mktemp("clean")
    return _table(command_in(own_environment(celltypist_models, folder), folder), cells, folder)


def _table(celldrop: Celldrop, cells: anndata.AnnData, folder: Path) -> pd.DataFrame:
    cells.write_h5ad(folder / "cells.h5ad")
    done = celldrop("run", folder / "cells.h5ad", "--json", "--set", "map=off")
    assert done.status == 0, done.stderr
    return pd.read_csv(done.folder / "annotations.csv.gz", index_col="cell_id").drop(columns="n_genes")


def _prefixed(cells: anndata.AnnData) -> anndata.AnnData:
    """A reference of two genomes, with line ends of another system."""
    return anndata.AnnData(cells.X, cells.obs, pd.DataFrame(index=[f"GRCh38_{name}\r" for name in cells.var_names]))


def _with_antibodies(cells: anndata.AnnData) -> anndata.AnnData:
    """Antibodies whose types stand in a column of another name, and hashtags that have none."""
    counts = np.random.default_rng(0).poisson(60, (cells.n_obs, 40)).astype(np.float32)
    names = [*(f"CD{place}" for place in range(500, 530)), *(f"HTO-{place}" for place in range(10))]
    var = pd.DataFrame({"modality": ["RNA"] * cells.n_vars + ["ADT"] * 30 + [""] * 10}, [*cells.var_names, *names])
    return anndata.AnnData(sp.hstack([cells.X, sp.csr_matrix(counts)]).tocsr(), cells.obs, var)


def _second_copies(cells: anndata.AnnData) -> anndata.AnnData:
    """Two references joined: the first copy of each gene is empty."""
    empty = sp.csr_matrix(cells.shape, dtype=np.float32)
    names = [*cells.var_names, *(f"{name}-1" for name in cells.var_names)]
    return anndata.AnnData(sp.hstack([empty, cells.X]).tocsr(), cells.obs, pd.DataFrame(index=names))


@pytest.mark.slow
@pytest.mark.parametrize(
    "form", [_prefixed, _with_antibodies, _second_copies], ids=lambda form: form.__name__.strip("_")
)
def test_labels_are_those_of_the_clean_form(
    form: Callable[[anndata.AnnData], anndata.AnnData],
    cells: anndata.AnnData,
    clean: pd.DataFrame,
    celldrop: Celldrop,
    tmp_path: Path,
) -> None:
    pd.testing.assert_frame_equal(clean, _table(celldrop, form(cells), tmp_path))


def test_a_cell_of_which_the_model_knows_no_gene_is_unassigned(
    cells: anndata.AnnData, celldrop: Celldrop, tmp_path: Path
) -> None:
    some = cells[:20].copy()
    counts = some.X.tolil()
    counts[3:15] = 0
    some.X = counts.tocsr()
    some.write_h5ad(tmp_path / "cells.h5ad")
    done = celldrop("run", tmp_path / "cells.h5ad", "--json", "--set", "map=off")
    table = pd.read_csv(done.folder / "annotations.csv.gz").iloc[3]
    assert (table["label"], table["value_note"], table["abstained"]) == ("Unassigned", "no model genes", True)
    annotated = anndata.read_h5ad(done.folder / "annotated.h5ad").obs.iloc[3]
    assert (annotated["celldrop_label"], annotated["celldrop_value_note"]) == ("Unassigned", "no model genes")
    findings = json.loads((done.folder / "manifest.json").read_text())["verdict"]["findings"]
    told = {found["code"]: found["message"] for found in findings}
    assert "12 of 20 cells" in told["CELLS_WITHOUT_GENES"]
    assert "no gene of the model has a value in them" in (done.folder / "report.html").read_text()


def test_without_a_model_a_file_is_judged_for_the_default_one(celldrop: Celldrop, data_dir: Path) -> None:
    file = data_dir / "h5ad/pbmc3k_raw_labelled.h5ad"
    assert celldrop("validate", file, "--json").json["model"] == "adams-45-f-0@1"
    alone = celldrop("validate", file, "--json", CELLDROP_DEFAULT_MODEL="nobody")
    assert alone.json["model"] is None
    assert (
        "Checked without a model: the default, nobody, does not exist"
        in celldrop("validate", file, CELLDROP_DEFAULT_MODEL="nobody").stdout
    )
