"""The share of each cell's counts that is of mitochondrial genes, taken as its block comes by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from shared.h5ad.names.mitochondria import mitochondrial
from shared.h5ad.read.projecting import with_silent_cells
from shared.h5ad.read.rows import ProjectedBlock

Int32s = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Mitochondria:
    """Has the reader keep mitochondrial genes, adds up their counts, and hides those that the model does not know.

    Memory: a share for each cell of the blocks that are being scored.

    Attributes:
        feature_g: For each gene of the file its feature in the model, or -1; mitochondrial genes that have none have
            numbers of their own, from ``n_known`` on.
        is_own_f: Whether a feature is a mitochondrial gene.
        share_of: The shares by the first row of a block, until they are taken.
    """

    feature_g: Int32s
    is_own_f: npt.NDArray[np.bool_]
    n_known: int
    share_of: dict[int, npt.NDArray[np.float32]] = field(default_factory=dict)

    @classmethod
    def among(cls, names: Sequence[str], feature_g: Int32s) -> Mitochondria | None:
        """Find them among a file's genes; None if there are too few.

        Args:
            feature_g: For each gene the position of its feature in the model, or -1.
        """
        place_m = np.array(mitochondrial(names), np.int64)
        if not len(place_m):
            return None
        n_known = int(feature_g.max(initial=-1)) + 1
        unknown_m = place_m[feature_g[place_m] < 0]
        extended_g = feature_g.copy()
        extended_g[unknown_m] = np.arange(n_known, n_known + len(unknown_m), dtype=np.int32)
        is_own_f = np.zeros(n_known + len(unknown_m), np.bool_)
        is_own_f[extended_g[place_m]] = True
        return cls(extended_g, is_own_f, n_known)

    def look(self, block: ProjectedBlock) -> ProjectedBlock:
        """Look at a block. Returns it as it would be without the further genes."""
        self.share_of[block.rows.start] = self._shares(block)
        return self._as_known(block)

    def _shares(self, block: ProjectedBlock) -> npt.NDArray[np.float32]:
        """NaN for a cell without counts."""
        place_z = np.flatnonzero(self.is_own_f[block.feature])
        row_z = np.searchsorted(block.indptr, place_z, side="right") - 1
        sum_n = np.bincount(row_z, block.value[place_z].astype(np.float64), minlength=len(block.rows))
        share_n = np.full(len(block.rows), np.nan)
        np.divide(sum_n, block.total_n, out=share_n, where=block.total_n > 0)
        return share_n.astype(np.float32)

    def _as_known(self, block: ProjectedBlock) -> ProjectedBlock:
        kept_z = np.flatnonzero(block.feature < self.n_known)
        if len(kept_z) == len(block.feature):
            return block
        indptr = np.searchsorted(kept_z, block.indptr).astype(np.int32)
        known = replace(block, indptr=indptr, feature=block.feature[kept_z], value=block.value[kept_z])
        return with_silent_cells(known)
