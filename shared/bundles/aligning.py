"""Aligns an author's names of cell types with a model's labels, by id, name or exact synonym. Nothing is guessed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from shared.bundles.card import Label
from shared.bundles.groups import ONTOLOGY_ID, Group
from shared.bundles.synonyms import may_be_negative, without_defining_marker, without_receptor, written_out

_PART = re.compile(r"[\s_]+|[^\W_]+|[^\w\s]")
"""What lies between words, a word, or a sign."""
_WORD = re.compile(r"[^\W_]")
_NEGATIVE, _EITHER = "-", "?"
_MARKER = re.compile(r"[^\W\d_]\w*\d")
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
        lineages: Whether names are aligned with lineages, too; without, no meaning has one.
        groups: Those of the labels' tree. A name of one that lies within a lineage means at least that lineage.
    """

    labels: Sequence[Label]
    id_of: Callable[[str], str | None] = lambda _name: None
    lineages: bool = True
    groups: Sequence[Group] = ()

    def meanings(self, names: Sequence[str], ids: Sequence[str | None] | None = None) -> tuple[Meaning, ...]:
        """What each name means: by its id, or else by name, or else by an exact synonym, of the ontology or of our own.

        Case, plurals, blanks, ``_`` and ``-`` between words and a last word "cell" do not matter; signs of markers
        do, as ``plain`` says. Our own synonyms (``synonyms``) are a few abbreviations, and markers that go without
        saying: ``CD19+ B`` is the label ``B cell``. The reverse is not certain: a model with the label ``CD19+ B`` may
        have one for other B cells. The name that a label had in its training data counts only as it was spelled there:
        ``memory-t`` may be a source's word for memory CD4 T cells, but ``Memory T`` is wider for most.
        A name that is no label can be a lineage.

        Args:
            ids: The Cell Ontology id of each name, if known. A name can be an id itself.
        """
        known = ids or [None] * len(names)
        by_id = _unique((label.ontology_id, label) for label in self.labels)
        by_name = _unique((plain(label.name), label) for label in self.labels)
        by_submitted = _unique((label.submitted, label) for label in self.labels)
        by_synonym = _unique((label.ontology_id or self.id_of(label.name), label) for label in self.labels)
        by_own = _unique((written_out(plain(label.name)), label) for label in self.labels)
        lineages = self._lineages()

        def meaning(name: str, identifier: str | None) -> Meaning:
            given = next((text for text in (name, identifier) if text and ONTOLOGY_ID.fullmatch(text)), None)
            found = [
                (by_id.get(given or ""), How.ID),
                (by_name.get(plain(name)), How.NAME),
                (by_submitted.get(name), How.NAME),
                (by_synonym.get(given or self.id_of(name) or ""), How.SYNONYM),
                *((by_own.get(synonym), How.SYNONYM) for synonym in _synonyms(name)),
            ]
            for label, how in found:
                if label is not None:
                    return Meaning(label.name, label.lineage if self.lineages else None, how)
            spellings = [(given or "", How.ID), (plain(name), How.NAME)]
            for spelled, how in [*spellings, *((synonym, How.SYNONYM) for synonym in _synonyms(name))]:
                if spelled in lineages:
                    return Meaning(None, lineages[spelled], how)
            return NO_MEANING

        return _without_codes(names, [meaning(*pair) for pair in zip(names, known, strict=True)])

    def _lineages(self) -> dict[str, str]:
        """The lineage that a name or an id means: that of a lineage, or that of a group within one."""
        if not self.lineages:
            return {}
        lineage_of = {label.name: label.lineage for label in self.labels}
        found: dict[str, str] = {}
        for group in self.groups:
            (lineage, *others) = {lineage_of[name] for name in group.labels}
            if lineage and not others:
                spelled = written_out(plain(group.name))
                found |= dict.fromkeys([group.ontology_id or spelled, spelled, without_receptor(spelled)], lineage)
        return found | {written_out(plain(lineage)): lineage for lineage in lineage_of.values() if lineage}


