"""Products of a matrix with standardised expression, computed without a dense expression matrix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch.nn.functional import embedding_bag, pad

from jobs.engine.kinds.rescaled import RESCALED_BYTES, FeatureTotals
from jobs.engine.kinds.tensors import LARGEST, Tensor, TensorTable, invalid
from shared.bundles.card import Log1p, ModelCard, Normalise, NormaliseFeatures, Standardise

TENSORS: TensorTable = {
    "mean": Tensor(("features",), "mean log1p expression of each feature in the training cells"),
    "std": Tensor(("features",), "its standard deviation; above 0, and 1 for a constant gene"),
}
"""The tensors for standardisation, which a kind has in addition to its own."""


@dataclass(frozen=True, slots=True)
class Standardisation:
    """How counts become z-scores: ``z = min((x - mean) / std, clip)`` of log1p counts per ``target_sum``.

    Attributes:
        mean_f: Mean log1p expression of each feature in the training cells, float64.
        std_f: Its standard deviation; above 0.
        target_sum: Counts that a cell is scaled to before the logarithm.
        clip_max: Largest z-score; None does not clip.
        over_features: Whether the counts of the features are scaled to it, not those of all genes of the file.
    """

    mean_f: torch.Tensor
    std_f: torch.Tensor
    target_sum: float
    clip_max: float | None
    over_features: bool = False

    @classmethod
    def of(cls, card: ModelCard, checked: Mapping[str, torch.Tensor], *, where: str = "") -> Standardisation:
        """Take the parameters from the card's preprocessing and the tensors ``mean`` and ``std``.

        Raises:
            InvalidBundleError: The steps are not normalise, log1p and standardise, or a standard deviation is zero,
                negative or too small.
        """
        target_sum, clip_max = _steps(card, where)
        std_f = checked["std"]
        if bool((std_f <= 0).any()):
            raise invalid("a standard deviation of 0 or less in 'std'", "values above 0 (1 for a constant gene)", where)
        if bool((std_f < 1 / LARGEST).any()):
            raise invalid(
                f"a standard deviation of {float(std_f.min()):g} in 'std'", f"at least {1 / LARGEST:g}", where
            )
        over_features = isinstance(card.preprocessing[0], NormaliseFeatures)
        return cls(checked["mean"], std_f, target_sum, clip_max, over_features)

    @property
    def clip(self) -> float:
        """The largest z-score; infinite without clipping."""
        return float("inf") if self.clip_max is None else self.clip_max


def _steps(card: ModelCard, where: str) -> tuple[float, float | None]:
    match card.preprocessing:
        case (
            Normalise(target_sum=target_sum) | NormaliseFeatures(target_sum=target_sum),
            Log1p(),
            Standardise(clip_max=clip_max),
        ):
            return target_sum, clip_max
        case _:
            found = " → ".join(step.step for step in card.preprocessing) or "none"
            wanted = f"normalise → log1p → standardise for a {card.kind} model"
            raise invalid(f"preprocessing {found}", wanted, where)


class SparseProduct(torch.nn.Module):
    """``y = b + W·z`` with ``z = min((x - mean) / std, clip)``, over the features that the file has.

    Computed for sparse ``x``. With ``z0 = min(-mean / std, clip)``, the z-score of a gene that is not expressed:

        y = (b + W·z0) + Σ over expressed genes of (W / std)·min(x, (clip - z0)·std)

    This equals the dense formula for every ``x >= 0``. The first term is the same for all cells, and is computed once,
    in float64. A feature that the file lacks contributes 0, not ``W·z0``, as in CellTypist, which drops such genes
    before scaling (``celltypist/classifier.py``, ``Classifier.celltype``; Domínguez Conde et al., Science 2022,
    doi:10.1126/science.abl5197).

    The position after the last feature stands for a gene that is no feature: it contributes 0.

    One thread sums each row, in the stored order of its genes, so that a row's bytes do not depend on the number of
    threads or on the other rows.

    Args:
        weight_cf: ``W``, columns x features, float64.
        offset_c: ``b``, float64.
        dtype: The type to compute in, float32 or float64.
    """

    weight_fc: torch.Tensor
    base_c: torch.Tensor
    ceiling_f: torch.Tensor

    def __init__(
        self,
        weight_cf: torch.Tensor,
        offset_c: torch.Tensor,
        standardisation: Standardisation,
        matched_f: torch.Tensor,
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        mean_f, std_f, clip = standardisation.mean_f, standardisation.std_f, standardisation.clip
        assert matched_f.shape == mean_f.shape
        assert matched_f.dtype == torch.bool
        zero_f = (-mean_f / std_f).clamp(max=clip)
        weight_fc = (weight_cf / std_f).to(dtype).T
        self.register_buffer("weight_fc", pad(weight_fc, (0, 0, 0, 1)).contiguous())
        self.register_buffer("base_c", _base(weight_cf, offset_c, zero_f, matched_f))
        self.register_buffer("ceiling_f", pad((clip - zero_f) * std_f, (0, 1)).to(dtype))
        over_features = standardisation.over_features
        self._totals = FeatureTotals(len(mean_f), standardisation.target_sum) if over_features else None

    def forward(self, expression_z: torch.Tensor, feature_z: torch.Tensor, indptr: torch.Tensor) -> torch.Tensor:
        """The products of n cells, n x columns, float64; the arguments are those of ``ScoringModule``."""
        assert expression_z.shape == feature_z.shape
        assert feature_z.dtype == indptr.dtype == torch.int32
        if self._totals is not None:
            expression_z = self._totals(expression_z, feature_z, indptr)
        excess_z = torch.minimum(expression_z.to(self.weight_fc.dtype), self.ceiling_f.index_select(0, feature_z))
        # Sparse products compared (2026-11; 256 cells x 4,000 genes x 51 labels, 100 or 670 genes per cell, one core):
        # embedding_bag 0.10 or 0.63 ms in float32, 0.66 or 4.6 ms in float64; torch CSR 0.26 or 1.7 ms in float32,
        # 0.49 or 3.2 ms in float64, but it warns that it is beta and leaves the order of summation to MKL;
        # scipy 0.38 or 2.6 ms in float32; dense after a scatter 2.3 or 3.0 ms.
        expressed_nc = embedding_bag(
            feature_z, self.weight_fc, indptr, mode="sum", per_sample_weights=excess_z, include_last_offset=True
        )
        return expressed_nc.double() + self.base_c


def differing(weight_lf: torch.Tensor) -> torch.Tensor:
    """The importance of each feature by the weights of each label; see ``KindWeights.importance_f``."""
    return (weight_lf - weight_lf.mean(dim=0)).square().sum(dim=0)


def value_bytes(dtype: torch.dtype, standardisation: Standardisation) -> int:
    """Bytes that ``SparseProduct`` allocates for each expressed gene, if nothing is freed: 12 or 36, or more.

    With ``a`` bytes per number (4 or 8): the ceiling, the excess and the int32 row of ``embedding_bag``, ``2·a + 4``.
    In float64 another ``2·a`` for copies of the expression. Counts that are scaled again need more.
    """
    a = dtype.itemsize
    copied = 2 * a if dtype is torch.float64 else 0
    return 2 * a + 4 + copied + (RESCALED_BYTES if standardisation.over_features else 0)


def _base(
    weight_cf: torch.Tensor, offset_c: torch.Tensor, zero_f: torch.Tensor, matched_f: torch.Tensor
) -> torch.Tensor:
    # numpy sums pairwise on one thread; the order of a matrix product depends on the number of threads.
    sums = [(weight_f * zero_f)[matched_f].numpy().sum() for weight_f in weight_cf]
    return offset_c + torch.tensor(sums, dtype=torch.float64)
