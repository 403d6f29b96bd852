"""The types of cells that several models can name, joined in one graph of what is a kind of what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from jobs.engine.telling_apart import Distinctions
from jobs.engine.terms import TermGraph, graph_of, is_above, longest, parents_first
from shared.bundles.aligning import Aligner, plain
from shared.bundles.card import UNASSIGNED, Label, ModelCard
from shared.bundles.terms import ROOT_ID

NO_TYPE = -1
"""In place of a type: a model says nothing, or most models do not agree."""
_NAME = "\0"
"""Before the name of a type that has no id: no label's name has a NUL."""


@dataclass(frozen=True, slots=True)
class CellTypes:
    """The types that several models can name, and what is a kind of what.

    Types are numbers, their places in the first four attributes.

    Attributes:
        names: The name of each: that of the first model's label that stands for it, or else the ontology's.
        ids: The Cell Ontology id of each; None if it has none.
        within: For each the types that it is a kind of, and itself; without the root, which says nothing.
        depth: The steps from the root along the longest way.
        type_of: For each model the type that each of its names stands for, of labels, groups and lineages; without
            names that say nothing.
        distinctions: Which types are known to be different.
    """

    names: tuple[str, ...]
    ids: tuple[str | None, ...]
    within: tuple[frozenset[int], ...]
    depth: tuple[int, ...]
    type_of: tuple[Mapping[str, int], ...]
    distinctions: Distinctions

    @classmethod
    def of(cls, cards: Sequence[ModelCard]) -> CellTypes:
        """Those of some models, the main model's first.

        Names with an id stand for its term. A label without one stands for the same type as the label of another model
        that has the same name or is an exact synonym, or as a group or a term of the same name; a group or lineage
        without one for the type of the same name; or else for a type of their own. A label is a kind of its groups and
        its lineage, too.
        """
        graphs = [graph_of(card.labels, card.tree, card.terms) for card in cards]
        label_keys = _label_keys([card.labels for card in cards], _named_types(cards))
        names = _names(cards, graphs, label_keys)
        wider_keys = _wider_keys(cards, names)
        kinds = _Kinds()
        for graph in graphs:
            kinds.add_terms(graph)
        for known in zip(cards, graphs, label_keys, wider_keys, strict=True):
            kinds.add_labels(*known)
        parents = kinds.parents
        order = parents_first(parents)
        place = {key: number for number, key in enumerate(order)}
        within: list[frozenset[int]] = []
        for key in order:
            above = [within[place[parent]] for parent in parents[key]]
            own = frozenset() if key == ROOT_ID else frozenset([place[key]])
            within.append(own.union(*above))
        depth = longest(order, parents)
        stated = [
            wider | {label.name: key for label, key in zip(card.labels, own, strict=True)}
            for card, own, wider in zip(cards, label_keys, wider_keys, strict=True)
        ]
        ids = tuple(None if key.startswith(_NAME) else key for key in order)
        type_of = tuple({name: place[key] for name, key in own.items() if _says(key)} for own in stated)
        return cls(
            names=tuple(names[key] for key in order),
            ids=ids,
            within=tuple(within),
            depth=tuple(depth[key] for key in order),
            type_of=type_of,
            distinctions=Distinctions.of(cards, within, ids, type_of),
        )


def _says(key: str) -> bool:
    return key not in {ROOT_ID, _NAME + UNASSIGNED}


def _named_types(cards: Sequence[ModelCard]) -> dict[str, str]:
    """The id of each group and term of any card, by its name as names are aligned."""
    found: dict[str, str] = {}
    for card in cards:
        for group in card.tree:
            if group.ontology_id:
                found.setdefault(plain(group.name), group.ontology_id)
        for term in card.terms:
            found.setdefault(plain(term.name), term.id)
    return found


