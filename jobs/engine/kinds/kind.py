"""What a model kind is to the engine: the tensors it needs, what it costs, and a module that scores cells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch

from jobs.engine.kinds.tensors import TensorTable
from shared.bundles.card import ModelCard


class ScoringModule(torch.nn.Module):
    """A bundle's mathematics, made ready for the genes of one file.

    ``forward(expression_z, feature_z, indptr)`` gives the decision scores of n cells, n x labels, float64, before
    temperature and activation. ``expression_z`` is the log1p expression of each expressed matched gene, cell after
    cell (float32, at least 0), ``feature_z`` its feature's position (int32, each at most once in a cell), ``indptr``
    where each cell begins in the two, and the end (int32, n + 1 values).

    A row's bytes may depend neither on the number of threads nor on the rows beside it.

    Attributes:
        target_sum: Counts that a cell is scaled to before the logarithm.
        arithmetic: What the module multiplies and sums in: float32 or float64.
        width: Columns that a cell takes on the device, of every matrix that is kept for it; the labels are among
            them. A batch's memory is reckoned from it (``jobs.engine.batches``).
    """

    target_sum: float
    arithmetic: torch.dtype
    width: int


class KindWeights(Protocol):
    """A bundle's parameters, checked."""

    def module(self, matched_f: torch.Tensor) -> ScoringModule:
        """The module for a file that has the features in ``matched_f``, bool."""
        ...


class ModelKind(Protocol):
    """One kind of model; ``jobs.engine.kinds.table`` lists them all.

    Attributes:
        tensors: The tensors of a bundle, by name.
    """

    tensors: TensorTable

    def weights(self, card: ModelCard, tensors: Mapping[str, torch.Tensor], *, where: str = "") -> KindWeights:
        """The parameters, every tensor of them checked.

        Args:
            where: Where the bundle lies, for the message of an error.

        Raises:
            InvalidBundleError: A tensor is missing, superfluous, of another shape or type, or holds values that no
                arithmetic can use; or the card asks for preprocessing that this kind does not have.
        """
        ...

    def flops_per_cell(self, card: ModelCard) -> float:
        """Floating-point operations for a cell as if every gene were expressed; an upper bound for the planner."""
        ...
