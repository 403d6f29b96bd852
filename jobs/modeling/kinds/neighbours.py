"""Trains the neighbours kind: coordinates in which labels lie apart, and all training cells in these coordinates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from jobs.engine.kinds.standardised import SparseProduct, Standardisation
from jobs.modeling.design import CLIP_MAX
from jobs.modeling.expression import TARGET_SUM, log_normalise
from jobs.modeling.gene_places import GeneList, first_places, places_of_genes
from jobs.modeling.kinds.linear import LinearRecipe
from jobs.modeling.kinds.recipe import Recipe, Weights
from jobs.modeling.labelled import LabelledCells
from jobs.modeling.settings import TrainingSettings
from shared.domain.verdict import MatrixState

STRENGTH = 0.3
"""The ridge penalty of the weights that make the coordinates.

Of half of the sorted blood cells, with 30 neighbours among the other half, 0.890 get the right label with a penalty of
1, and 0.900 with 0.3 or 0.1; the calibration error is 0.012, 0.020 and 0.041 (2026-11).
"""
MOST_COMPONENTS = 50
_AT_ONCE = 4096
_LEAST_SIZE = 1e-6
_LINEAR = LinearRecipe()


class NeighboursRecipe(Recipe):
    """Chooses the number of neighbours. All candidates share the coordinates and the reference.

    The coordinates are the decision scores of a linear model, turned so that there are as few as needed: the distance
    of two cells is the distance of their scores, less what all labels share. In principal components, the accuracy on
    sorted blood cells is 0.84 instead of 0.89, in linear discriminants of 100 components 0.87 to 0.88 (2026-11).
    """

    candidate = "neighbours"

    def candidates(self, settings: TrainingSettings) -> Sequence[float]:
        """Numbers of neighbours, the most first: with them, single cells matter least."""
        return sorted(settings.neighbours, reverse=True)

    def path(self, settings: TrainingSettings, chosen: float) -> Sequence[float]:  # noqa: ARG002  # of the protocol
        """Only the chosen number, as no fit depends on another."""
        return [chosen]

    def steps(self, settings: TrainingSettings) -> int:
        """The largest number of iterations of the linear fit, and one for each candidate."""
        return settings.max_iterations * 2 + len(settings.neighbours)

    def learn(
        self,
        cells: LabelledCells,
        settings: TrainingSettings,
        candidates: Sequence[float],
        on_step: Callable[[], None],
    ) -> Iterator[tuple[float, Weights]]:
        """See ``Recipe``. With fewer cells than neighbours, all cells vote."""
        ((_, linear),) = _LINEAR.learn(cells, settings, [STRENGTH], on_step)
        projection_cf = _projection(linear.tensors["coef"])
        tensors = {
            "projection": projection_cf,
            "reference": _coordinates(cells, linear, projection_cf),
            "reference_label": torch.from_numpy(cells.class_n.astype(np.float32)),
            "mean": linear.tensors["mean"],
            "std": linear.tensors["std"],
        }
        for candidate in candidates:
            own = {
                "n_components": len(projection_cf),
                "n_reference": cells.n_cells,
                "k": min(int(candidate), cells.n_cells),
                "prefactor": settings.prefactor,
            }
            yield candidate, Weights(linear.features, tensors, own)
            on_step()

    def parameters(self, settings: TrainingSettings) -> Mapping[str, Any]:
        """Those of the linear fit, and its penalty."""
        return {"strength": STRENGTH, **_LINEAR.parameters(settings)}


def _projection(coef_lf: torch.Tensor) -> torch.Tensor:
    """Weights of as few coordinates as needed for the distances of centred scores, components x features, float32."""
    centred_lf = coef_lf.double() - coef_lf.double().mean(dim=0)
    _, size_c, axis_cf = torch.linalg.svd(centred_lf, full_matrices=False)
    n_kept = min(max(int((size_c > _LEAST_SIZE * size_c[0]).sum()), 1), MOST_COMPONENTS)
    projection_cf: torch.Tensor = (size_c[:n_kept, None] * axis_cf[:n_kept]).float()
    return projection_cf.contiguous()


def _coordinates(cells: LabelledCells, linear: Weights, projection_cf: torch.Tensor) -> torch.Tensor:
    """The coordinates of cells, computed as in inference, cells x components, float32."""
    mean_f, std_f = (linear.tensors[name].double() for name in ("mean", "std"))
    standardisation = Standardisation(mean_f, std_f, TARGET_SUM, CLIP_MAX)
    n_components, n_features = projection_cf.shape
    product = SparseProduct(
        projection_cf.double(),
        torch.zeros(n_components, dtype=torch.float64),
        standardisation,
        torch.ones(n_features, dtype=torch.bool),
        torch.float64,
    )
    place_g = first_places(places_of_genes(cells.genes, GeneList(linear.features, cells.species)))
    gene_f = np.empty(n_features, np.int64)
    gene_f[place_g[place_g >= 0]] = np.flatnonzero(place_g >= 0)
    found = [torch.zeros(0, n_components)]
    for start in range(0, cells.n_cells, _AT_ONCE):
        part = cells.take(np.arange(start, min(start + _AT_ONCE, cells.n_cells)))
        expression_ng = log_normalise(part.value_ng, as_it_is=part.state is MatrixState.LOG1P_CP10K)
        x_nf = expression_ng[:, gene_f]
        arrays = (x_nf.data, x_nf.indices.astype(np.int32), x_nf.indptr.astype(np.int32))
        found.append(product(*map(torch.from_numpy, arrays)).float())
    return torch.cat(found)
