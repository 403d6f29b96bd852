"""Probabilities from decision scores."""

from __future__ import annotations

from typing import assert_never

import torch

from shared.bundles.card import Activation


def activate(decision_nl: torch.Tensor, activation: Activation) -> torch.Tensor:
    """Convert decision scores to probabilities, n x labels.

    Sigmoid gives each label its own probability, as in CellTypist. With softmax, each cell's add up to 1.
    """
    match activation:
        case Activation.SIGMOID:
            return torch.sigmoid(decision_nl)
        case Activation.SOFTMAX:
            return torch.softmax(decision_nl, dim=1)
        case _:
            assert_never(activation)
