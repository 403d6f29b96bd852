"""Training of the centroid kind: a PCA of standardised expression, and every label's mean along its components."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from sklearn.decomposition import PCA

from jobs.modeling.design import Design, design_of
from jobs.modeling.kinds.recipe import Recipe, Weights
from jobs.modeling.labelled import LabelledCells
from jobs.modeling.settings import TrainingSettings

_LEAST_SPREAD = 1e-3


class CentroidRecipe(Recipe):
    """The candidate is the number of components: the first of those of one PCA, which is made once."""

    candidate = "components"

    def candidates(self, settings: TrainingSettings) -> Sequence[float]:
        """The fewest first."""
        return sorted(settings.components)

    def path(self, settings: TrainingSettings, chosen: float) -> Sequence[float]:  # noqa: ARG002  # of the protocol
        """No number of components needs another."""
        return [chosen]

    def steps(self, settings: TrainingSettings) -> int:
        """One for the PCA and one for each candidate."""
        return 1 + len(settings.components)

    def learn(
        self,
        cells: LabelledCells,
        settings: TrainingSettings,
        candidates: Sequence[float],
        on_step: Callable[[], None],
    ) -> Iterator[tuple[float, Weights]]:
        """As the protocol says; of fewer cells or genes than components, as many components as there can be."""
        design = design_of(cells, settings)
        most = min(int(max(candidates)), *design.z_nf.shape)
        components_cf = _principal_axes(design, most, settings.seed)
        projected_nc = design.z_nf @ components_cf.T
        on_step()
        for candidate in candidates:
            n_components = min(int(candidate), most)
            kept_nc = projected_nc[:, :n_components]
            yield candidate, _weights(design, components_cf[:n_components], kept_nc, len(cells.labels))
            on_step()

    def parameters(self, settings: TrainingSettings) -> Mapping[str, Any]:  # noqa: ARG002  # of the protocol
        """Nothing beside what every kind has."""
        return {}


def _principal_axes(design: Design, n_components: int, seed: int) -> torch.Tensor:
    """Components x features, float32, the axis of most variance first; of cells centred on their mean."""
    pca = PCA(n_components, svd_solver="randomized", random_state=seed)
    pca.fit(design.z_nf.numpy())
    return torch.from_numpy(np.ascontiguousarray(pca.components_, dtype=np.float32))


def _weights(design: Design, components_cf: torch.Tensor, projected_nc: torch.Tensor, n_labels: int) -> Weights:
    sums_lc = torch.zeros(n_labels, projected_nc.shape[1]).index_add_(0, design.class_n, projected_nc)
    counts_l = torch.bincount(design.class_n, minlength=n_labels).clamp(min=1)
    centroids_lc = sums_lc / counts_l[:, None]
    spread = float((projected_nc - centroids_lc[design.class_n]).square().mean().sqrt())
    tensors = {"components": components_cf.contiguous(), "centroids": centroids_lc, **design.standardising}
    own = {"n_components": len(components_cf), "spread": round(max(spread, _LEAST_SPREAD), 6)}
    return Weights(design.features, tensors, own)
