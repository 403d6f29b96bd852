"""The whole pipeline against the CellTypist package itself, cell by cell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.oracle.oracle import ask_celltypist
from tests.pipeline.conftest import Celldrop

PBMC = "h5ad/pbmc3k_raw_labelled.h5ad"
OPTIONS = ("--json", "--set", "scores=full", "--set", "map=off")


@pytest.mark.slow
@pytest.mark.parametrize("stem", ["adams_45_f_0", pytest.param("adams_COV_f_0", marks=pytest.mark.exhaustive)])
def test_labels_are_celltypists_for_every_cell_and_probabilities_within_1e5(
    celldrop: Celldrop, data_dir: Path, stem: str
) -> None:
    answer = ask_celltypist(data_dir / PBMC, data_dir / "models" / f"{stem}.pkl", "X")
    done = celldrop("run", data_dir / PBMC, "--model", stem.lower().replace("_", "-"), *OPTIONS)
    assert done.status == 0, done.stderr
    table = pd.read_parquet(done.folder / "annotations.parquet").set_index("cell_id")
    scores = pd.read_parquet(done.folder / "scores.parquet").set_index("cell_id")
    assert list(table["label"]) == list(answer.labels)
    np.testing.assert_allclose(scores[list(answer.classes)].to_numpy(), answer.probability, rtol=0, atol=1e-5)
