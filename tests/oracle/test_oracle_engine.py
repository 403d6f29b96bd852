"""Our import and our arithmetic give CellTypist's own answers, cell for cell."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import numpy.typing as npt
import pytest
import scipy.sparse as sp
import torch

from jobs.modeling.celltypist import import_celltypist
from shared.bundles.card import ModelCard
from shared.domain.geometry import Rows
from tests.engine.blocks import Scorer, blocks_of, gene_map
from tests.oracle.oracle import ask_celltypist

pytestmark = pytest.mark.slow

CASES = [
    ("pbmc3k_raw_labelled", "adams_45_f_0", "X"),
    pytest.param("pbmc3k_raw_labelled", "adams_COV_f_0", "X", marks=pytest.mark.exhaustive),
    ("pbmc3k_raw_labelled", "popv_celltypist", "X"),
    ("scimilarity_test", "adams_45_f_0", "layers/counts"),
    ("scimilarity_test", "adams_45_f_0", "X:lognorm"),
    pytest.param("scimilarity_test", "popv_celltypist", "X:lognorm", marks=pytest.mark.exhaustive),
]


@pytest.mark.parametrize(("file", "model", "matrix"), CASES)
def test_every_cell_gets_the_label_and_the_probabilities_of_celltypist(
    file: str, model: str, matrix: str, data_dir: Path
) -> None:
    h5ad, pkl = data_dir / "h5ad" / f"{file}.h5ad", data_dir / "models" / f"{model}.pkl"
    theirs = ask_celltypist(h5ad, pkl, matrix)
    card, decision_nl, probability_nl = _ours(h5ad, pkl, matrix)

    labels = np.array([label.name for label in card.labels])
    assert list(labels) == list(theirs.classes)
    assert list(labels[decision_nl.argmax(axis=1)]) == list(theirs.labels)
    # The promise is 1e-5. What is left is scanpy's log1p, which numpy and torch round apart by one unit.
    np.testing.assert_allclose(probability_nl, theirs.probability, rtol=0, atol=1e-5)


def _ours(h5ad: Path, pkl: Path, matrix: str) -> tuple[ModelCard, npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    card, tensors = import_celltypist(pkl, name="imported", version="1")
    genes, counts_ng = _matrix(h5ad, matrix)
    mapped = gene_map(genes, [symbol or "" for symbol in card.features.symbol])
    annotator = Scorer.of(card, tensors, mapped, torch.device("cpu"), as_it_is=matrix.endswith(":lognorm"))
    scores = [annotator.annotate(block) for block in blocks_of(counts_ng, Rows(0, counts_ng.shape[0]))]
    decision_nl = np.concatenate([score.decision_nl for score in scores])
    return card, decision_nl, np.concatenate([score.probability_nl for score in scores])


def _matrix(h5ad: Path, matrix: str) -> tuple[list[str], sp.csr_matrix[Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # anndata on duplicate or old-fashioned names
        cells = anndata.read_h5ad(h5ad)
    where = matrix.partition(":")[0]
    stored = cells.layers[where.removeprefix("layers/")] if where.startswith("layers/") else cells.X
    return list(cells.var_names), sp.csr_matrix(stored, dtype=np.float32)
