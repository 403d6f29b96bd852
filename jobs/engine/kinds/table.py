"""The table of model kinds that the engine can compute. A new kind adds a file to this package and a line here."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from jobs.engine.kinds.centroid import Centroid
from jobs.engine.kinds.kind import ModelKind
from jobs.engine.kinds.linear import Linear
from shared.bundles.card import Kind, ModelCard

KINDS: Mapping[Kind, ModelKind] = {Kind.LINEAR: Linear(), Kind.CENTROID: Centroid()}


def kind_of(card: ModelCard) -> ModelKind:
    """The mathematics of a card's kind."""
    return KINDS[card.kind]


def check_tensors(card: ModelCard, tensors: Mapping[str, torch.Tensor], *, where: str = "") -> None:
    """Check that tensors fit a card.

    Raises:
        InvalidBundleError: They do not; see ``ModelKind.weights``.
    """
    kind_of(card).weights(card, tensors, where=where)
