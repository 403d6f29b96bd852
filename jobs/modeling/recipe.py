"""From labelled counts to weights: statistics, genes, standardised expression, and the fit for each penalty."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import torch

from jobs.modeling.expression import log_normalise, thin
from jobs.modeling.features import (
    GeneStatistics,
    choose_genes,
    distinct_genes,
    gene_statistics,
    genes_also_in,
    take_features,
)
from jobs.modeling.fitting import Fit, Problem, balanced_weights, fit_ridge, no_fit
from jobs.modeling.labelled import LabelledCells
from jobs.modeling.settings import ClassWeights, TrainingSettings
from shared.bundles.card import Features
from shared.domain.verdict import MatrixState

CLIP_MAX = 10.0
_LEAST_SIGNAL = 0.05
Float32s = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Weights:
    """A trained linear model.

    Attributes:
        tensors: ``coef``, ``intercept``, ``mean`` and ``std`` as a bundle has them, float32.
    """

    features: Features
    tensors: dict[str, torch.Tensor]


def learn(
    cells: LabelledCells, settings: TrainingSettings, strengths: Sequence[float], on_step: Callable[[], None]
) -> Iterator[tuple[float, Weights]]:
    """Fit the cells with each penalty, the strongest first; every fit starts from the one before.

    Genes are chosen and standardised by these cells alone, so that cells left out of them stay unseen.

    Raises:
        TrainingDataError: No gene is left to learn from.
    """
    expression_ng = log_normalise(cells.value_ng, as_it_is=cells.state is MatrixState.LOG1P_CP10K)
    design = _design(cells, expression_ng, settings)
    problem = _problem(cells, expression_ng, design, settings)
    fit = no_fit(len(cells.labels), len(design.chosen_f))
    for strength in sorted(strengths, reverse=True):
        fit = fit_ridge(problem, fit, strength=strength, max_iterations=settings.max_iterations, on_step=on_step)
        yield strength, _weights(fit, design, cells.genes)


@dataclass(frozen=True, slots=True)
class _Design:
    """What the features are.

    Attributes:
        chosen_f: Position of each feature among the genes.
        prior_f: Relative standard deviation of the prior of its weights.
    """

    chosen_f: npt.NDArray[np.int64]
    mean_f: Float32s
    std_f: Float32s
    prior_f: Float32s


def _design(cells: LabelledCells, expression_ng: sp.csr_matrix, settings: TrainingSettings) -> _Design:
    statistics = gene_statistics(expression_ng, cells.class_n, len(cells.labels))
    allowed_g = distinct_genes(cells.genes)
    if settings.features_from is not None:
        allowed_g &= genes_also_in(cells.genes, settings.features_from)
    chosen_f = choose_genes(
        statistics, allowed_g, n_genes=settings.n_genes, min_cells=min(settings.min_cells_per_gene, cells.n_cells)
    )
    return _Design(
        chosen_f=chosen_f,
        mean_f=statistics.mean_g[chosen_f].astype(np.float32),
        std_f=statistics.std_g[chosen_f].astype(np.float32),
        prior_f=_prior(statistics, chosen_f, settings.prior_power),
    )


def _prior(statistics: GeneStatistics, chosen_f: npt.NDArray[np.int64], power: float) -> Float32s:
    """Genes that tell the labels apart may carry more weight; scaled to a mean square of 1.

    F - 1 estimates a gene's variance between labels relative to that within: without a difference F is 1 on average.
    """
    prior_f = np.maximum(statistics.f_g[chosen_f] - 1.0, _LEAST_SIGNAL) ** power
    return np.asarray(prior_f / np.sqrt(np.square(prior_f).mean()), dtype=np.float32)


def _problem(
    cells: LabelledCells, expression_ng: sp.csr_matrix, design: _Design, settings: TrainingSettings
) -> Problem:
    class_n = torch.from_numpy(cells.class_n)
    n_labels = len(cells.labels)
    balanced = settings.class_weights is ClassWeights.BALANCED
    parts = [sp.csr_matrix(expression_ng[:, design.chosen_f])]
    if settings.thinned_to is not None:
        thinned_ng = thin(cells.value_ng, settings.thinned_to, np.random.default_rng(settings.seed))
        parts.append(sp.csr_matrix(log_normalise(thinned_ng)[:, design.chosen_f]))
    return Problem(
        z_nf=_standardised(sp.csr_matrix(sp.vstack(parts)), design),
        class_n=class_n.repeat(len(parts)),
        weight_l=balanced_weights(class_n, n_labels) if balanced else torch.ones(n_labels),
    )


def _standardised(expression_nf: sp.csr_matrix, design: _Design) -> torch.Tensor:
    """Z-scores, cut off as in inference, times the prior: a plain ridge on these is the ridge with the prior."""
    z_nf = torch.from_numpy(expression_nf.toarray())
    z_nf -= torch.from_numpy(design.mean_f)
    z_nf /= torch.from_numpy(design.std_f)
    return z_nf.clamp_(max=CLIP_MAX).mul_(torch.from_numpy(design.prior_f))


def _weights(fit: Fit, design: _Design, genes: Features) -> Weights:
    tensors = {
        "coef": fit.coef_lf * torch.from_numpy(design.prior_f),
        "intercept": fit.intercept_l,
        "mean": torch.from_numpy(design.mean_f),
        "std": torch.from_numpy(design.std_f),
    }
    return Weights(take_features(genes, design.chosen_f), tensors)
