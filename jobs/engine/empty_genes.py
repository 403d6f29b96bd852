"""Finds genes that a file has by name only: no cell has a value of them, though a model expects some to have one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from jobs.engine.slopes import WEIGHTS, have_slopes
from shared.bundles.card import Kind, ModelCard, Normalise

LEAST_EXPECTED = 10.0
"""A gene is empty if at least so many sampled cells were expected to express it, and none does.

If genes were found independently, none would be found with a probability of exp(-10). Measured (2026-12-01) by the
importance of the genes that are found empty in a whole file, with ``pbmc`` and ``pbmc-sorted``: at most 7.1 % in the
ten populations of PBMC 3k and the eight sorted ones of Zheng et al., each taken alone; 35 % to 72 % where the 15 to 400
genes that tell PBMC 3k's labels apart best were set to zero.
"""
MOST_COUNTS = 2_500.0
"""More counts do not show more of the genes that only some cells express."""
_TARGET_SUM = 1e4
_CELLS_AT_ONCE = 8_192

Float64s = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Typical:
    """What the cells of each label express, as far as a model tells; axis ``f`` is its features.

    Attributes:
        mean_f: Mean log1p expression of the training cells, of counts per 10,000.
        importance_f: How much each feature tells the labels apart, 0 to 1, in all 1 (``KindWeights.importance_f``).
        speaks_lf: How much a feature speaks for a label, from 0 to 1 for the label that it speaks for most.
    """

    mean_f: Float64s
    importance_f: Float64s
    speaks_lf: Float64s

    @classmethod
    def of(cls, weight_lf: Float64s, mean_f: Float64s, importance_f: Float64s | None = None) -> Typical | None:
        """Those of a model whose scores follow from weights of standardised expression; None if all are alike.

        Args:
            weight_lf: A higher weight means that more expression speaks for the label.
            importance_f: If it is not given, it follows from the weights.
        """
        apart_lf = weight_lf - weight_lf.mean(axis=0)
        known_f = np.square(apart_lf).sum(axis=0) if importance_f is None else importance_f
        if not (np.isfinite(known_f).all() and known_f.sum() > 0):
            return None
        for_lf = np.maximum(apart_lf, 0)
        most_f = for_lf.max(axis=0)
        speaks_lf = for_lf / np.where(most_f > 0, most_f, 1)
        return cls(np.maximum(mean_f, 0), known_f / known_f.sum(), speaks_lf)

    def importance_of(self, chosen_f: Bools) -> float:
        """The importance of some features together."""
        return float(self.importance_f[chosen_f].sum())

    def empty_f(self, depth_l: Float64s, seen_f: Bools) -> Bools:
        """Whether each feature is expressed by no cell, though ``LEAST_EXPECTED`` of them should.

        A gene with a mean ``m`` of log1p counts per 10,000 is found in a cell of ``t`` counts with a probability of
        about ``m · t / 10,000``, while that is small. It is counted on in the cells of a label as far as it speaks for
        the label, so that the genes of types that a file does not have are no surprise.

        Args:
            depth_l: By label, the sum of ``depth_of`` its cells.
            seen_f: Whether any cell has a value of a feature.
        """
        # Without BLAS, whose order of summation depends on the machine.
        expected_f: Float64s = self.mean_f * np.einsum("l,lf->f", depth_l, self.speaks_lf)
        return ~seen_f & (expected_f >= LEAST_EXPECTED)


def depth_of(total_n: Float64s, n_genes_n: npt.NDArray[np.integer]) -> Float64s:
    """How deeply cells were sequenced, as a share of 10,000 counts, at most a quarter.

    Args:
        total_n: Their counts; NaN where they are not known, as of values that are none.
        n_genes_n: The number of genes that they express, which is at most that of their counts.
    """
    counts_n = np.where(np.isfinite(total_n), total_n, n_genes_n)
    return np.minimum(counts_n, MOST_COUNTS) / _TARGET_SUM


def is_told(card: ModelCard) -> bool:
    """Whether a model tells what the cells of its labels express: by weights, or by reference cells.

    Means must be of counts per 10,000 of all genes, as they are compared with cells' depths.
    """
    per_10_000 = isinstance(card.preprocessing[0], Normalise) and card.preprocessing[0].target_sum == _TARGET_SUM
    return per_10_000 and (card.kind is Kind.NEIGHBOURS or have_slopes(card))


def typical_of(card: ModelCard, tensors: Mapping[str, npt.NDArray[np.floating]]) -> Typical | None:
    """What a model tells (``is_told``), from tensors that fit its card; None if it tells nothing."""
    if not is_told(card):
        return None
    if card.kind is Kind.NEIGHBOURS:
        return _by_reference(card, tensors)
    weights_of = WEIGHTS[card.kind]
    assert weights_of is not None
    exact = {name: np.asarray(tensor, np.float64) for name, tensor in tensors.items()}
    return Typical.of(weights_of(card, exact), exact["mean"])


def _by_reference(card: ModelCard, tensors: Mapping[str, npt.NDArray[np.floating]]) -> Typical | None:
    """By the mean coordinates of each label's reference cells, projected back to expression."""
    projection_cf = np.asarray(tensors["projection"], np.float64)
    label_r = tensors["reference_label"].astype(np.int64)
    sum_lc = np.zeros((len(card.labels), len(projection_cf)))
    for start in range(0, len(label_r), _CELLS_AT_ONCE):
        rows = slice(start, start + _CELLS_AT_ONCE)
        np.add.at(sum_lc, label_r[rows], tensors["reference"][rows].astype(np.float64))
    n_l = np.bincount(label_r, minlength=len(sum_lc))
    mean_lc = sum_lc / np.maximum(n_l, 1)[:, None]
    # Without BLAS, whose order of summation depends on the machine.
    weight_lf: Float64s = np.einsum("lc,cf->lf", mean_lc, projection_cf)
    return Typical.of(weight_lf, np.asarray(tensors["mean"], np.float64), np.square(projection_cf).sum(axis=0))
