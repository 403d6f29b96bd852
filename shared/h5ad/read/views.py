"""Rows that are read once for several models: projected onto the features of all, and then onto those of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from shared.h5ad.read.blocks import Columns
from shared.h5ad.read.projected import UNMATCHED, ProjectedBlock
from shared.h5ad.read.projecting import each_feature_once, with_silent_cells


@dataclass(frozen=True, slots=True)
class View:
    """What one model sees of the blocks: the very bytes that it would see of blocks projected for it alone.

    Attributes:
        feature_of_known: For each gene that some model knows, the position of its feature in this one, or UNMATCHED.
        as_it_is: As in ``MatrixChoice``: whether the values are logarithms.
        shared: Whether some feature has several genes, whose values are summed.
    """

    feature_of_known: Columns
    as_it_is: bool
    shared: bool

    def of(self, block: ProjectedBlock) -> ProjectedBlock:
        """The block with this model's features."""
        feature_z = self.feature_of_known[block.feature]
        kept_z = np.flatnonzero(feature_z >= 0)
        indptr = np.searchsorted(kept_z, block.indptr).astype(np.int32)
        own = replace(block, indptr=indptr, feature=feature_z[kept_z], value=block.value[kept_z])
        own = with_silent_cells(own)
        return each_feature_once(own, as_it_is=self.as_it_is) if self.shared else own


@dataclass(frozen=True, slots=True)
class Views:
    """One map from the genes of a file to those that some model knows, and a view for each model.

    Attributes:
        known_of_gene: For each gene its position among the known ones, or UNMATCHED; int32. Project the blocks with it.
    """

    known_of_gene: Columns
    views: tuple[View, ...]

    @classmethod
    def of(cls, features: Sequence[Columns], *, as_it_is: bool) -> Views:
        """For models to which the genes of a file have these features.

        Args:
            features: For each model and gene the position of the feature, or UNMATCHED; int32.
        """
        known_g = np.any([feature_g >= 0 for feature_g in features], axis=0)
        known_of_gene = np.where(known_g, np.cumsum(known_g) - 1, UNMATCHED).astype(np.int32)
        own = [feature_g[known_g] for feature_g in features]
        return cls(known_of_gene, tuple(View(feature_k, as_it_is, _is_shared(feature_k)) for feature_k in own))


def _is_shared(feature_k: Columns) -> bool:
    found = feature_k[feature_k >= 0]
    return np.unique(found).size != found.size
