"""The linear kind: a weight for each gene and label, as in logistic regression and CellTypist."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from jobs.engine.kinds.kind import ModelKind, ScoringModule
from jobs.engine.kinds.standardised import TENSORS, SparseProduct, Standardisation, differing, value_bytes
from jobs.engine.kinds.tensors import Tensor, TensorTable, checked
from shared.bundles.card import ModelCard

FLOAT32_LIMIT = 32.0
"""The largest magnitude of a score's terms (see ``arithmetic_of``) for which float32 is precise enough.

Measured on 2,700 PBMCs (2026-11): the error of a float32 score was 6e-6 at a magnitude of 19 (PopV's lung model) and
7e-3 at 7,800 (an SGD model with decisions down to -7,800), which is up to 15 units in the last place of the magnitude.
At 32, that is 3e-5 in the score, and less than 1e-5 in a probability, as the slope of the sigmoid is at most 1/4.
"""


@dataclass(frozen=True, slots=True)
class LinearWeights:
    """The parameters of a linear model, in float64 on the CPU.

    Attributes:
        coef_lf: Weights for standardised expression, labels x features.
        intercept_l: One intercept for each label.
    """

    coef_lf: torch.Tensor
    intercept_l: torch.Tensor
    standardisation: Standardisation

    def module(self, matched_f: torch.Tensor) -> ScoringModule:
        """See ``KindWeights``."""
        return LinearModel(self, matched_f)

    def importance_f(self) -> torch.Tensor:
        """See ``KindWeights``."""
        return differing(self.coef_lf)


class LinearModel(ScoringModule):
    """Decision scores ``y = b + W·z`` of standardised expression ``z``; see ``SparseProduct``."""

    def __init__(self, weights: LinearWeights, matched_f: torch.Tensor) -> None:
        super().__init__()
        self.target_sum = weights.standardisation.target_sum
        self.arithmetic = arithmetic_of(weights)
        self.width = len(weights.intercept_l)
        self.value_bytes = value_bytes(self.arithmetic, weights.standardisation)
        self._product = SparseProduct(
            weights.coef_lf, weights.intercept_l, weights.standardisation, matched_f, self.arithmetic
        )

    def forward(self, expression_z: torch.Tensor, feature_z: torch.Tensor, indptr: torch.Tensor) -> torch.Tensor:
        """See ``ScoringModule``."""
        scores_nl: torch.Tensor = self._product(expression_z, feature_z, indptr)
        return scores_nl


class Linear(ModelKind):
    """Logistic regression: imported from CellTypist, or trained here."""

    tensors: TensorTable = {  # noqa: RUF012  # a Mapping: nobody writes to it
        "coef": Tensor(("labels", "features"), "weights of standardised expression"),
        "intercept": Tensor(("labels",), "added to each label's score"),
        **TENSORS,
    }

    def weights(self, card: ModelCard, tensors: Mapping[str, torch.Tensor], *, where: str = "") -> LinearWeights:
        """See ``ModelKind``."""
        sizes = {"labels": len(card.labels), "features": len(card.features)}
        found = checked(self.tensors, sizes, tensors, where=where)
        return LinearWeights(found["coef"], found["intercept"], Standardisation.of(card, found, where=where))

    def flops_per_cell(self, card: ModelCard) -> float:
        """A multiplication and an addition per weight."""
        return 2.0 * len(card.labels) * len(card.features)


def arithmetic_of(weights: LinearWeights) -> torch.dtype:
    """float32 if its rounding error is below 1e-5 in every probability, else float64.

    Large terms that cancel in a score lose precision. Their magnitude is estimated as ``max over labels of
    Σ |W|·|mean| / std``, with ``x = mean``, the average training cell. It depends only on the model, not on the cells.
    """
    mean_f, std_f = weights.standardisation.mean_f, weights.standardisation.std_f
    magnitude_l = weights.coef_lf.abs() @ (mean_f / std_f).abs()
    informed = bool((mean_f != 0).any())
    return torch.float32 if informed and float(magnitude_l.max()) <= FLOAT32_LIMIT else torch.float64
