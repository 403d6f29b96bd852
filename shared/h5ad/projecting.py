"""Blocks of rows onto a model's features."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shared.h5ad import native
from shared.h5ad.blocks import Columns, Pointers, RowBlock
from shared.h5ad.projection import Bench, ProjectedBlock, Room


def project(block: RowBlock, feature_of_gene: Columns) -> ProjectedBlock:
    """What a model with these features sees of a block that was checked.

    Args:
        feature_of_gene: For each gene the position of its feature in the model, or UNMATCHED; int32.
    """
    assert block.indptr[-1] == len(block.indices) == len(block.data)
    room = Room.of(block.indptr, feature_of_gene, Bench())
    columns, values = np.ascontiguousarray(block.indices), np.ascontiguousarray(block.data)
    if native.project(room, columns, values):
        return room.block(block.rows)
    return projected_by_numpy(block, feature_of_gene)


def projected_by_numpy(block: RowBlock, feature_of_gene: Columns) -> ProjectedBlock:
    """The same where there is no native code."""
    expressed = block.data != 0
    feature = feature_of_gene[block.indices]
    kept = np.flatnonzero((feature >= 0) & expressed)
    return ProjectedBlock(
        block.rows,
        np.searchsorted(kept, block.indptr).astype(np.int32),
        feature[kept],
        block.data[kept],
        _row_sums(block.data, block.indptr),
        _row_sums(expressed, block.indptr).astype(np.int32),
    )


def _row_sums(data: npt.NDArray[np.generic], indptr: Pointers) -> npt.NDArray[np.float64]:
    sums_n = np.zeros(len(indptr) - 1)
    filled = np.flatnonzero(np.diff(indptr))  # Of an empty row, reduceat would give the value of the next.
    if filled.size:
        sums_n[filled] = np.add.reduceat(data, indptr[filled], dtype=np.float64)
    return sums_n
