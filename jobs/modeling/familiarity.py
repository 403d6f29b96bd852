"""Learns to recognise unfamiliar cells: which genes to watch, and how much of them familiar cells have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import torch

from jobs.engine.familiarity import Watch, Watched
from jobs.modeling.features import distinct_genes, take_features
from jobs.modeling.gene_places import GeneList, places_of_genes
from jobs.modeling.labelled import LabelledCells
from shared.bundles.card import Familiarity, Features
from shared.domain.verdict import MatrixState

Float64s = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]

RARE = 1e-5
"""The share of a label's molecules below which it does not express a gene: one in 100,000.

Measured on sorted blood cells (Zheng et al. 2017; 2026-11), with thresholds for 3 to 4 % false alarms. At 1e-5, all
cells of three lung lines are found, and 1 to 8 % of the lineages of another blood data set are called unfamiliar. At
2e-5 and above, 10 to 60 % of the latter are, as donors and protocols differ in genes of low expression. At 5e-6, too
few genes are left to find the lung lines.
"""
_RAREST = 1e-6
"""Shares below this count as this: fewer molecules than any training data can tell."""
_LEAST_GENES = 50
_LEAST_CELLS = 50
_LEAST_SPREAD = 1e-6


@dataclass(frozen=True, slots=True)
class Learned:
    """What a bundle needs to recognise unfamiliar cells.

    Attributes:
        tensors: Those of ``jobs.engine.familiarity``, float32.
    """

    familiarity: Familiarity
    tensors: Mapping[str, torch.Tensor]


def learn_familiarity(
    known: LabelledCells, unseen: LabelledCells, features: Features, false_alarm: float
) -> Learned | None:
    """Learn from training cells which genes to watch, and from held-out cells how much of them to expect.

    A gene is watched if its share of the molecules of every label is below ``RARE``. Its weight is the logarithm of how
    far it is below. The threshold is the conformal quantile of the held-out cells' unfamiliarity: of further cells like
    them, a share of ``false_alarm`` is expected above it (Vovk et al., Algorithmic Learning in a Random World, 2005).

    Args:
        features: The model's features, which are not watched.
        false_alarm: The share of familiar cells that may be called unfamiliar, above 0 and below 1.

    Returns:
        None if the cells cannot tell: they have no counts, there are too few, or too few genes are left to watch.
    """
    # With fewer held-out cells, not even the highest of them would show that the rate is held.
    least = max(_LEAST_CELLS, int(np.ceil(1 / false_alarm)) - 1)
    if known.state is not MatrixState.COUNTS or min(known.n_cells, unseen.n_cells) < least:
        return None
    share_g = _largest_shares(known)
    place_g = places_of_genes(known.genes, GeneList(features, known.species))
    watched_w = np.flatnonzero(distinct_genes(known.genes) & (share_g < RARE) & (place_g < 0))
    if len(watched_w) < _LEAST_GENES:
        return None
    # Rounded to the precision that they are stored in, so that inference computes the same.
    weight_w = _stored(np.log(RARE / np.maximum(share_g[watched_w], _RAREST)))
    count_nw = sp.csr_matrix(unseen.value_ng[:, watched_w])
    total_n = np.asarray(unseen.value_ng.sum(axis=1, dtype=np.float64)).ravel()
    deep_n = total_n > 0
    rate_g = np.asarray(unseen.value_ng.sum(axis=0, dtype=np.float64)).ravel() / total_n.sum()
    rate_w, rate_f = _stored(rate_g[watched_w]), _stored(_of_features(rate_g, place_g, len(features)))
    familiarity = Familiarity(
        genes=take_features(known.genes, watched_w),
        typical_total=round(float(np.median(total_n[deep_n])), 1),
        spread=_spread(np.asarray(count_nw[deep_n] @ weight_w).ravel(), total_n[deep_n], weight_w, rate_w),
        threshold=0.0,
        false_alarm=false_alarm,
    )
    score_n = _scores(Watched(familiarity, weight_w, rate_w, np.zeros(0)), count_nw[deep_n], total_n[deep_n])
    threshold = round(max(_quantile(score_n, false_alarm), 0.0), 4)
    tensors = {"watched_weight": weight_w, "watched_rate": rate_w, "feature_rate": rate_f}
    return Learned(
        familiarity.model_copy(update={"threshold": threshold}),
        {name: torch.from_numpy(values.astype(np.float32)) for name, values in tensors.items()},
    )


def _largest_shares(known: LabelledCells) -> Float64s:
    """The largest share that each gene has of the molecules of any label."""
    share_g = np.zeros(known.value_ng.shape[1])
    for label in np.unique(known.class_n):
        count_g = np.asarray(known.value_ng[known.class_n == label].sum(axis=0, dtype=np.float64)).ravel()
        share_g = np.maximum(share_g, count_g / max(count_g.sum(), 1.0))
    return share_g


def _of_features(rate_g: Float64s, place_g: npt.NDArray[np.int32], n_features: int) -> Float64s:
    return np.bincount(place_g[place_g >= 0], rate_g[place_g >= 0], minlength=n_features).astype(np.float64)


def _stored(values: Float64s) -> Float64s:
    return values.astype(np.float32).astype(np.float64)


def _spread(sum_n: Float64s, total_n: Float64s, weight_w: Float64s, rate_w: Float64s) -> float:
    """The standard deviation between cells that sampling of molecules does not explain, by moments."""
    mean, noise = float((weight_w * rate_w).sum()), float((weight_w**2 * rate_w).sum())
    beyond = float(np.mean((sum_n / total_n - mean) ** 2 - noise / total_n))
    return round(max(beyond, 0.0) ** 0.5, 9) or _LEAST_SPREAD


def _scores(watched: Watched, count_nw: sp.csr_matrix, total_n: Float64s) -> npt.NDArray[np.float32]:
    """The unfamiliarity of cells, by the code of inference."""
    count_nw.sort_indices()
    every_w = np.arange(count_nw.shape[1], dtype=np.int32)
    look = Watch(watched, 0, every_w, as_it_is=False, counted=True).look(
        count_nw.indices.astype(np.int32),
        count_nw.data.astype(np.float32),
        count_nw.indptr.astype(np.int32),
        total_n,
        np.zeros(len(total_n), np.uint8),
    )
    assert look.unfamiliarity_n is not None
    return look.unfamiliarity_n


def _quantile(score_n: npt.NDArray[np.float32], false_alarm: float) -> float:
    """The smallest value that all but a share of ``false_alarm`` of further values are expected not to exceed."""
    rank = int(np.ceil((len(score_n) + 1) * (1 - false_alarm)))
    return float(np.sort(score_n)[min(rank, len(score_n)) - 1])
