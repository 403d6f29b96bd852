"""Blocks of cells from matrices in memory, as the reader would give them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import torch

from jobs.engine.annotator import Annotator, BlockScores
from shared.bundles.card import ModelCard
from shared.domain.geometry import Rows
from shared.h5ad.read.blocks import RowBlock
from shared.h5ad.read.projected import ProjectedBlock
from shared.h5ad.read.projecting import projected_by_numpy


@dataclass(frozen=True, slots=True)
class Block:
    rows: Rows
    indptr: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int32]
    data: npt.NDArray[np.float32]

    def on(self, gene_to_feature: npt.NDArray[np.int32]) -> ProjectedBlock:
        """As the model sees it whose features these genes have."""
        return projected_by_numpy(RowBlock(self.rows, self.indptr, self.indices, self.data), gene_to_feature)


@dataclass(frozen=True, slots=True)
class Scorer:
    """An annotator that takes blocks of whole rows."""

    annotator: Annotator
    gene_to_feature: npt.NDArray[np.int32]

    @classmethod
    def of(
        cls,
        card: ModelCard,
        weights: Mapping[str, torch.Tensor],
        genes: npt.NDArray[np.int32],
        device: torch.device,
        *,
        as_it_is: bool = False,
    ) -> Scorer:
        return cls(Annotator(card, weights, genes, device, as_it_is=as_it_is), genes)

    def annotate(self, block: Block) -> BlockScores:
        return self.annotator.annotate(block.on(self.gene_to_feature))


def block_of(values_ng: Any, start: int = 0) -> Block:
    csr = sp.csr_matrix(np.asarray(values_ng, dtype=np.float32))
    return _block(csr, Rows(start, start + csr.shape[0]))


def blocks_of(matrix: sp.csr_matrix[Any], rows: Rows) -> Iterator[Block]:
    for part in rows.blocks():
        yield _block(matrix[part.start : part.stop], part)


def _block(csr: Any, rows: Rows) -> Block:
    indptr, indices = csr.indptr.astype(np.int64), csr.indices.astype(np.int32)
    return Block(rows, indptr, indices, csr.data.astype(np.float32))


def gene_map(genes: Sequence[str], features: Sequence[str]) -> npt.NDArray[np.int32]:
    """For each gene its feature's position, -1 where there is none or an earlier gene took it."""
    free = {feature: position for position, feature in enumerate(features)}
    return np.array([free.pop(gene, -1) for gene in genes], dtype=np.int32)


Result = TypeVar("Result")


def on_threads(threads: int, compute: Callable[[], Result]) -> Result:
    """What is computed with that many threads of torch."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        return compute()
    finally:
        torch.set_num_threads(before)