def _label_keys(labels_m: Sequence[Sequence[Label]], named: Mapping[str, str]) -> list[list[str]]:
    """The id of each label's type, or else its name behind ``_NAME``, for each model.

    Args:
        named: The id of each type that is no label, by its name.
    """
    keys = [[label.ontology_id or _NAME + label.name for label in labels] for labels in labels_m]
    for model, labels in enumerate(labels_m):
        nameless = [place for place, label in enumerate(labels) if not label.ontology_id]
        names = [labels[place].name for place in nameless]
        meant = {other: _meant(names, theirs) for other, theirs in enumerate(labels_m) if names and other != model}
        for number, place in enumerate(nameless):
            there = {other: found[number] for other, found in meant.items()}
            same = {other: keys[other][label] for other, label in there.items() if label is not None}
            with_id = next((key for key in same.values() if not key.startswith(_NAME)), None)
            earlier = next((key for other, key in same.items() if other < model), None)
            keys[model][place] = with_id or named.get(plain(labels[place].name)) or earlier or keys[model][place]
    return keys


def _meant(names: Sequence[str], labels: Sequence[Label]) -> list[int | None]:
    """The place of the label that each name means; None if there is none."""
    place = {label.name: number for number, label in reversed(list(enumerate(labels)))}
    meanings = Aligner(labels, lineages=False).meanings(names)
    return [None if one.label is None else place[one.label] for one in meanings]


def _wider_keys(cards: Sequence[ModelCard], names: dict[str, str]) -> list[dict[str, str]]:
    """The key of each group and lineage by its name, for each model. New keys are added to the names."""
    by_name: dict[str, str] = {}
    for key, name in names.items():
        by_name.setdefault(plain(name), key)
    found: list[dict[str, str]] = []
    for card in cards:
        own: dict[str, str | None] = {label.lineage: None for label in card.labels if label.lineage}
        own |= {group.name: group.ontology_id for group in card.tree}
        keys = {}
        for name, identifier in own.items():
            key = identifier or by_name.setdefault(plain(name), _NAME + name)
            keys[name] = key
            names.setdefault(key, name)
        found.append(keys)
    return found


@dataclass(frozen=True, slots=True)
class _Kinds:
    """What is a kind of what, as far as nothing becomes a kind of itself."""

    parents: dict[str, list[str]] = field(default_factory=lambda: {ROOT_ID: []})

    def add(self, key: str, parent: str) -> None:
        """Note that one is a kind of another, unless the reverse is known."""
        self.parents.setdefault(parent, [ROOT_ID])
        known = self.parents.setdefault(key, [])
        if parent not in known and not is_above(key, parent, self.parents):
            known.append(parent)

    def add_terms(self, graph: TermGraph) -> None:
        """Note what the ontology says."""
        for term in graph.names:
            for parent in graph.parents[term]:
                self.add(term, parent)

    def add_labels(
        self, card: ModelCard, graph: TermGraph, label_keys: Sequence[str], wider_keys: Mapping[str, str]
    ) -> None:
        """Note what a model says of its labels, groups and lineages."""
        around = _around(card)
        for label, key, narrowest in zip(card.labels, label_keys, graph.term_l, strict=True):
            self.add(key, narrowest or ROOT_ID)
            for narrow, wide in pairwise([key, *(wider_keys[name] for name in around[label.name])]):
                self.add(narrow, wide)


def _around(card: ModelCard) -> dict[str, list[str]]:
    """The names of the groups around each label and of its lineage, each within the next."""
    lineages = {label.name: label.lineage for label in card.labels}
    found: dict[str, list[str]] = {name: [] for name in lineages}
    for group in card.tree:
        for name in group.labels:
            found[name].append(group.name)
    mixed = {group.name for group in card.tree if len({lineages[name] for name in group.labels}) > 1}
    for name, lineage in lineages.items():
        if lineage:
            inside = next((place for place, group in enumerate(found[name]) if group in mixed), len(found[name]))
            found[name].insert(inside, lineage)
    return found


def _names(cards: Sequence[ModelCard], graphs: Sequence[TermGraph], keys: Sequence[Sequence[str]]) -> dict[str, str]:
    names: dict[str, str] = {}
    for card, own in zip(cards, keys, strict=True):
        for label, key in zip(card.labels, own, strict=True):
            names.setdefault(key, label.name)
    for graph in graphs:
        names = {**graph.names, **names}
    return names
