"""How the score of each label depends on the expression of each gene, computed without torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.bundles.card import Kind, ModelCard, NormaliseFeatures, Standardise
from shared.bundles.kinds import CentroidCard

Float64s = npt.NDArray[np.float64]
Tensors = Mapping[str, Float64s]


@dataclass(frozen=True, slots=True)
class Slopes:
    """The margin of a label, its decision score less the mean score of all other labels, as a function of expression.

    Within a file, margins differ between cells by ``Σ_f slope_lf · min(x_f, ceiling_f)``, where ``x`` is log1p
    expression. So a gene contributes ``slope_lf · (mean over some cells - mean over others)`` to the difference of
    their mean margins, and these contributions add up to it exactly.

    Attributes:
        slope_lf: Change of a label's margin for one unit of a gene's log1p expression, labels x features, float64,
            after the temperature.
        ceiling_f: Higher expression counts as this much, because the model clips z-scores; may be infinite.
        mean_f: Mean log1p expression of the training cells.
        std_f: Its standard deviation.
    """

    slope_lf: Float64s
    ceiling_f: Float64s
    mean_f: Float64s
    std_f: Float64s


def have_slopes(card: ModelCard) -> bool:
    """Whether the margins of this model are linear in expression, so that genes contribute to them.

    They are not if a cell's expression is scaled again, by its total over the features.
    """
    scaled_again = any(isinstance(step, NormaliseFeatures) for step in card.preprocessing)
    return WEIGHTS[card.kind] is not None and not scaled_again


def slopes_of(card: ModelCard, tensors: Mapping[str, npt.NDArray[np.floating]]) -> Slopes:
    """The slopes of a bundle whose tensors fit its card (``jobs.engine.kinds``), of a kind that has slopes."""
    weights_of = WEIGHTS[card.kind]
    assert weights_of is not None
    exact = {name: np.asarray(tensor, np.float64) for name, tensor in tensors.items()}
    mean_f, std_f = exact["mean"], exact["std"]
    weight_lf = weights_of(card, exact)
    others = len(weight_lf) - 1
    # The weights of the mean of the other labels are (sum - own) / others.
    margin_lf = (weight_lf * (1 + 1 / others) - weight_lf.sum(axis=0) / others) / card.temperature
    clip = _clip(card)
    ceiling_f = (clip - np.minimum(-mean_f / std_f, clip)) * std_f
    return Slopes(margin_lf / std_f, ceiling_f, mean_f, std_f)


def _clip(card: ModelCard) -> float:
    step = next((step for step in card.preprocessing if isinstance(step, Standardise)), None)
    return np.inf if step is None or step.clip_max is None else step.clip_max


def _linear(_card: ModelCard, tensors: Tensors) -> Float64s:
    return tensors["coef"]


def _centroid(card: ModelCard, tensors: Tensors) -> Float64s:
    """``V'·c_l / spread²``, from ``-|V·z - c_l|² / (2·spread²)`` without ``|V·z|²``, which all labels share."""
    assert isinstance(card, CentroidCard)
    # Without BLAS, whose order of summation depends on the machine.
    projected_lf: Float64s = np.einsum("lc,cf->lf", tensors["centroids"], tensors["components"])
    return projected_lf / card.spread**2


WEIGHTS: Mapping[Kind, Callable[[ModelCard, Tensors], Float64s] | None] = {
    Kind.LINEAR: _linear,
    Kind.CENTROID: _centroid,
    Kind.NEIGHBOURS: None,
    Kind.NEURAL: None,
    Kind.ENCODED: None,
}
"""For each kind, the weights of standardised expression, labels x features, in decision scores before the temperature.

Terms that all labels of a cell share are left out. None for a kind whose scores are not linear in expression, such as a
vote: it has no evidence. A new kind is a line here.
"""
