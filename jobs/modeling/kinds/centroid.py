"""Trains the centroid kind: a PCA of standardised expression, and the mean of each label along its components."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from sklearn.decomposition import PCA

from jobs.modeling.alignment import orthonormal, without
from jobs.modeling.design import Design, design_of
from jobs.modeling.kinds.recipe import Recipe, Weights
from jobs.modeling.labelled import LabelledCells
from jobs.modeling.settings import TrainingSettings

_LEAST_SPREAD = 1e-3


class CentroidRecipe(Recipe):
    """Chooses the number of principal components. All candidates share one PCA."""

    candidate = "components"

    def candidates(self, settings: TrainingSettings) -> Sequence[float]:
        """Numbers of components, the fewest first."""
        return sorted(settings.components)

    def path(self, settings: TrainingSettings, chosen: float) -> Sequence[float]:  # noqa: ARG002  # of the protocol
        """Only the chosen number of components, as no fit depends on another."""
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
        """See ``Recipe``. With fewer cells or genes than components, as many components as possible are used."""
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
        """None: the parameters that all kinds share are enough."""
        return {}


def _principal_axes(design: Design, n_components: int, seed: int) -> torch.Tensor:
    """The principal axes of the centred cells, components x features, float32, by decreasing variance."""
    pca = PCA(n_components, svd_solver="randomized", random_state=seed)
    ignored_df = orthonormal(design.ignored_df)
    z_nf = without(design.z_nf.clone(), ignored_df) if len(ignored_df) else design.z_nf
    pca.fit(z_nf.numpy())
    return without(torch.from_numpy(np.ascontiguousarray(pca.components_, dtype=np.float32)), ignored_df)


def _weights(design: Design, components_cf: torch.Tensor, projected_nc: torch.Tensor, n_labels: int) -> Weights:
    sums_lc = torch.zeros(n_labels, projected_nc.shape[1]).index_add_(0, design.class_n, projected_nc)
    counts_l = torch.bincount(design.class_n, minlength=n_labels).clamp(min=1)
    centroids_lc = sums_lc / counts_l[:, None]
    spread = float((projected_nc - centroids_lc[design.class_n]).square().mean().sqrt())
    tensors = {"components": components_cf.contiguous(), "centroids": centroids_lc, **design.standardising}
    own = {"n_components": len(components_cf), "spread": round(max(spread, _LEAST_SPREAD), 6)}
    return Weights(design.features, tensors, own)
