"""From stored values to log1p expression, by what the matrix was found to hold."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from shared.domain.errors import NoMatrixError
from shared.domain.verdict import MatrixState

USABLE = frozenset(
    {MatrixState.COUNTS, MatrixState.LOG1P_CP10K, MatrixState.LOG_NORMALISED, MatrixState.NORMALISED},
)
"""States from which log1p expression can be had."""

_CP10K = 1e4


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How values of a state become what a model was trained on: log1p of counts per ``target_sum``.

    - counts: scaled to ``target_sum`` over all genes of the file, then log1p; rounded to float32 exactly where
      ``scanpy.pp.normalize_total`` and ``scanpy.pp.log1p`` round, so that both give the same numbers but for the last
      bit of a logarithm;
    - log1p of counts per 10,000: as they are, or rescaled where ``target_sum`` is another;
    - log-normalised with a target sum that is not known: as they are, for want of anything better;
    - normalised and not yet logarithmised: log1p.

    ``exact`` takes the logarithm in float64 and rounds it once, so that all but one in a thousand million values are
    the same float32 on every device. By itself a float32 logarithm errs in its last bit, and not in the same places on
    each device; a model that needs float64 magnifies that: with scores in the thousands, a probability by 1e-6 (an
    H200, 2026-11-28).

    Raises:
        NoMatrixError: The state is one from which expression cannot be had.
    """

    state: MatrixState
    target_sum: float
    exact: bool = False

    def __post_init__(self) -> None:
        if self.state not in USABLE:
            raise NoMatrixError(
                f"a matrix whose values are {self.state}",
                expected="counts or log-normalised values",
                hint="Name a matrix with counts, for example --set matrix=raw or --set matrix=layers/counts.",
            )

    def expression(self, value_z: torch.Tensor, total_n: torch.Tensor | None, indptr: torch.Tensor) -> torch.Tensor:
        """log1p expression, float32.

        Args:
            value_z: Stored values of n cells, one after the other, float32.
            total_n: For counts, the total count of each cell, float32, above 0 where it has a value; else None.
            indptr: Where each cell begins in the values, and the end; n + 1 places.
        """
        match self.state:
            case MatrixState.COUNTS:
                assert total_n is not None
                # Without its size, a GPU would be waited for to learn how long the repeated totals are.
                lengths_n = indptr.diff()
                # By a number, a GPU multiplies with its reciprocal, which errs in the last bit; by a tensor it divides.
                scale_n = total_n / total_n.new_full((), self.target_sum)
                scale_z = scale_n.repeat_interleave(lengths_n, output_size=len(value_z))
                quotient_z = torch.div(value_z, scale_z, out=scale_z)
                return quotient_z.copy_(self._precise(quotient_z).log1p_())
            case MatrixState.NORMALISED:
                return self._precise(value_z).log1p().float()
            case MatrixState.LOG1P_CP10K if self.target_sum != _CP10K:
                return self._precise(value_z).expm1().mul_(self.target_sum / _CP10K).log1p_().float()
            case _:
                return value_z

    def _precise(self, value_z: torch.Tensor) -> torch.Tensor:
        """The values in what the logarithm is taken in: themselves, or a copy."""
        return value_z.double() if self.exact else value_z
