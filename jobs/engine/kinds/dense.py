"""Dense layers of a neural network, whose outputs for a cell depend on that cell alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import embedding_bag, layer_norm, leaky_relu, pad

UNIT_BYTES = 64
"""Least bytes that are reckoned with for a column of a cell; see ``jobs.engine.batches.device_bytes``."""
VALUE_BYTES = 36
"""For each expressed gene: its logarithm in float64, float32 and float64 again, and the row of ``embedding_bag``."""
_INPUT_BYTES, _OUTPUT_BYTES = 16, 24
"""What a dense layer allocates for each number in, its row and its column among them, and for each number out."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A dense layer: ``W·x + b``, in float64 on the CPU.

    Attributes:
        weight_oi: ``W``, outputs x inputs.
        bias_o: ``b``.
        hidden: Whether a ReLU follows.
        slope: What values below 0 are multiplied with instead of becoming 0: that of a PReLU.
        normalised: Whether each cell's outputs are shifted and scaled to mean 0 and variance 1 before it.
    """

    weight_oi: torch.Tensor
    bias_o: torch.Tensor
    hidden: bool = False
    normalised: bool = False
    slope: float = 0.0


class Network(torch.nn.Module):
    """Layers in order, of which the first takes the features.

    In float64, as rounding errors grow from layer to layer. Each cell's sums are taken by ``embedding_bag``, in the
    order of the inputs: a matrix product's order of summation depends on the number of cells and threads.

    Attributes:
        cell_bytes: An upper bound on the bytes that are allocated for a cell.
    """

    cell_bytes: int

    def __init__(self, layers: Sequence[Layer]) -> None:
        super().__init__()
        first, *others = layers
        sizes = [layer.weight_oi.shape for layer in others]
        self.cell_bytes = sum(_INPUT_BYTES * n_in + _OUTPUT_BYTES * n_out for n_out, n_in in sizes)
        self.cell_bytes += _OUTPUT_BYTES * len(first.bias_o)
        self._first = DenseLayer(first)
        self._others = torch.nn.ModuleList(map(DenseLayer, others))

    def forward(self, value_z: torch.Tensor, feature_z: torch.Tensor, indptr: torch.Tensor) -> torch.Tensor:
        """The outputs of the last layer for n cells, float64; the values of the features are in CSR form, float64."""
        output_nc: torch.Tensor = self._first(value_z, feature_z, indptr)
        for layer in self._others:
            n_cells, n_inputs = output_nc.shape
            place = torch.arange(n_inputs, dtype=torch.int32, device=output_nc.device).repeat(n_cells)
            starts = torch.arange(n_cells + 1, dtype=torch.int32, device=output_nc.device) * n_inputs
            output_nc = layer(output_nc.flatten(), place, starts)
        return output_nc


class DenseLayer(torch.nn.Module):
    """A layer of inputs in CSR form. The position after the last input stands for one that has no effect."""

    weight_io: torch.Tensor
    bias_o: torch.Tensor

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self._hidden, self._normalised, self._slope = layer.hidden, layer.normalised, layer.slope
        self.register_buffer("weight_io", pad(layer.weight_oi.T, (0, 0, 0, 1)).contiguous())
        self.register_buffer("bias_o", layer.bias_o)

    def forward(self, value_z: torch.Tensor, input_z: torch.Tensor, indptr: torch.Tensor) -> torch.Tensor:
        """The outputs of n cells, n x outputs, float64."""
        output_no = embedding_bag(
            input_z, self.weight_io, indptr, mode="sum", per_sample_weights=value_z, include_last_offset=True
        ).add_(self.bias_o)
        if self._normalised:
            output_no = layer_norm(output_no, output_no.shape[1:])
        if not self._hidden:
            return output_no
        return leaky_relu(output_no, self._slope) if self._slope else output_no.relu_()
