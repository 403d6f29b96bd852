"""The centroid kind: compares each cell with the mean cell of every label, in the space of a PCA."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from jobs.engine.kinds.kind import ModelKind, ScoringModule
from jobs.engine.kinds.standardised import TENSORS, SparseProduct, Standardisation, differing, value_bytes
from jobs.engine.kinds.tensors import Tensor, TensorTable, checked, invalid
from shared.bundles.card import ModelCard
from shared.bundles.kinds import CentroidCard


@dataclass(frozen=True, slots=True)
class CentroidWeights:
    """The parameters of a centroid model, in float64 on the CPU.

    Attributes:
        components_cf: Principal axes of standardised expression, components x features.
        centroids_lc: The mean of each label's training cells, labels x components.
        spread: Root mean square distance of training cells from their label's centroid, per component.
    """

    components_cf: torch.Tensor
    centroids_lc: torch.Tensor
    spread: float
    standardisation: Standardisation

    def module(self, matched_f: torch.Tensor) -> ScoringModule:
        """See ``KindWeights``."""
        return CentroidModel(self, matched_f)

    def importance_f(self) -> torch.Tensor:
        """See ``KindWeights``; the weights are those of ``jobs.engine.slopes``."""
        return differing(self.centroids_lc @ self.components_cf)


class CentroidModel(ScoringModule):
    """Decision scores ``y_l = -|p - c_l|² / (2·spread²)``, where ``p = V·z`` projects standardised expression ``z``.

    This is the nearest-centroid classifier (Rocchio 1971; Tibshirani et al., PNAS 2002, doi:10.1073/pnas.082099299,
    without shrinkage) with probabilities: up to a constant, ``y_l`` is the log-likelihood of a Gaussian of the same
    width around every centroid. A feature that the file lacks is set to the training cells' mean, so it has no effect.

    Always in float64, as squaring a distance amplifies rounding errors of the coordinates.
    """

    centroids_lc: torch.Tensor

    def __init__(self, weights: CentroidWeights, matched_f: torch.Tensor) -> None:
        super().__init__()
        n_labels, n_components = weights.centroids_lc.shape
        self.target_sum = weights.standardisation.target_sum
        self.arithmetic = torch.float64
        self.width = n_components + n_labels
        self.value_bytes = value_bytes(self.arithmetic, weights.standardisation)
        offset_c = torch.zeros(n_components, dtype=torch.float64)
        self._product = SparseProduct(
            weights.components_cf, offset_c, weights.standardisation, matched_f, self.arithmetic
        )
        self._scale = -0.5 / weights.spread**2
        self.register_buffer("centroids_lc", weights.centroids_lc)

    def forward(self, expression_z: torch.Tensor, feature_z: torch.Tensor, indptr: torch.Tensor) -> torch.Tensor:
        """See ``ScoringModule``."""
        projected_nc = self._product(expression_z, feature_z, indptr)
        # Without a matrix product: its order of summation depends on the number of rows and threads.
        distance_nl = torch.cdist(projected_nc, self.centroids_lc, compute_mode="donot_use_mm_for_euclid_dist")
        return distance_nl.square_().mul_(self._scale)


class Centroid(ModelKind):
    """Nearest centroid in a PCA: the classic baseline, fast to train and easy to explain."""

    tensors: TensorTable = {  # noqa: RUF012  # a Mapping: nobody writes to it
        "components": Tensor(("components", "features"), "principal axes of standardised expression"),
        "centroids": Tensor(("labels", "components"), "the mean of each label's training cells"),
        **TENSORS,
    }

    def weights(self, card: ModelCard, tensors: Mapping[str, torch.Tensor], *, where: str = "") -> CentroidWeights:
        """See ``ModelKind``."""
        own = _own(card, where)
        sizes = {"labels": len(card.labels), "features": len(card.features), "components": own.n_components}
        found = checked(self.tensors, sizes, tensors, where=where)
        standardisation = Standardisation.of(card, found, where=where)
        return CentroidWeights(found["components"], found["centroids"], own.spread, standardisation)

    def flops_per_cell(self, card: ModelCard) -> float:
        """The projection, and a difference, a square and a sum per label and component."""
        n_components = _own(card, card.reference).n_components
        return 2.0 * n_components * len(card.features) + 3.0 * n_components * len(card.labels)


def _own(card: ModelCard, where: str) -> CentroidCard:
    if not isinstance(card, CentroidCard):
        raise invalid(f"a card of kind {card.kind}", "a card of kind centroid", where)
    return card
