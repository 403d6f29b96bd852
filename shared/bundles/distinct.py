"""Checks that the models of a consensus are different bundles: a model that votes twice proves nothing."""

from __future__ import annotations

from collections.abc import Sequence

from shared.bundles.card import ModelCard
from shared.bundles.kinds import NeuralCard
from shared.domain.errors import InvalidOptionError
from shared.domain.words import cut

TERMS_ADDED_TO = "terms_added_to"
"""Of ``Training.parameters``: the digest of the bundle that a bundle was before terms of its labels were added."""
_RENAMED_FROM = "renamed_from"
"""Likewise: the reference of the bundle that a bundle was before its labels were renamed."""
_LETTERS = 80


def origin_of(card: ModelCard) -> str:
    """The digest of the bundle, or of the one that it was before terms were added: it gives the same labels."""
    before = card.training.parameters.get(TERMS_ADDED_TO)
    return before if isinstance(before, str) and before else card.digest


def _are_same(one: ModelCard, other: ModelCard) -> bool:
    """Whether what decides the scores is the same: with terms or readable names of labels, a model is what it was."""
    if origin_of(one) == origin_of(other):
        return True
    if _classes(one) != _classes(other):
        return False
    if one.is_imported and other.is_imported:
        sha256 = one.training.source_sha256
        return sha256 is not None and sha256 == other.training.source_sha256
    before, other_before = (card.training.parameters.get(_RENAMED_FROM) for card in (one, other))
    return bool(before or other_before) and (before or one.reference) == (other_before or other.reference)


def _classes(card: ModelCard) -> tuple[object, ...]:
    """The kind of a model, its labels as they were submitted, and the batch that cells are treated as."""
    batch = card.batch if isinstance(card, NeuralCard) else None
    return card.kind, batch, tuple(label.submitted or label.name for label in card.labels)


def check_distinct(cards: Sequence[ModelCard], names: Sequence[str]) -> None:
    """Check the models of a consensus, the main model first. With and without terms, a model is the same.

    Args:
        names: As each was requested, for the message.

    Raises:
        InvalidOptionError: Two are the same.
    """
    for place, card in enumerate(cards):
        same = next((other for other in range(place) if _are_same(cards[other], card)), None)
        if same is not None:
            first = names[same]
            raise InvalidOptionError(
                f"{cut(names[place], _LETTERS)} is the same model as {cut(first, _LETTERS)}",
                expected="different models for a consensus",
                hint="Leave one of them out, or name another one.",
            )
