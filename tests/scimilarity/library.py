"""A model of SCimilarity with the library's answers; and how tests ask the library itself, in another process."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import anndata
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import torch

from jobs.engine.kinds.encoded import Encoded, Encoder
from shared.bundles.kinds import EncodedCard
from shared.domain.geometry import Rows
from tests.engine.blocks import Scorer, blocks_of, gene_map
from tests.oracle.oracle import missing

REPOSITORY = Path(__file__).resolve().parents[2]
MODEL = Path(__file__).with_name("models") / "blood"
SCRIPT = Path(__file__).with_name("scimilarity_oracle.py")
ENVIRONMENT = REPOSITORY / ".venv-scimilarity"

Floats = npt.NDArray[np.float64]
Counts = sp.csr_matrix


@dataclass(frozen=True, slots=True)
class Answers:
    """What is said of n cells.

    Attributes:
        labels: Those of the exact neighbours.
        share: The share of the label in the votes.
        embedding: The coordinates.
    """

    labels: npt.NDArray[np.str_]
    share: Floats
    embedding: Floats


@dataclass(frozen=True, slots=True)
class Theirs(Answers):
    """What the library says; ``by_index`` are the labels that its own, approximate search leads to."""

    by_index: npt.NDArray[np.str_]


def kept() -> tuple[Theirs, list[str], Counts]:
    """The answers beside the model, with the genes and counts of the cells."""
    with np.load(MODEL / "answers.npz", allow_pickle=False) as arrays:
        return _theirs(arrays), arrays["genes"].tolist(), sp.csr_matrix(arrays["counts"].astype(np.float32))


def ask_scimilarity(h5ad: Path, n_cells: int, folder: Path) -> Theirs:
    """The library's answers for the first cells of a file."""
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        missing("no .venv-scimilarity: run tools/peer-env scimilarity once")
    out = folder / "answers.npz"
    command = [str(python), "-I", str(SCRIPT), "answer", str(MODEL), str(h5ad), str(n_cells), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    with np.load(out, allow_pickle=False) as arrays:
        return _theirs(arrays)


def first_cells(h5ad: Path, n_cells: int) -> tuple[list[str], Counts]:
    """The genes of a file, and the counts of its first cells."""
    cells = anndata.read_h5ad(h5ad)[:n_cells]
    return list(cells.var_names), sp.csr_matrix(cells.X, dtype=np.float32)


def ours(card: EncodedCard, tensors: dict[str, torch.Tensor], genes: list[str], counts_ng: Counts) -> Answers:
    """The answers of the engine."""
    mapped = gene_map(genes, [symbol or "" for symbol in card.features.symbol])
    scorer = Scorer.of(card, tensors, mapped, torch.device("cpu"))
    blocks = list(blocks_of(counts_ng, Rows(0, counts_ng.shape[0])))
    scores = [scorer.annotate(block) for block in blocks]
    probability_nl = np.concatenate([score.probability_nl for score in scores])
    labels = np.array([label.name for label in card.labels])
    encoder = Encoder(Encoded().weights(card, tensors))
    arrays = [block.on(mapped) for block in blocks]
    logarithms = [torch.from_numpy(np.log1p(one.value)) for one in arrays]
    coordinates = [
        encoder(log_z, torch.from_numpy(one.feature), torch.from_numpy(one.indptr)).numpy()
        for log_z, one in zip(logarithms, arrays, strict=True)
    ]
    return Answers(
        labels=labels[np.concatenate([score.decision_nl for score in scores]).argmax(axis=1)],
        share=probability_nl.max(axis=1).astype(np.float64),
        embedding=np.concatenate(coordinates),
    )


def _theirs(arrays: np.lib.npyio.NpzFile) -> Theirs:
    return Theirs(*(arrays[name] for name in ("labels", "share", "embedding", "by_index")))
