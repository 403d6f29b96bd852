"""The terms of the Cell Ontology whose names are nearest to a label that has no term, for a person to choose from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher

from jobs.modeling.ontology import Ontology
from shared.bundles.aligning import plain
from shared.bundles.synonyms import written_out

MOST = 3
_ENOUGH, _ENOUGH_OF_SHORT = 0.6, 0.8
"""Of likeness, 0 to 1; as in difflib, and for names of a few letters, of which many are alike."""
_SHORT = 5
_MOST_LABELS = 50
"""Each takes a tenth of a second."""


@dataclass(frozen=True, slots=True)
class Near:
    """A term with a name like a label's."""

    name: str
    id: str

    def __str__(self) -> str:
        """As messages name it."""
        return f"{self.name} ({self.id})"


@dataclass(frozen=True, slots=True)
class Nearest:
    """Finds terms by likeness. Nothing is placed by it.

    Attributes:
        spelled: Names and exact synonyms in plain spelling, with the ids of their terms.
    """

    ontology: Ontology
    spelled: tuple[tuple[str, str], ...]

    @classmethod
    def among(cls, ontology: Ontology) -> Nearest:
        """Among the terms of an ontology."""
        pairs = (*ontology.by_name.items(), *ontology.by_synonym.items())
        return cls(ontology, tuple((plain(name), term) for name, term in pairs))

    def of(self, label: str) -> tuple[Near, ...]:
        """At most three terms, the likeliest first; by letters, or by words whatever their order."""
        wanted = written_out(plain(label))
        words = _words(wanted)
        matcher = SequenceMatcher(None, "", wanted, autojunk=False)
        enough = _ENOUGH if len(wanted) > _SHORT else _ENOUGH_OF_SHORT
        best: dict[str, float] = {}
        for spelling, term in self.spelled:
            score = max(_by_words(words, spelling), _by_letters(matcher, spelling, enough))
            if score >= max(_ENOUGH, best.get(term, 0.0)):
                best[term] = score
        order = sorted(best, key=lambda term: (-best[term], len(self.ontology.names[term]), term))
        return tuple(Near(self.ontology.names[term], term) for term in order[:MOST])


def nearest_of(labels: Iterable[str], ontology: Ontology) -> Mapping[str, tuple[Near, ...]]:
    """The nearest terms of each label; of hundreds, for the first fifty."""
    wanted = list(dict.fromkeys(labels))
    if not wanted:
        return {}
    nearest = Nearest.among(ontology)
    found = {label: nearest.of(label) for label in wanted[:_MOST_LABELS]}
    return found | dict.fromkeys(wanted[_MOST_LABELS:], ())


def near_words(near: Iterable[Near | str]) -> str:
    """How a message goes on after it named a label that is no term."""
    found = ", ".join(map(str, near))
    return f"; nearest: {found}" if found else ""


def _by_words(words: frozenset[str], spelling: str) -> float:
    """The share of the words that both have (Dice)."""
    others = _words(spelling)
    return 2 * len(words & others) / (len(words) + len(others)) if words and others else 0.0


def _words(spelling: str) -> frozenset[str]:
    return frozenset(word for word in spelling.split() if word[0].isalnum() and word != "cell")


def _by_letters(matcher: SequenceMatcher[str], spelling: str, enough: float) -> float:
    matcher.set_seq1(spelling)
    if matcher.real_quick_ratio() < enough or matcher.quick_ratio() < enough:
        return 0.0
    ratio = matcher.ratio()
    return ratio if ratio >= enough else 0.0
