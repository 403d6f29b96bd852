"""Converts the values from the reader to log1p expression."""

from __future__ import annotations

from dataclasses import dataclass

import torch

_CP10K = 1e4


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """Converts values to the model's input: log1p of counts per ``target_sum``.

    - Values in proportion to counts are scaled to ``target_sum`` by each cell's total over all genes of the file, then
      log1p is taken. They are rounded to float32 at the same steps as in ``scanpy.pp.normalize_total`` and
      ``scanpy.pp.log1p``, so that the results differ from scanpy's at most in the last bit of a logarithm.
    - Values that are already log1p of counts per 10,000 are kept, or rescaled if ``target_sum`` is different.

    A float32 logarithm can be wrong in its last bit, and differently on each device. A model that needs float64
    amplifies this: with scores in the thousands, a probability changed by 1e-6 (an H200, 2026-11-28).

    Attributes:
        as_it_is: Whether the values are already log1p of counts per 10,000.
        exact: Compute the logarithm in float64 and round it once, so that all but one in 10⁹ values are the same
            float32 on every device.
    """

    target_sum: float
    as_it_is: bool = False
    exact: bool = False

    def expression(self, value_z: torch.Tensor, total_n: torch.Tensor | None, indptr: torch.Tensor) -> torch.Tensor:
        """Compute log1p expression, float32.

        Args:
            value_z: The stored values of n cells, in CSR order, float32.
            total_n: The total of each cell, float32, above 0 if it has a value; None if the values are normalised.
            indptr: Where each cell starts in the values, and the end; n + 1 values.
        """
        if not self.as_it_is:
            assert total_n is not None
            # Below, output_size is given, as torch would otherwise wait for the GPU to learn it.
            lengths_n = indptr.diff()
            # Divided by a tensor: a GPU multiplies with the reciprocal of a number, which is wrong in the last bit.
            scale_n = total_n / total_n.new_full((), self.target_sum)
            scale_z = scale_n.repeat_interleave(lengths_n, output_size=len(value_z))
            quotient_z = torch.div(value_z, scale_z, out=scale_z)
            return quotient_z.copy_(self._precise(quotient_z).log1p_())
        if self.target_sum != _CP10K:
            return self._precise(value_z).expm1().mul_(self.target_sum / _CP10K).log1p_().float()
        return value_z

    def _precise(self, value_z: torch.Tensor) -> torch.Tensor:
        """The values in the type of the logarithm: unchanged, or a float64 copy."""
        return value_z.double() if self.exact else value_z
