"""Chooses the genes of a model by how well they separate the labels (F statistic)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from shared.bundles.card import Features
from shared.domain.errors import TrainingDataError

Float64s = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class GeneStatistics:
    """Statistics of each gene over the training cells.

    Attributes:
        mean_g: Mean log1p expression.
        std_g: Its standard deviation, divided by n; 1 for a constant gene.
        f_g: F statistic of a one-way ANOVA over the labels: variance between labels over variance within.
        n_cells_g: Number of cells that express the gene.
    """

    mean_g: Float64s
    std_g: Float64s
    f_g: Float64s
    n_cells_g: Int64s


def gene_statistics(expression_ng: sp.csr_matrix, class_n: Int64s, n_classes: int) -> GeneStatistics:
    """Compute the statistics of each gene over labelled cells, without a dense matrix.

    With cells i of label k(i), F = (Σ_k n_k (m_k - m)² / (K - 1)) / (Σ_i (x_i - m_k(i))² / (n - K)).
    A gene that is constant within every label gets F = 0.
    """
    n_cells = expression_ng.shape[0]
    wide = expression_ng.astype(np.float64)
    member_kn = sp.csr_matrix((np.ones(n_cells), (class_n, np.arange(n_cells))), shape=(n_classes, n_cells))
    size_k = np.bincount(class_n, minlength=n_classes).astype(np.float64)
    sum_kg = (member_kn @ wide).toarray()
    square_g = np.asarray(wide.power(2).sum(axis=0)).ravel()
    mean_g = sum_kg.sum(axis=0) / n_cells
    explained_g = (sum_kg**2 / size_k[:, None]).sum(axis=0)
    within_g = np.maximum(square_g - explained_g, 0.0) / max(n_cells - n_classes, 1)
    between_g = np.maximum(explained_g - n_cells * mean_g**2, 0.0) / (n_classes - 1)
    std_g = np.sqrt(np.maximum(square_g / n_cells - mean_g**2, 0.0))
    # A smaller variance is only the rounding error of a sum of squares, so its ratio has no meaning.
    negligible_g = within_g <= 1e-12 * np.maximum(square_g / n_cells, 1e-300)
    return GeneStatistics(
        mean_g=mean_g,
        std_g=np.where(std_g > 1e-6, std_g, 1.0),
        f_g=np.where(negligible_g, 0.0, between_g / np.where(negligible_g, 1.0, within_g)),
        n_cells_g=np.bincount(wide.indices[wide.data != 0], minlength=wide.shape[1]).astype(np.int64),
    )


def choose_genes(
    statistics: GeneStatistics, allowed_g: npt.NDArray[np.bool_], *, n_genes: int, min_cells: int
) -> Int64s:
    """The most informative genes, in the order of the file.

    Args:
        allowed_g: Genes to choose from; see ``distinct_genes`` and ``genes_also_in``.
        n_genes: The largest number of genes.
        min_cells: The least number of cells that express a gene.

    Raises:
        TrainingDataError: No gene is left.
    """
    eligible_g = allowed_g & (statistics.n_cells_g >= min_cells) & (statistics.f_g > 0)
    if not eligible_g.any():
        raise TrainingDataError(
            "no gene to learn from",
            expected=f"genes that are expressed in at least {min_cells} labelled cells and differ between labels",
            hint="Check the labels and the genes named with --features-from.",
        )
    ranked = np.argsort(np.where(eligible_g, -statistics.f_g, np.inf), kind="stable")
    return np.sort(ranked[: min(n_genes, int(eligible_g.sum()))])


def distinct_genes(genes: Features) -> npt.NDArray[np.bool_]:
    """Genes that share no identifier with an earlier gene, so that each feature is found again in a file; bool."""
    seen: set[str] = set()
    distinct = np.zeros(len(genes), dtype=bool)
    for position, names in enumerate(_identifiers(genes)):
        distinct[position] = bool(names) and seen.isdisjoint(names)
        seen.update(names)
    return distinct


def genes_also_in(genes: Features, others: Features) -> npt.NDArray[np.bool_]:
    """Genes that another table has too, by symbol or Ensembl id; bool."""
    known = set().union(*_identifiers(others))
    return np.array([not known.isdisjoint(names) for names in _identifiers(genes)], dtype=bool)


def take_features(genes: Features, positions: Int64s) -> Features:
    """The rows of a feature table at ``positions``."""
    chosen = positions.tolist()
    return Features(
        symbol=tuple(genes.symbol[position] for position in chosen) if genes.symbol else (),
        ensembl=tuple(genes.ensembl[position] for position in chosen) if genes.ensembl else (),
    )


def _identifiers(genes: Features) -> list[set[str]]:
    columns = [column for column in (genes.symbol, genes.ensembl) if column]
    return [{name for name in names if name} for names in zip(*columns, strict=True)]
