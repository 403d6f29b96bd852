"""Scores of labelled cells by the very code that serves a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import torch

from jobs.engine.annotator import Annotator
from jobs.modeling.labelled import LabelledCells
from shared.bundle import Features, ModelCard
from shared.domain.geometry import Rows
from shared.domain.verdict import MatrixState
from shared.h5ad.blocks import RowBlock
from shared.h5ad.genes import map_genes
from shared.h5ad.projecting import project
from shared.h5ad.settling import Stored

_BLOCK_ROWS = 4096


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of n cells.

    Attributes:
        decision_nl: After temperature, before the activation; float32.
        probability_nl: float32.
    """

    decision_nl: npt.NDArray[np.float32]
    probability_nl: npt.NDArray[np.float32]

    @property
    def best_n(self) -> npt.NDArray[np.int64]:
        """Position of each cell's best label."""
        return np.asarray(self.decision_nl.argmax(axis=1), dtype=np.int64)

    @property
    def score_n(self) -> npt.NDArray[np.float64]:
        """Probability of each cell's best label."""
        return np.asarray(self.probability_nl.max(axis=1), dtype=np.float64)


def score(card: ModelCard, weights: Mapping[str, torch.Tensor], cells: LabelledCells) -> Scores:
    """Annotate the cells on the CPU; their labels are not looked at.

    Raises:
        InvalidBundleError: The weights do not belong to the card.
        NoGeneOverlapError: No gene of the file is in the model.
        NoMatrixError: The matrix is one that cannot be used.
    """
    gene_to_feature = feature_of_genes(cells.genes, card.features)
    stored = Stored(as_it_is=cells.state is MatrixState.LOG1P_CP10K)
    annotator = Annotator(card, weights, gene_to_feature, torch.device("cpu"), as_it_is=stored.as_it_is)
    starts = range(0, max(cells.n_cells, 1), _BLOCK_ROWS)
    blocks = [annotator.annotate(project(_block(cells.value_ng, start), gene_to_feature, stored)) for start in starts]
    return Scores(
        decision_nl=np.concatenate([block.decision_nl for block in blocks]),
        probability_nl=np.concatenate([block.probability_nl for block in blocks]),
    )


def feature_of_genes(genes: Features, features: Features) -> npt.NDArray[np.int32]:
    """For each gene the position of the model's feature, or -1: by symbol or by Ensembl id, whichever finds more."""
    pairs = [(genes.symbol, features.symbol), (genes.ensembl, features.ensembl)]
    maps = [map_genes([name or "" for name in file], model) for file, model in pairs if file and model]
    found = [np.array(positions, dtype=np.int32) for positions in maps]
    return max(found, key=lambda position_g: int((position_g >= 0).sum()), default=np.full(len(genes), -1, np.int32))


def _block(value_ng: sp.csr_matrix, start: int) -> RowBlock:
    part = sp.csr_matrix(value_ng[start : start + _BLOCK_ROWS])
    return RowBlock(
        rows=Rows(start, start + part.shape[0]),
        indptr=part.indptr.astype(np.int64),
        indices=part.indices.astype(np.int32),
        data=part.data.astype(np.float32),
    )