def _without_codes(names: Sequence[str], found: Sequence[Meaning]) -> tuple[Meaning, ...]:
    """Take no number for a name, and no single letter unless a longer name beside it means something.

    Clusters, donors and groups are called 0 and 1, or A, B and T.
    """
    named = any(one is not NO_MEANING and len(name) > 1 for name, one in zip(names, found, strict=True))

    def is_code(name: str) -> bool:
        return name.lstrip("-").isdigit() or not named  # Then only single letters have a meaning.

    pairs = zip(names, found, strict=True)
    return tuple(NO_MEANING if one.how is not How.ID and is_code(name) else one for name, one in pairs)


def counterparts(names: Sequence[str], meanings: Sequence[Meaning]) -> dict[str, str]:
    """The model's label, or else its lineage, that each name means; without names that mean nothing."""
    meant = zip(names, meanings, strict=True)
    return {name: found for name, one in meant if (found := one.label or one.lineage)}


def plain(name: str) -> str:
    """A name without case, plurals and what lies between words: ``CD14+ Monocytes`` and ``cd14-monocyte`` agree.

    "Cell" as the last of several words is left out: ``B cells`` and ``B`` agree. A marker is a word of letters and
    digits, such as ``CD14`` or ``CD56bright``. The signs:

    - ``+`` after a marker means "positive", as the marker by itself does. Other ``+``, and ``/``, join two types.
    - ``-`` at the end of a word means "negative", and so does ``-`` between two markers (``CD14-CD16+``) or before a
      marker with a sign (``Lin-CD34+``).
    - Where ``-`` may be either, the name agrees only with its like: between two markers of a name in lower case that
      has no other sign (``cd4-cd8-t``), and after a marker of a name with signs (``CD4+CD8-T``).
    - Other ``-`` are hyphens. Any other sign stays as it is.
    """
    folded = name.casefold()
    parts = ["", *_PART.findall(folded), "", ""]
    signed = "+" in parts or any(part == "-" and not _is_word(after) for part, after in pairwise(parts))
    joined = any(sign == "-" and _are_markers(parts[place - 1], parts[place + 1]) for place, sign in enumerate(parts))
    between = _EITHER if name == folded and not signed else _NEGATIVE
    behind = _EITHER if signed or joined else ""
    found: list[str] = []
    for place, part in enumerate(parts[1:-2], 1):
        if _is_word(part):
            found.append(_singular(part))
            continue
        if not part.strip("_").strip():
            continue
        meant = _meant(*parts[place - 1 : place + 3], between=between, behind=behind)
        if meant in {_NEGATIVE, _EITHER} and _is_word(parts[place - 1]):
            found[-1] += meant
        elif meant:
            found.append(meant)
    return " ".join(found[:-1] if len(found) > 1 and found[-1] == "cell" else found)


def _synonyms(name: str) -> tuple[str, ...]:
    """Other plain names of the same meaning; none for a name with a marker that its cells may lack."""
    written = written_out(plain(name))
    return () if may_be_negative(name) else (written, without_defining_marker(written))


def _meant(before: str, sign: str, after: str, then: str, *, between: str, behind: str) -> str:
    """What a sign means between two parts of a name; nothing if it only divides words.

    Args:
        then: The part after these.
        between: What ``-`` between two markers means in this name.
        behind: What it means after a marker and before another word.
    """
    if sign != "-":
        return "" if sign == "+" and _MARKER.match(before) else sign
    if not _is_word(before) or not _is_word(after):
        return _NEGATIVE
    if _are_markers(before, after):
        return between
    if _MARKER.match(after):
        return _NEGATIVE if then in {"+", "-"} and between == _NEGATIVE else ""
    return behind if _MARKER.match(before) else ""


def _are_markers(one: str, other: str) -> bool:
    return bool(_MARKER.match(one) and _MARKER.match(other))


def _is_word(part: str) -> bool:
    return bool(_WORD.match(part))


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(_NOT_PLURAL) else word


def _unique(pairs: Iterable[tuple[str | None, Label]]) -> dict[str, Label]:
    """Keys of labels, without keys that labels of different names share."""
    found: dict[str, dict[str, Label]] = {}
    for key, label in pairs:
        if key:
            found.setdefault(key, {}).setdefault(label.name, label)
    return {key: next(iter(labels.values())) for key, labels in found.items() if len(labels) == 1}
