"""Which types of cells are known to be different: two types that no card relates are not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.bundles.card import ModelCard

Within = Sequence[frozenset[int]]
"""For each type those that it is a kind of, and itself."""


@dataclass(frozen=True, slots=True)
class Distinctions:
    """What some models' cards tell apart. Types are numbers, as in ``CellTypes``.

    Attributes:
        kinds: For each type those that are kinds of it, and itself.
        classes_m: For each card the types of its groups and lineages, with the labels that each stands for.
        with_terms: The types of which a card carries all terms that they are kinds of.
    """

    within: Within
    kinds: Within
    classes_m: tuple[Mapping[int, frozenset[str]], ...]
    with_terms: frozenset[int]

    @classmethod
    def of(
        cls,
        cards: Sequence[ModelCard],
        within: Within,
        ids: Sequence[str | None],
        type_of: Sequence[Mapping[str, int]],
    ) -> Distinctions:
        """Those of some cards, of which the types are already known.

        Args:
            ids: The Cell Ontology id of each type, or None.
            type_of: As in ``CellTypes``.
        """
        carried = {term.id for card in cards for term in card.terms}
        kinds: list[set[int]] = [set() for _ in within]
        for one, wider in enumerate(within):
            for type_ in wider:
                kinds[type_].add(one)
        return cls(
            within=within,
            kinds=tuple(map(frozenset, kinds)),
            classes_m=tuple(_classes(card, types) for card, types in zip(cards, type_of, strict=True)),
            with_terms=frozenset(number for number, one in enumerate(ids) if one in carried),
        )

    def differ(self, one: int, other: int) -> bool:
        """Whether two types are known to be different, in any order.

        They are if one card has a class around each of them, with no label in both; or if cards carry the terms above
        both, and neither is above the other. A class is a group or a lineage: one label of a model may be a kind of
        another. Not if a known type is a kind of both classes or terms: a cell of this type is both.
        """
        by_term = self.with_terms.issuperset((one, other)) and self._lie_apart(one, other)
        return by_term or any(self._told_apart(classes, one, other) for classes in self.classes_m)

    def _told_apart(self, classes: Mapping[int, frozenset[str]], one: int, other: int) -> bool:
        """Whether a card has the types, or wider ones, as classes without a label in common."""
        ours, theirs = (self.within[type_] & classes.keys() for type_ in (one, other))
        pairs = ((first, second) for first in ours for second in theirs)
        return any(
            classes[first].isdisjoint(classes[second]) and self._lie_apart(first, second) for first, second in pairs
        )

    def _lie_apart(self, one: int, other: int) -> bool:
        return self.kinds[one].isdisjoint(self.kinds[other])


def _classes(card: ModelCard, types: Mapping[str, int]) -> dict[int, frozenset[str]]:
    """The types of a card's groups and lineages, and which labels each stands for."""
    members: list[tuple[str, tuple[str, ...]]] = [
        (label.lineage, (label.name,)) for label in card.labels if label.lineage
    ]
    members += [(group.name, group.labels) for group in card.tree]
    wider = {types[name] for name, _ in members if name in types}
    members += [(label.name, (label.name,)) for label in card.labels if types.get(label.name) in wider]
    found: dict[int, frozenset[str]] = {}
    for name, labels in members:
        if name in types:
            found[types[name]] = found.get(types[name], frozenset()) | frozenset(labels)
    return found
