"""Checks that the models of a consensus are different bundles: a model that votes twice proves nothing."""

from __future__ import annotations

from collections.abc import Sequence

from shared.bundles.card import ModelCard
from shared.domain.errors import InvalidOptionError
from shared.domain.words import cut

TERMS_ADDED_TO = "terms_added_to"
"""Of ``Training.parameters``: the digest of the bundle that a bundle was before terms of its labels were added."""
_LETTERS = 80


def origin_of(card: ModelCard) -> str:
    """The digest of the bundle, or of the one that it was before terms were added: it gives the same labels."""
    before = card.training.parameters.get(TERMS_ADDED_TO)
    return before if isinstance(before, str) and before else card.digest


def check_distinct(cards: Sequence[ModelCard], names: Sequence[str]) -> None:
    """Check the models of a consensus, the main model first. With and without added terms, a model is the same.

    Args:
        names: As each was requested, for the message.

    Raises:
        InvalidOptionError: Two are the same.
    """
    origins = [origin_of(card) for card in cards]
    for place, origin in enumerate(origins):
        if origin in origins[:place]:
            first = names[origins.index(origin)]
            raise InvalidOptionError(
                f"{cut(names[place], _LETTERS)} is the same model as {cut(first, _LETTERS)}",
                expected="different models for a consensus",
                hint="Leave one of them out, or name another one.",
            )
