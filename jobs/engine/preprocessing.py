"""From the values that a reader gives to log1p expression."""

from __future__ import annotations

from dataclasses import dataclass

import torch

_CP10K = 1e4


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How values become what a model was trained on: log1p of counts per ``target_sum``.

    - values in proportion to counts: scaled to ``target_sum`` by each cell's total over all genes of the file, then
      log1p; rounded to float32 exactly where ``scanpy.pp.normalize_total`` and ``scanpy.pp.log1p`` round, so that both
      give the same numbers but for the last bit of a logarithm;
    - log1p of counts per 10,000: as they are, or rescaled where ``target_sum`` is another.

    ``exact`` takes the logarithm in float64 and rounds it once, so that all but one in a thousand million values are
    the same float32 on every device. By itself a float32 logarithm errs in its last bit, and not in the same places on
    each device; a model that needs float64 magnifies that: with scores in the thousands, a probability by 1e-6 (an
    H200, 2026-11-28).

    Attributes:
        as_it_is: Whether the values are log1p of counts per 10,000 already.
    """

    target_sum: float
    as_it_is: bool = False
    exact: bool = False

    def expression(self, value_z: torch.Tensor, total_n: torch.Tensor | None, indptr: torch.Tensor) -> torch.Tensor:
        """log1p expression, float32.

        Args:
            value_z: Stored values of n cells, one after the other, float32.
            total_n: The total of each cell, float32, above 0 where it has a value; None for values as they are.
            indptr: Where each cell begins in the values, and the end; n + 1 places.
        """
        if not self.as_it_is:
            assert total_n is not None
            # Without its size, a GPU would be waited for to learn how long the repeated totals are.
            lengths_n = indptr.diff()
            # By a number, a GPU multiplies with its reciprocal, which errs in the last bit; by a tensor it divides.
            scale_n = total_n / total_n.new_full((), self.target_sum)
            scale_z = scale_n.repeat_interleave(lengths_n, output_size=len(value_z))
            quotient_z = torch.div(value_z, scale_z, out=scale_z)
            return quotient_z.copy_(self._precise(quotient_z).log1p_())
        if self.target_sum != _CP10K:
            return self._precise(value_z).expm1().mul_(self.target_sum / _CP10K).log1p_().float()
        return value_z

    def _precise(self, value_z: torch.Tensor) -> torch.Tensor:
        """The values in what the logarithm is taken in: themselves, or a copy."""
        return value_z.double() if self.exact else value_z
