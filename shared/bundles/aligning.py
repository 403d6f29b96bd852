"""Aligns an author's names of cell types with a model's labels, by id, name or exact synonym. Nothing is guessed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from shared.bundles.card import Label

ONTOLOGY_ID = re.compile(r"CL:\d{7}")
_BETWEEN_WORDS = re.compile(r"[\s_+/]+")
_INSIDE_WORD = re.compile(r"(?<=\w)-(?=\w)")
_NOT_PLURAL = ("ss", "us", "is")


class How(StrEnum):
    """By what a name was aligned."""

    ID = "id"
    NAME = "name"
    SYNONYM = "synonym"


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a name means to a model.

    Attributes:
        label: The model's label; None if it has none of that meaning.
        lineage: The model's lineage; None likewise.
    """

    label: str | None = None
    lineage: str | None = None
    how: How | None = None


NO_MEANING = Meaning()


@dataclass(frozen=True, slots=True)
class Aligner:
    """The labels of a model, by id and by name. Names or ids that stand for several labels stand for none.

    Attributes:
        id_of: The Cell Ontology id of a name or an exact synonym, if an ontology is at hand.
    """

    labels: Sequence[Label]
    id_of: Callable[[str], str | None] = lambda _name: None

    def meanings(self, names: Sequence[str], ids: Sequence[str | None] | None = None) -> tuple[Meaning, ...]:
        """What each name means: by its id, or else by name, or else by an exact synonym of the ontology.

        Case, plurals, the signs between words and a last word "cell" do not matter. A ``-`` at the end of a word does:
        it means "negative".
        A name that is no label can be a lineage.

        Args:
            ids: The Cell Ontology id of each name, if known. A name can be an id itself.
        """
        known = ids or [None] * len(names)
        by_id = _unique((label.ontology_id, label) for label in self.labels)
        by_name = _unique((plain(label.name), label) for label in self.labels)
        by_synonym = _unique((label.ontology_id or self.id_of(label.name), label) for label in self.labels)
        lineages = {plain(label.lineage): label.lineage for label in self.labels if label.lineage}

        def meaning(name: str, identifier: str | None) -> Meaning:
            given = next((text for text in (name, identifier) if text and ONTOLOGY_ID.fullmatch(text)), None)
            found = [
                (by_id.get(given or ""), How.ID),
                (by_name.get(plain(name)), How.NAME),
                (by_synonym.get(given or self.id_of(name) or ""), How.SYNONYM),
            ]
            for label, how in found:
                if label is not None:
                    return Meaning(label.name, label.lineage, how)
            lineage = lineages.get(plain(name))
            return Meaning(None, lineage, How.NAME) if lineage else NO_MEANING

        return tuple(meaning(name, identifier) for name, identifier in zip(names, known, strict=True))


def plain(name: str) -> str:
    """A name without case, plurals and the signs between words: ``CD14+ Monocytes`` and ``cd14-monocyte`` agree.

    ``+`` counts as a sign between words, since a marker means "positive" without it, too. "Cell" as the last of several
    words is left out: ``B cells`` and ``B`` agree.
    """
    words = _BETWEEN_WORDS.sub(" ", name.casefold()).split()
    found = [_singular(part) for word in words for part in _INSIDE_WORD.sub(" ", word).split()]
    return " ".join(found[:-1] if len(found) > 1 and found[-1] == "cell" else found)


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(_NOT_PLURAL) else word


def _unique(pairs: Iterable[tuple[str | None, Label]]) -> dict[str, Label]:
    """Keys of labels, without keys that labels of different names share."""
    found: dict[str, dict[str, Label]] = {}
    for key, label in pairs:
        if key:
            found.setdefault(key, {}).setdefault(label.name, label)
    return {key: next(iter(labels.values())) for key, labels in found.items() if len(labels) == 1}
