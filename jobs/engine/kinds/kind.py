"""The interface of a model kind for the engine: its tensors, its cost, and a module that scores cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import torch

from jobs.engine.kinds.tensors import TensorTable
from shared.bundles.card import ModelCard


def nothing() -> None:
    """No sign of life."""


class ScoringModule(torch.nn.Module):
    """A bundle's mathematics, prepared for the genes of one file.

    ``forward(expression_z, feature_z, indptr)`` returns the decision scores of n cells, n x labels, float64, before
    temperature and activation. The arguments are CSR arrays of the expressed features: ``expression_z`` is the log1p
    expression (float32, at least 0), ``feature_z`` the feature's position (int32, at most once per cell), and
    ``indptr`` where each cell starts in the two, and the end (int32, n + 1 values). The number of features, as a
    position, stands for a gene that is no feature: it may occur any number of times, and must have no effect.

    The bytes of a cell's scores must not depend on the number of threads or on the other cells.

    Attributes:
        target_sum: Counts that a cell is scaled to before the logarithm. None: ``expression_z`` holds the counts.
        arithmetic: The type that the module computes in: float32 or float64.
        width: Columns per cell of all matrices that are kept on the device, including one for each label.
        value_bytes: Bytes on the device that ``forward`` allocates for each expressed gene, as if nothing were freed.
            The memory of a batch is estimated from it and from the width (``jobs.engine.batches``).
        alive: Called at least every second or so of ``forward``, as a sign of life, by a module that takes long.
    """

    target_sum: float | None
    arithmetic: torch.dtype
    width: int
    value_bytes: int
    alive: Callable[[], None]

    def __init__(self) -> None:
        super().__init__()
        self.alive = nothing

    def coordinates(self, expression_z: torch.Tensor, feature_z: torch.Tensor, indptr: torch.Tensor) -> torch.Tensor:
        """The coordinates of n cells in which a kind with reference cells searches, n x components, float64."""
        raise NotImplementedError


class KindWeights(Protocol):
    """The checked parameters of a bundle."""

    def module(self, matched_f: torch.Tensor) -> ScoringModule:
        """Build the module for a file. ``matched_f`` marks the features that the file has, bool."""
        ...

    def importance_f(self) -> torch.Tensor | None:
        """How much each feature tells the labels apart, 0 or more, float64; None if that is not known.

        Of a kind that computes weighted sums of standardised expression, it is the sum of the squared weights, those
        of labels less their mean: the variance that the feature alone, whose own is 1 in the training cells, gives to
        the scores' differences.
        """
        ...


class ModelKind(Protocol):
    """A kind of model; ``jobs.engine.kinds.table`` lists all kinds.

    Attributes:
        tensors: The tensors of its bundles, by name.
    """

    tensors: TensorTable

    def weights(self, card: ModelCard, tensors: Mapping[str, torch.Tensor], *, where: str = "") -> KindWeights:
        """Check a bundle's tensors and return them as parameters.

        Args:
            where: The location of the bundle, for error messages.

        Raises:
            InvalidBundleError: A tensor is missing, unexpected, of the wrong shape or type, or has unusable values; or
                this kind does not support the card's preprocessing.
        """
        ...

    def flops_per_cell(self, card: ModelCard) -> float:
        """Floating-point operations for a cell with every gene expressed: an upper bound for the planner."""
        ...
