"""Blocks of rows onto a model's features."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from shared.domain.verdict import CellNote
from shared.h5ad.read import native
from shared.h5ad.read.blocks import Columns, Pointers, RowBlock, Values
from shared.h5ad.read.projected import Expected, ProjectedBlock, RowBuffers, ScratchBuffers
from shared.h5ad.read.settling import COUNTS, Stored, settle


@dataclass(frozen=True, slots=True)
class Projector:
    """How the rows of a matrix become what a model with these features sees.

    Attributes:
        feature_of_gene: For each gene the position of its feature in the model, or UNMATCHED; int32. Several genes
            may have one feature: their values are summed.
        stored: What the matrix holds.
        shared: Whether some feature has several genes.
    """

    feature_of_gene: Columns
    stored: Stored
    shared: bool

    @classmethod
    def of(cls, feature_of_gene: Columns, stored: Stored) -> Projector:
        """For one matrix and one model."""
        known = feature_of_gene[feature_of_gene >= 0]
        return cls(feature_of_gene, stored, np.unique(known).size != known.size)

    @property
    def expected(self) -> Expected | None:
        """What the compiled loops can take; None where they cannot be used."""
        return self.stored.expected

    def project(self, block: RowBlock) -> ProjectedBlock:
        """A checked block."""
        expected = self.expected
        if expected is not None:
            room = RowBuffers.of(block.indptr, self.feature_of_gene, ScratchBuffers(), expected=expected)
            columns, values = np.ascontiguousarray(block.indices), np.ascontiguousarray(block.data)
            if native.project(room, columns, values):
                return self.completed(room.block(block.rows))
        settled = settle(block, self.stored)
        found = projected_by_numpy(settled.block, self.feature_of_gene)
        return self.completed(replace(found, total_n=settled.total_n, note_n=settled.note_n), settled=True)

    def completed(self, found: ProjectedBlock, *, settled: bool = False) -> ProjectedBlock:
        """What the compiled loops leave to be done."""
        if self.stored.target_sum is not None and not self.stored.as_it_is and not settled:
            found = replace(found, total_n=np.full(len(found.rows), self.stored.target_sum))
        found = with_silent_cells(found)
        return each_feature_once(found, as_it_is=self.stored.as_it_is) if self.shared else found


def project(block: RowBlock, feature_of_gene: Columns, stored: Stored = COUNTS) -> ProjectedBlock:
    """What a model sees of one checked block."""
    return Projector.of(feature_of_gene, stored).project(block)


def with_silent_cells(block: ProjectedBlock) -> ProjectedBlock:
    """Note the cells that have no value of the model's genes."""
    note_n = np.where(np.diff(block.indptr), block.note_n, CellNote.SILENT)
    return replace(block, note_n=note_n.astype(np.uint8))


def projected_by_numpy(block: RowBlock, feature_of_gene: Columns) -> ProjectedBlock:
    """What the compiled loops give, where there are none."""
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
        np.zeros(len(block.indptr) - 1, np.uint8),
    )


def _row_sums(data: npt.NDArray[np.generic], indptr: Pointers) -> npt.NDArray[np.float64]:
    sums_n = np.zeros(len(indptr) - 1)
    filled = np.flatnonzero(np.diff(indptr))  # Of an empty row, reduceat would give the value of the next.
    if filled.size:
        sums_n[filled] = np.add.reduceat(data, indptr[filled], dtype=np.float64)
    return sums_n


def each_feature_once(found: ProjectedBlock, *, as_it_is: bool) -> ProjectedBlock:
    """The values of genes that share a feature, summed as counts are."""
    row_z = np.repeat(np.arange(len(found.rows)), np.diff(found.indptr))
    order = np.lexsort((found.feature, row_z))
    row_z, feature_z = row_z[order], found.feature[order]
    value_z = found.value[order].astype(np.float64)
    new_z = np.ones(len(order), np.bool_)
    new_z[1:] = (row_z[1:] != row_z[:-1]) | (feature_z[1:] != feature_z[:-1])
    if new_z.all():
        return found
    starts = np.flatnonzero(new_z)
    sums = np.add.reduceat(np.expm1(value_z) if as_it_is else value_z, starts)
    values: Values = (np.log1p(sums) if as_it_is else sums).astype(np.float32)
    alone = np.diff(np.concatenate([starts, [len(order)]])) == 1
    values[alone] = found.value[order][starts][alone]
    indptr = np.searchsorted(row_z[starts], np.arange(len(found.rows) + 1)).astype(np.int32)
    return replace(found, indptr=indptr, feature=feature_z[starts], value=values)
