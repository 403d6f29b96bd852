"""Checkpoints of cellarium-ml with the library's answers; and how tests ask the library itself, in another process."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import anndata
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import torch

from shared.bundles.card import ModelCard
from shared.domain.geometry import Rows
from tests.engine.blocks import Scorer, blocks_of, gene_map
from tests.oracle.oracle import missing

REPOSITORY = Path(__file__).resolve().parents[2]
MODELS = Path(__file__).with_name("models")
SCRIPT = Path(__file__).with_name("cellarium_oracle.py")
ENVIRONMENT = REPOSITORY / ".venv-cellarium"
LABELLED = ("logistic", "pca_logistic")

Floats = npt.NDArray[np.float64]
Counts = sp.csr_matrix


@dataclass(frozen=True, slots=True)
class Answers:
    """What is said of n cells: the label, and of each class the decision score and the probability.

    Attributes:
        totals: The total that each cell's counts were scaled by.
    """

    labels: npt.NDArray[np.str_]
    classes: npt.NDArray[np.str_]
    decision: Floats
    probability: Floats
    totals: Floats
    genes: tuple[str, ...]


def kept(name: str) -> tuple[Answers, Counts]:
    """The answers beside a checkpoint, with the counts of its genes in the cells."""
    with np.load(MODELS / f"{name}.npz", allow_pickle=False) as arrays:
        return _answers(arrays), sp.csr_matrix(arrays["counts"].astype(np.float32))


def ask_cellarium(name: str, h5ad: Path, n_cells: int, folder: Path) -> Answers:
    """The library's answers for the first cells of a file."""
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        missing("no .venv-cellarium: run tools/peer-env cellarium once")
    out = folder / "answers.npz"
    command = [str(python), "-I", str(SCRIPT), "answer", str(MODELS / f"{name}.ckpt"), str(h5ad), str(n_cells)]
    done = subprocess.run([*command, str(out)], capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    with np.load(out, allow_pickle=False) as arrays:
        return _answers(arrays)


def first_cells(h5ad: Path, n_cells: int) -> tuple[list[str], Counts]:
    """The Ensembl ids of a file, and the counts of all genes of its first cells."""
    cells = anndata.read_h5ad(h5ad)[:n_cells]
    return list(cells.var["ensembl_gencode44"].astype(str)), sp.csr_matrix(cells.X, dtype=np.float32)


def with_rest(theirs: Answers, counts_ng: Counts) -> tuple[list[str], Counts]:
    """The counts of a model's genes, and of one more that makes up each cell's total."""
    rest_n = theirs.totals - np.asarray(counts_ng.sum(axis=1)).ravel()
    whole_ng = np.hstack([counts_ng.toarray(), rest_n[:, None]])
    return [*theirs.genes, "ENSG00000000000"], sp.csr_matrix(whole_ng.astype(np.float32))


def ours(card: ModelCard, tensors: dict[str, torch.Tensor], genes: list[str], counts_ng: Counts) -> Answers:
    """The answers of the engine."""
    mapped = gene_map(genes, [gene or "" for gene in card.features.ensembl])
    scorer = Scorer.of(card, tensors, mapped, torch.device("cpu"))
    scores = [scorer.annotate(block) for block in blocks_of(counts_ng, Rows(0, counts_ng.shape[0]))]
    decision_nl = np.concatenate([score.decision_nl for score in scores])
    labels = np.array([label.name for label in card.labels])
    return Answers(
        labels=labels[decision_nl.argmax(axis=1)],
        classes=labels,
        decision=decision_nl.astype(np.float64),
        probability=np.concatenate([score.probability_nl for score in scores]).astype(np.float64),
        totals=np.asarray(counts_ng.sum(axis=1), np.float64).ravel(),
        genes=tuple(genes),
    )


def _answers(arrays: np.lib.npyio.NpzFile) -> Answers:
    decision, probability, totals = (np.asarray(arrays[name], float) for name in ("decision", "probability", "totals"))
    return Answers(arrays["labels"], arrays["classes"], decision, probability, totals, tuple(arrays["genes"].tolist()))
