"""The linear model: log1p expression of the matched genes in, decision scores out, never made dense."""

from __future__ import annotations

from typing import assert_never

import torch
from torch.nn.functional import embedding_bag

from jobs.engine.weights import LinearWeights
from shared.bundles.card import Activation

FLOAT32_LIMIT = 32.0
"""Largest expected magnitude of a score's terms (see ``arithmetic_of``) for which float32 is exact enough.

Measured on 2,700 PBMCs (2026-11): float32 erred in the score by 6e-6 at a magnitude of 19 (PopV's lung model) and by
7e-3 at 7,800 (an SGD model with decisions down to -7,800), which is up to 15 units in the last place of the magnitude.
At 32 that is 3e-5 in the score, and, the slope of the sigmoid being at most 1/4, less than 1e-5 in a probability.
"""


class LinearModel(torch.nn.Module):
    """``y = b + W·z`` with ``z = min((x - mean) / std, clip)``, over the features that the file has.

    Written for sparse ``x``: with ``z0 = min(-mean / std, clip)``, the value of a gene that is not expressed,

        y = (b + W·z0) + Σ over expressed genes of (W / std)·min(x, (clip - z0)·std)

    which equals the dense formula for every ``x >= 0``. What is the same for all cells is computed once, in float64.
    A feature that the file lacks contributes nothing, not ``W·z0``: CellTypist drops such genes before it scales
    (``celltypist/classifier.py``, ``Classifier.celltype``; Domínguez Conde et al., Science 2022,
    doi:10.1126/science.abl5197), and so do we.

    Each row is summed by one thread in the order in which its genes are stored, so that a row's bytes depend neither
    on the number of threads nor on the rows beside it.
    """

    coef_fl: torch.Tensor
    base_l: torch.Tensor
    ceiling_f: torch.Tensor

    def __init__(self, weights: LinearWeights, matched_f: torch.Tensor) -> None:
        super().__init__()
        assert matched_f.shape == weights.mean_f.shape
        assert matched_f.dtype == torch.bool
        clip = float("inf") if weights.clip_max is None else weights.clip_max
        zero_f = (-weights.mean_f / weights.std_f).clamp(max=clip)
        dtype = arithmetic_of(weights)
        self.register_buffer("coef_fl", (weights.coef_lf / weights.std_f).to(dtype).T.contiguous())
        self.register_buffer("base_l", _base(weights, zero_f, matched_f))
        self.register_buffer("ceiling_f", ((clip - zero_f) * weights.std_f).to(dtype))

    def forward(self, expression_z: torch.Tensor, feature_z: torch.Tensor, indptr: torch.Tensor) -> torch.Tensor:
        """Decision scores of n cells.

        Args:
            expression_z: log1p expression of each expressed matched gene, cell after cell; float32, at least 0.
            feature_z: Its feature's position; int32, each at most once in a cell.
            indptr: Where each cell begins in the two, and the end; int32, n + 1 values.

        Returns:
            n x labels, float64, before temperature and activation.
        """
        assert expression_z.shape == feature_z.shape
        assert feature_z.dtype == indptr.dtype == torch.int32
        excess_z = torch.minimum(expression_z.to(self.coef_fl.dtype), self.ceiling_f.index_select(0, feature_z))
        # Of the sparse products tried (2026-11, 256 x 4,000 x 51 labels, 100 and 670 genes a cell, one core):
        # embedding_bag 0.10 and 0.63 ms in float32, 0.66 and 4.6 in float64; torch CSR 0.26 and 1.7 in float32,
        # 0.49 and 3.2 in float64, but warns that it is beta and leaves the order of summation to MKL;
        # scipy 0.38 and 2.6 in float32; dense after a scatter 2.3 and 3.0.
        expressed_nl = embedding_bag(
            feature_z, self.coef_fl, indptr, mode="sum", per_sample_weights=excess_z, include_last_offset=True
        )
        return expressed_nl.double() + self.base_l


def arithmetic_of(weights: LinearWeights) -> torch.dtype:
    """float32 where its rounding stays below 1e-5 in every probability, else float64.

    The expected magnitude of the terms that cancel in a score is ``max over labels of Σ |W|·|mean| / std``: a cell as
    the training cells were on average has ``x = mean``. It depends on the model alone, never on the cells.
    """
    magnitude_l = weights.coef_lf.abs() @ (weights.mean_f / weights.std_f).abs()
    informed = bool((weights.mean_f != 0).any())
    return torch.float32 if informed and float(magnitude_l.max()) <= FLOAT32_LIMIT else torch.float64


def activate(decision_nl: torch.Tensor, activation: Activation) -> torch.Tensor:
    """Probabilities from decision scores: sigmoid judges each label alone (CellTypist), softmax shares out one."""
    match activation:
        case Activation.SIGMOID:
            return torch.sigmoid(decision_nl)
        case Activation.SOFTMAX:
            return torch.softmax(decision_nl, dim=1)
        case _:
            assert_never(activation)


def _base(weights: LinearWeights, zero_f: torch.Tensor, matched_f: torch.Tensor) -> torch.Tensor:
    # numpy sums on one thread, pairwise: a matrix product would leave the order to the number of threads.
    sums = [(coef_f * zero_f)[matched_f].numpy().sum() for coef_f in weights.coef_lf]
    return weights.intercept_l + torch.tensor(sums, dtype=torch.float64)
