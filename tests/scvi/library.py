"""Saved models of scvi-tools with the library's answers; and how tests ask the library itself, in another process."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import anndata
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import torch

from jobs.engine.kinds.neural import Neural, NeuralModel
from shared.bundles.kinds import NeuralCard
from shared.domain.geometry import Rows
from tests.engine.blocks import Scorer, blocks_of, gene_map
from tests.oracle.oracle import missing

REPOSITORY = Path(__file__).resolve().parents[2]
MODELS = Path(__file__).with_name("models")
SCRIPT = Path(__file__).with_name("scvi_oracle.py")
ENVIRONMENT = REPOSITORY / ".venv-scvi"
BATCHES = {"scanvi": None, "scanvi_covariates": "second"}
"""Models with a classifier, and the batch that new cells are said to be of, if that matters."""

Floats = npt.NDArray[np.float64]
Counts = sp.csr_matrix


@dataclass(frozen=True, slots=True)
class Answers:
    """What is said of n cells: the label, the probability of each class, and the mean of q(z|x)."""

    labels: npt.NDArray[np.str_]
    classes: npt.NDArray[np.str_]
    probability: Floats
    latent: Floats


def kept(name: str) -> tuple[Answers, list[str], Counts]:
    """The answers beside a saved model, with the genes and counts of the cells."""
    with np.load(MODELS / name / "answers.npz", allow_pickle=False) as arrays:
        return _answers(arrays), arrays["genes"].tolist(), sp.csr_matrix(arrays["counts"].astype(np.float32))


def ask_scvi(name: str, h5ad: Path, n_cells: int, folder: Path) -> Answers:
    """The library's answers for the first cells of a file."""
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        missing("no .venv-scvi: run tools/peer-env scvi once")
    out = folder / "answers.npz"
    batch = BATCHES[name] or "first"
    command = [str(python), "-I", str(SCRIPT), "answer", str(MODELS / name), str(h5ad), str(n_cells), str(out), batch]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    with np.load(out, allow_pickle=False) as arrays:
        return _answers(arrays)


def first_cells(h5ad: Path, n_cells: int) -> tuple[list[str], Counts]:
    """The genes of a file, and the counts of its first cells."""
    cells = anndata.read_h5ad(h5ad)[:n_cells]
    return list(cells.var_names), sp.csr_matrix(cells.X, dtype=np.float32)


def ours(card: NeuralCard, tensors: dict[str, torch.Tensor], genes: list[str], counts_ng: Counts) -> Answers:
    """The answers of the engine; the latent means are what goes into the classifier."""
    mapped = gene_map(genes, [symbol or "" for symbol in card.features.symbol])
    scorer = Scorer.of(card, tensors, mapped, torch.device("cpu"))
    blocks = list(blocks_of(counts_ng, Rows(0, counts_ng.shape[0])))
    scores = [scorer.annotate(block) for block in blocks]
    decision_nl = np.concatenate([score.decision_nl for score in scores])
    labels = np.array([label.name for label in card.labels])
    encoder = _encoder(card, tensors)
    arrays = [block.on(mapped) for block in blocks]
    latent = [encoder(*map(torch.from_numpy, (one.value, one.feature, one.indptr))).numpy() for one in arrays]
    return Answers(
        labels=labels[decision_nl.argmax(axis=1)],
        classes=labels,
        probability=np.concatenate([score.probability_nl for score in scores]).astype(np.float64),
        latent=np.concatenate(latent),
    )


def _encoder(card: NeuralCard, tensors: dict[str, torch.Tensor]) -> NeuralModel:
    """The model up to the coordinates of a cell."""
    whole = Neural().weights(card, tensors)
    cut = type(whole)(whole.layers[: card.n_encoder_layers + 1], whole.log1p)
    module = cut.module(torch.ones(len(card.features), dtype=torch.bool))
    assert isinstance(module, NeuralModel)
    return module.requires_grad_(requires_grad=False)


def _answers(arrays: np.lib.npyio.NpzFile) -> Answers:
    return Answers(*(arrays[name] for name in ("labels", "classes", "probability", "latent")))
