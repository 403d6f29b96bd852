"""Checks that the models of a consensus are different bundles: a model that votes twice proves nothing."""

from __future__ import annotations

from collections.abc import Sequence

from shared.domain.errors import InvalidOptionError
from shared.domain.words import cut

_LETTERS = 80


def check_distinct(digests: Sequence[str], names: Sequence[str]) -> None:
    """Check the digests of a consensus's models, the main model's first.

    Args:
        names: As each was requested, for the message.

    Raises:
        InvalidOptionError: Two are the same.
    """
    for place, digest in enumerate(digests):
        if digest in digests[:place]:
            first = names[digests.index(digest)]
            raise InvalidOptionError(
                f"option consensus: {cut(names[place], _LETTERS)} is the same model as {cut(first, _LETTERS)}",
                expected="different models",
                hint="Leave it out, or name another one.",
            )
