"""Which models share training data, as far as their cards tell: their agreement is weaker evidence."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shared.bundles.card import ModelCard
from shared.domain.words import cut

_DOI = re.compile(r"\b10\.\d{4,9}/[^\s,;()\[\]<>\"]+")
_LETTERS = 200


@dataclass(frozen=True, slots=True)
class CommonSource:
    """A source that several models name.

    Attributes:
        models: As ``NAME@VERSION``.
        source: The name of a file, or ``doi:…``.
    """

    models: tuple[str, ...]
    source: str


def common_sources(cards: Sequence[ModelCard]) -> tuple[CommonSource, ...]:
    """Files and publications that at least two models were made from; one for each group of models, the widest only.

    Two models share a file if its SHA-256 is the same, and a publication if both cite its DOI.
    """
    named: dict[str, dict[str, str]] = {}
    for card in cards:
        for key, words in _sources(card):
            named.setdefault(key, {}).setdefault(card.reference, words)
    found: dict[tuple[str, ...], CommonSource] = {}
    for models in named.values():
        if len(models) > 1:
            together = tuple(models)
            found.setdefault(together, CommonSource(together, next(iter(models.values()))))
    return tuple(one for models, one in found.items() if not any(set(models) < set(wider) for wider in found))


def _sources(card: ModelCard) -> Iterator[tuple[str, str]]:
    """What identifies each source, and how it is called."""
    training = card.training
    for digest in sorted(training.digests):
        yield digest, cut(training.source or "one file", _LETTERS)
    for text in (card.citation, training.source):
        for doi in _DOI.findall(text):
            plain = doi.rstrip(".").lower()
            yield plain, f"doi:{cut(plain, _LETTERS)}"
