"""Scales a cell's expression by its total over the features of a model, for models that were trained so."""

from __future__ import annotations

import torch
from torch.nn.functional import embedding_bag

RESCALED_BYTES = 40
"""What ``FeatureTotals`` allocates for each expressed gene: three numbers in float64, one in float32, and its row."""


class FeatureTotals(torch.nn.Module):
    """``log1p(t·v_f / Σ_f v_f)`` of log1p expression ``log1p(v)``: the total is over the features alone.

    It depends only on the proportions of the values, so it is the same whatever the total of ``v`` is. In float64,
    rounded once; a cell's bytes do not depend on the other cells or on the number of threads.

    Args:
        target_sum: ``t``, the total of the features of each cell.
    """

    counts_f: torch.Tensor

    def __init__(self, n_features: int, target_sum: float) -> None:
        super().__init__()
        self._target_sum = target_sum
        counts_f = torch.ones((n_features + 1, 1), dtype=torch.float64)
        counts_f[n_features] = 0  # The position after the last feature stands for a gene that is no feature.
        self.register_buffer("counts_f", counts_f)

    def forward(self, expression_z: torch.Tensor, feature_z: torch.Tensor, indptr: torch.Tensor) -> torch.Tensor:
        """The scaled expression, float32; the arguments are those of ``ScoringModule``."""
        value_z = expression_z.double().expm1_()
        total_n = embedding_bag(
            feature_z, self.counts_f, indptr, mode="sum", per_sample_weights=value_z, include_last_offset=True
        )[:, 0]
        scale_n = torch.where(total_n > 0, self._target_sum / total_n, 0.0)
        scale_z = scale_n.repeat_interleave(indptr.diff(), output_size=len(value_z))
        return value_z.mul_(scale_z).log1p_().float()
