"""Trains the linear kind: multinomial logistic regression with a ridge penalty chosen by cross-validation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from jobs.modeling.alignment import orthonormal, without
from jobs.modeling.design import Design, Float32s, design_of
from jobs.modeling.kinds.recipe import Recipe, Weights
from jobs.modeling.kinds.ridge import Fit, Problem, balanced_weights, fit_ridge, no_fit
from jobs.modeling.labelled import LabelledCells
from jobs.modeling.settings import ClassWeights, TrainingSettings

_LEAST_SIGNAL = 0.05


class LinearRecipe(Recipe):
    """Chooses the ridge penalty. Every fit starts from the previous one."""

    candidate = "strength"

    def candidates(self, settings: TrainingSettings) -> Sequence[float]:
        """Ridge penalties, the strongest first: with it, the model relies least on single genes."""
        return sorted(settings.strengths, reverse=True)

    def path(self, settings: TrainingSettings, chosen: float) -> Sequence[float]:
        """The stronger penalties come first: L-BFGS stops after a fixed number of steps, so its start matters."""
        return [strength for strength in self.candidates(settings) if strength >= chosen]

    def steps(self, settings: TrainingSettings) -> int:
        """The largest number of iterations over all fits."""
        return len(settings.strengths) * settings.max_iterations

    def learn(
        self,
        cells: LabelledCells,
        settings: TrainingSettings,
        candidates: Sequence[float],
        on_step: Callable[[], None],
    ) -> Iterator[tuple[float, Weights]]:
        """See ``Recipe``."""
        design = design_of(cells, settings)
        prior_f = _prior(design, settings.prior_power)
        ignored_df = orthonormal(design.ignored_df * torch.from_numpy(prior_f))
        problem = _problem(design, prior_f, ignored_df, len(cells.labels), settings)
        fit = no_fit(len(cells.labels), len(design.features))
        for strength in candidates:
            fit = fit_ridge(problem, fit, strength=strength, max_iterations=settings.max_iterations, on_step=on_step)
            yield strength, _weights(fit, design, prior_f, ignored_df)

    def parameters(self, settings: TrainingSettings) -> Mapping[str, Any]:
        """The settings of the prior, the class weights and the fit."""
        return {
            "prior_power": settings.prior_power,
            "class_weights": settings.class_weights.value,
            "max_iterations": settings.max_iterations,
        }


def _prior(design: Design, power: float) -> Float32s:
    """The prior scale of each gene's weights, larger for genes that separate the labels; mean square 1.

    F - 1 estimates a gene's variance between labels relative to the variance within: F is 1 on average if the labels do
    not differ.
    """
    prior_f = np.maximum(design.f_f - 1.0, _LEAST_SIGNAL) ** power
    return np.asarray(prior_f / np.sqrt(np.square(prior_f).mean()), dtype=np.float32)


def _problem(
    design: Design, prior_f: Float32s, ignored_df: torch.Tensor, n_labels: int, settings: TrainingSettings
) -> Problem:
    """The z-scores times the prior. A plain ridge on these is equivalent to a ridge with the prior."""
    balanced = settings.class_weights is ClassWeights.BALANCED
    return Problem(
        z_nf=without(design.z_nf.mul_(torch.from_numpy(prior_f)), ignored_df),
        class_n=design.class_n,
        weight_l=balanced_weights(design.class_n, n_labels) if balanced else torch.ones(n_labels),
    )


def _weights(fit: Fit, design: Design, prior_f: Float32s, ignored_df: torch.Tensor) -> Weights:
    coef_lf = without(fit.coef_lf.clone(), ignored_df) * torch.from_numpy(prior_f)
    tensors = {"coef": coef_lf, "intercept": fit.intercept_l, **design.standardising}
    return Weights(design.features, tensors)
