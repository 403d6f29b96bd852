"""Prepares labelled cells for a fit: chooses genes, and standardises their expression."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import torch

from jobs.modeling.alignment import batch_differences, differences
from jobs.modeling.expression import log_normalise, thin
from jobs.modeling.features import choose_genes, distinct_genes, gene_statistics, genes_also_in, take_features
from jobs.modeling.labelled import LabelledCells
from jobs.modeling.settings import TrainingSettings
from shared.bundles.card import Features
from shared.domain.verdict import MatrixState

CLIP_MAX = 10.0
Float32s = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Design:
    """The design matrix that a model of any kind is fitted to, and the labels.

    Attributes:
        mean_f: Mean log1p expression of each feature.
        std_f: Its standard deviation; 1 for a constant gene.
        f_f: The F statistic of each feature over the labels.
        z_nf: Standardised expression, cells x features, float32. With thinning, each cell occurs twice.
        class_n: The label of each of these cells, int64.
        ignored_df: Directions of standardised expression that the model must ignore, directions x features.
    """

    features: Features
    mean_f: Float32s
    std_f: Float32s
    f_f: npt.NDArray[np.float64]
    z_nf: torch.Tensor
    class_n: torch.Tensor
    ignored_df: torch.Tensor

    @property
    def standardising(self) -> dict[str, torch.Tensor]:
        """The tensors of a bundle for standardisation."""
        return {"mean": torch.from_numpy(self.mean_f), "std": torch.from_numpy(self.std_f)}


def design_of(cells: LabelledCells, settings: TrainingSettings) -> Design:
    """Choose genes and standardise them, by these cells alone, so that held-out cells have no influence.

    Raises:
        TrainingDataError: No gene is left to learn from.
    """
    expression_ng = log_normalise(cells.value_ng, as_it_is=cells.state is MatrixState.LOG1P_CP10K)
    statistics = gene_statistics(expression_ng, cells.class_n, len(cells.labels))
    allowed_g = distinct_genes(cells.genes)
    if settings.features_from is not None:
        allowed_g &= genes_also_in(cells.genes, settings.features_from)
    chosen_f = choose_genes(
        statistics, allowed_g, n_genes=settings.n_genes, min_cells=min(settings.min_cells_per_gene, cells.n_cells)
    )
    mean_f, std_f = statistics.mean_g[chosen_f].astype(np.float32), statistics.std_g[chosen_f].astype(np.float32)
    parts = [sp.csr_matrix(expression_ng[:, chosen_f])]
    if settings.thinned_to is not None:
        thinned_ng = thin(cells.value_ng, settings.thinned_to, np.random.default_rng(settings.seed))
        parts.append(sp.csr_matrix(log_normalise(thinned_ng)[:, chosen_f]))
    features = take_features(cells.genes, chosen_f)
    return Design(
        features=features,
        mean_f=mean_f,
        std_f=std_f,
        f_f=statistics.f_g[chosen_f],
        z_nf=_standardised(sp.csr_matrix(sp.vstack(parts)), mean_f, std_f),
        class_n=torch.from_numpy(cells.class_n).repeat(len(parts)),
        ignored_df=_ignored(cells, settings.aligned_with, features, mean_f, std_f),
    )


def _ignored(
    cells: LabelledCells, other: LabelledCells | None, features: Features, mean_f: Float32s, std_f: Float32s
) -> torch.Tensor:
    found = [batch_differences(cells, features, mean_f, std_f, CLIP_MAX)]
    if other is not None:
        found.append(differences(cells, other, features, mean_f, std_f, CLIP_MAX))
    return torch.from_numpy(np.concatenate(found))


def _standardised(expression_nf: sp.csr_matrix, mean_f: Float32s, std_f: Float32s) -> torch.Tensor:
    """Z-scores, clipped as in inference."""
    z_nf = torch.from_numpy(expression_nf.toarray())
    z_nf -= torch.from_numpy(mean_f)
    z_nf /= torch.from_numpy(std_f)
    return z_nf.clamp_(max=CLIP_MAX)
