"""The table of model kinds that the engine can compute. A new kind adds a file to this package and a line here."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from jobs.engine.familiarity import TENSORS as WATCHED_TENSORS
from jobs.engine.familiarity import Watched, watched_of
from jobs.engine.kinds.centroid import Centroid
from jobs.engine.kinds.encoded import Encoded
from jobs.engine.kinds.kind import KindWeights, ModelKind
from jobs.engine.kinds.linear import Linear
from jobs.engine.kinds.neighbours import Neighbours
from jobs.engine.kinds.neural import Neural
from shared.bundles.card import Kind, ModelCard

KINDS: Mapping[Kind, ModelKind] = {
    Kind.LINEAR: Linear(),
    Kind.CENTROID: Centroid(),
    Kind.NEIGHBOURS: Neighbours(),
    Kind.NEURAL: Neural(),
    Kind.ENCODED: Encoded(),
}


def kind_of(card: ModelCard) -> ModelKind:
    """The mathematics of a card's kind."""
    return KINDS[card.kind]


def check_tensors(card: ModelCard, tensors: Mapping[str, torch.Tensor], *, where: str = "") -> None:
    """Check that tensors fit a card.

    Raises:
        InvalidBundleError: They do not; see ``ModelKind.weights``.
    """
    weights_of(card, tensors, where=where)


def weights_of(
    card: ModelCard, tensors: Mapping[str, torch.Tensor], *, where: str = ""
) -> tuple[KindWeights, Watched | None]:
    """The parameters of a bundle: those of its kind, and its watched genes, if it has any.

    Raises:
        InvalidBundleError: The tensors do not fit the card.
    """
    watched = watched_of(card, tensors, where=where)
    beside = set() if watched is None else set(WATCHED_TENSORS)
    own = {name: tensor for name, tensor in tensors.items() if name not in beside}
    return kind_of(card).weights(card, own, where=where), watched
