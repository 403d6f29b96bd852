"""Scores the cells of a file, or cells in memory, with the code of inference."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import torch

from jobs.engine.annotator import Annotator, BlockScores, CellBlock
from jobs.engine.facts import CellFacts
from jobs.engine.streaming import scored
from jobs.modeling.best_scores import BestScores, best_of, joined, unfamiliarity_of
from jobs.modeling.correcting import Corrected, correct
from jobs.modeling.gene_places import places_of_genes
from jobs.modeling.labelled import LabelledCells
from shared.bundles.card import ModelCard
from shared.domain.errors import InternalError
from shared.domain.geometry import Rows
from shared.domain.verdict import MatrixState, Verdict
from shared.h5ad.read.blocks import RowBlock
from shared.h5ad.read.projecting import projected_by_numpy, with_silent_cells
from shared.h5ad.read.rows import features_of_genes, open_matrix
from shared.h5ad.source import RangeSource

_BLOCK_ROWS = 4096
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of n cells.

    Attributes:
        decision_nl: Decision scores, n x labels, after temperature and before the activation; float32.
        probability_nl: Probabilities, n x labels, float32.
        facts: The cells' facts.
    """

    decision_nl: npt.NDArray[np.float32]
    probability_nl: npt.NDArray[np.float32]
    facts: CellFacts

    @property
    def best(self) -> BestScores:
        """The best label of each cell, by decision score, as probabilities that round to 1 are ties."""
        return best_of(self)


def score_file(
    card: ModelCard,
    weights: Mapping[str, torch.Tensor],
    source: RangeSource,
    verdict: Verdict,
    *,
    composition: bool = True,
) -> Corrected:
    """Score every cell of a file as ``celldrop run`` does, on the CPU. Holds 17 bytes per cell.

    Args:
        composition: As the option of this name; see ``correct`` for what it takes.

    Raises:
        InvalidBundleError: The weights do not fit the card.
        InputError: The file cannot be read; its subclass says why.
    """
    choice, space = verdict.matrix, verdict.genes
    if choice is None or space is None:
        raise InternalError("scoring of a file without a matrix or genes", expected="an accepted verdict")
    gene_to_feature = features_of_genes(source, verdict, card)
    counted = choice.state is MatrixState.COUNTS
    annotator = Annotator(
        card, weights, gene_to_feature, torch.device("cpu"), as_it_is=choice.as_it_is, counted=counted
    )
    with open_matrix(source, choice) as matrix:

        def read(then: Callable[[CellBlock], Made], /) -> Iterator[Made]:
            return matrix.projected(Rows(0, choice.n_cells), gene_to_feature, then)

        blocks = scored(read, annotator)
        if composition and card.assumed_shares:
            return correct(blocks, card)
        return Corrected(joined([best_of(block) for block in blocks]))


def score(card: ModelCard, weights: Mapping[str, torch.Tensor], cells: LabelledCells) -> Scores:
    """Score cells in memory on the CPU. Their labels are not used.

    Raises:
        InvalidBundleError: The weights do not fit the card.
        NoGeneOverlapError: No gene of the file is in the model.
    """
    gene_to_feature = places_of_genes(cells.genes, card)
    as_it_is = cells.state is MatrixState.LOG1P_CP10K
    annotator = Annotator(card, weights, gene_to_feature, torch.device("cpu"), as_it_is=as_it_is, counted=not as_it_is)
    starts = range(0, max(cells.n_cells, 1), _BLOCK_ROWS)
    projected = (projected_by_numpy(_block(cells.value_ng, start), gene_to_feature) for start in starts)
    blocks = [annotator.annotate(with_silent_cells(block)) for block in projected]
    return scores_of(blocks)


def scores_of(blocks: Sequence[BlockScores]) -> Scores:
    """The scores of the cells of several blocks; of their facts, those that an evaluation reads."""
    return Scores(
        decision_nl=np.concatenate([block.decision_nl for block in blocks]),
        probability_nl=np.concatenate([block.probability_nl for block in blocks]),
        facts=CellFacts(
            total_n=None,
            n_genes_n=np.concatenate([block.facts.n_genes_n for block in blocks]),
            note_n=np.concatenate([block.facts.note_n for block in blocks]),
            unfamiliarity_n=np.concatenate([unfamiliarity_of(block.facts) for block in blocks]),
        ),
    )


def _block(value_ng: sp.csr_matrix, start: int) -> RowBlock:
    part = sp.csr_matrix(value_ng[start : start + _BLOCK_ROWS])
    return RowBlock(
        rows=Rows(start, start + part.shape[0]),
        indptr=part.indptr.astype(np.int64),
        indices=part.indices.astype(np.int32),
        data=part.data.astype(np.float32),
    )
