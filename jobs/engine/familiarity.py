"""The unfamiliarity of a cell: how much of it is expression that the model's training cells do not have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from jobs.engine.kinds.tensors import Tensor, TensorTable, checked, invalid
from shared.bundles.card import Familiarity, ModelCard
from shared.domain.verdict import CellNote

Float32s = npt.NDArray[np.float32]
Float64s = npt.NDArray[np.float64]
Int32s = npt.NDArray[np.int32]

LEAST_COVERAGE = 0.5
"""The share of the watched genes, by weight, that a file must have. A file of selected genes may lack most of them."""
_CP10K = 1e4
_WHOLE = 1.001
_LEAST_LEFT = 0.1

TENSORS: TensorTable = {
    "watched_weight": Tensor(("watched",), "weight of a molecule of each watched gene, above 0"),
    "watched_rate": Tensor(("watched",), "share of each watched gene among the molecules of familiar cells"),
    "feature_rate": Tensor(("features",), "share of each feature among the molecules of familiar cells"),
}
"""The tensors of a bundle whose card has ``familiarity``, in addition to those of its kind."""


@dataclass(frozen=True, slots=True)
class Watched:
    """The watched genes of a bundle, checked.

    Attributes:
        weight_w: The weight of a molecule of each gene, float64.
        rate_w: The share of each gene among the molecules of familiar cells, float64.
        rate_f: Likewise of each feature.
    """

    familiarity: Familiarity
    weight_w: Float64s
    rate_w: Float64s
    rate_f: Float64s


def watched_of(card: ModelCard, tensors: Mapping[str, torch.Tensor], *, where: str = "") -> Watched | None:
    """The watched genes of a bundle; None if it has none.

    Raises:
        InvalidBundleError: The tensors do not fit the card.
    """
    if card.familiarity is None:
        return None
    own = {name: tensor for name, tensor in tensors.items() if name in TENSORS}
    sizes = {"watched": len(card.familiarity.genes), "features": len(card.features)}
    found = {name: tensor.numpy() for name, tensor in checked(TENSORS, sizes, own, where=where).items()}
    weight_w, rate_w, rate_f = (found[name] for name in TENSORS)
    if not (weight_w > 0).all() or min(rate_w.min(), rate_f.min()) < 0 or rate_w.sum() + rate_f.sum() > _WHOLE:
        raise invalid(
            "weights or rates of watched genes that make no sense",
            "weights above 0, and rates from 0 that add up to at most 1",
            where,
        )
    return Watched(card.familiarity, weight_w, rate_w, rate_f)


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at a block found.

    Attributes:
        feature_z: The block's features. Watched genes have the position ``n_features``, at which a model has nothing.
        note_n: The block's notes. Cells with values of watched genes only are ``SILENT``.
        unfamiliarity_n: The unfamiliarity of each cell, float32; None if it is not known.
    """

    feature_z: Int32s
    note_n: npt.NDArray[np.uint8]
    unfamiliarity_n: Float32s | None


class Watch:
    """Looks at the watched genes of the cells of one file.

    Of a cell with N molecules, ``s = Σ w_g·c_g / N`` is the weighted share of watched genes. In familiar cells, its
    mean is ``m = Σ w_g·r_g``, and its variance ``v = Σ w_g²·r_g / N + d²``: molecules are sampled (Poisson), and cells
    differ by the spread ``d``. The unfamiliarity is ``(s - m) / sqrt(v)``. Its mean does not depend on the depth of
    sequencing; the shallower a cell is, the more it must differ to be noticed. The sums are over the watched genes that
    the file has, and ``d`` is scaled with ``m``. If the file lacks features (mitochondrial or ribosomal genes are often
    removed), N is what the cell would have with them: it is divided by one minus their share in familiar cells.

    Args:
        n_features: Number of the model's own features. Positions from there on are watched genes.
        gene_to_feature: As for ``Annotator``.
        as_it_is: Whether values are log1p of counts per 10,000.
        counted: Whether values are counts, so that their total says how deep a cell was sequenced. Otherwise, cells are
            taken to be as deep as a typical training cell.
    """

    def __init__(
        self, watched: Watched, n_features: int, gene_to_feature: Int32s, *, as_it_is: bool, counted: bool
    ) -> None:
        self._n_features = n_features
        self._weight_w = watched.weight_w
        self._as_it_is = as_it_is
        self._depth = None if counted and not as_it_is else watched.familiarity.typical_total
        there_w = np.zeros(len(watched.weight_w), np.bool_)
        there_w[gene_to_feature[gene_to_feature >= n_features] - n_features] = True
        weight_w, rate_w = watched.weight_w[there_w], watched.rate_w[there_w]
        self._mean = float((weight_w * rate_w).sum())
        self._noise = float((weight_w**2 * rate_w).sum())
        whole = float((watched.weight_w * watched.rate_w).sum())
        there_f = np.zeros(n_features, np.bool_)
        there_f[gene_to_feature[(gene_to_feature >= 0) & (gene_to_feature < n_features)]] = True
        self.left = max(1.0 - float(watched.rate_f[~there_f].sum()), _LEAST_LEFT)
        self._spread = watched.familiarity.spread * (self._mean / whole if whole else 1.0)
        self.coverage = float(weight_w.sum() / watched.weight_w.sum())

    def look(
        self, feature_z: Int32s, value_z: Float32s, indptr: Int32s, total_n: Float64s, note_n: npt.NDArray[np.uint8]
    ) -> Look:
        """Look at a block, given as the arrays of ``CellBlock``."""
        place_z = np.flatnonzero(feature_z >= self._n_features)
        n_cells = len(note_n)
        row_z = np.searchsorted(indptr, place_z, side="right") - 1
        watched_n = np.bincount(row_z, minlength=n_cells)
        # A cell without any value was noted by the reader.
        silent_n = (watched_n > 0) & (watched_n == np.diff(indptr))
        weighted = value_z[place_z].astype(np.float64)
        if self._as_it_is:
            np.expm1(weighted, out=weighted)
        weighted *= self._weight_w[feature_z[place_z] - self._n_features]
        sum_n = np.bincount(row_z, weighted, minlength=n_cells).astype(np.float64, copy=False)
        own_z = feature_z
        if len(place_z):
            own_z = feature_z.copy()
            own_z[place_z] = self._n_features
        unfamiliarity_n = None
        if self.coverage >= LEAST_COVERAGE:
            # A cell without any value of these genes is like nothing, and unlike nothing.
            empty_n = note_n == CellNote.SILENT
            unfamiliarity_n = np.where(empty_n, np.float32(np.nan), self._unfamiliarity(sum_n, total_n))
        return Look(own_z, np.where(silent_n, np.uint8(CellNote.SILENT), note_n), unfamiliarity_n)

    def _unfamiliarity(self, sum_n: Float64s, total_n: Float64s) -> Float32s:
        # Values that are log1p of counts per 10,000 were scaled with all genes.
        whole_n = np.full(len(sum_n), _CP10K) if self._as_it_is else np.maximum(total_n / self.left, 1e-9)
        depth_n = np.maximum(total_n / self.left, 1.0) if self._depth is None else np.full(len(sum_n), self._depth)
        deviation_n = np.sqrt(self._noise / depth_n + self._spread**2)
        return ((sum_n / whole_n - self._mean) / deviation_n).astype(np.float32)
