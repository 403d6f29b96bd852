"""What most of several models say about a cell, through the Cell Ontology, as popV counts it.

Each model votes for the type of its label and for every wider type that this is a kind of. The consensus is the most
specific type that more than half of the models vote for. The idea is that of popV (Ergen et al., Consensus prediction
of cell type labels in single-cell data with popV, Nature Genetics 56, 2731 (2024), doi:10.1038/s41588-024-01993-3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from jobs.engine.terms import TermGraph, graph_of, is_above, longest, parents_first
from shared.bundles.aligning import Aligner
from shared.bundles.card import UNASSIGNED, Label, ModelCard
from shared.bundles.terms import ROOT_ID

Int64s = npt.NDArray[np.int64]

NO_TYPE = -1
"""In place of a type: the model says nothing, or most models do not agree."""
_NAME = "\0"
"""Before the name of a type that has no id: no label's name has a NUL."""
_MOST_KEPT = 100_000


class Relation(IntEnum):
    """How the labels that several models give one cell agree."""

    SAME = 0
    """All are of the same type."""
    WIDER = 1
    """They differ only in how specific they are: of any two, one is a kind of the other."""
    DIFFERENT = 2
    """Two of them exclude each other."""
    UNSAID = 3
    """Some model gives no label."""


@dataclass(frozen=True, slots=True)
class CellTypes:
    """The types that the labels of several models stand for, and what is a kind of what.

    Types are numbers, their places in the first four attributes.

    Attributes:
        names: The name of each: that of the first model's label that stands for it, or else the ontology's.
        ids: The Cell Ontology id of each; None if it has none.
        within: For each the types that it is a kind of, and itself; without the root, which says nothing.
        depth: The steps from the root along the longest way.
        type_l: For each model the type of each of its labels; NO_TYPE for one that says nothing.
    """

    names: tuple[str, ...]
    ids: tuple[str | None, ...]
    within: tuple[frozenset[int], ...]
    depth: tuple[int, ...]
    type_l: tuple[Int64s, ...]

    @classmethod
    def of(cls, cards: Sequence[ModelCard]) -> CellTypes:
        """Those of some models' labels, the main model's first.

        Labels with an id stand for its term. One without stands for the same type as the labels of other models of the
        same name or an exact synonym, or else for a type of its own.
        """
        graphs = [graph_of(card.labels, card.tree, card.terms) for card in cards]
        keys = _keys([card.labels for card in cards])
        parents = _joined_parents(graphs, keys)
        order = parents_first(parents)
        place = {key: number for number, key in enumerate(order)}
        within: list[frozenset[int]] = []
        for key in order:
            above = [within[place[parent]] for parent in parents[key]]
            own = frozenset() if key == ROOT_ID else frozenset([place[key]])
            within.append(own.union(*above))
        names, depth = _names(cards, graphs, keys), longest(order, parents)
        return cls(
            names=tuple(names[key] for key in order),
            ids=tuple(None if key.startswith(_NAME) else key for key in order),
            within=tuple(within),
            depth=tuple(depth[key] for key in order),
            type_l=tuple(np.array([place[key] if _says(key) else NO_TYPE for key in own], np.int64) for own in keys),
        )

    def vote(self, type_m: Sequence[int]) -> tuple[int, int]:
        """The most specific type that more than half of the models vote for, and by how many.

        Of equally specific ones it is that with most votes, then the first by name. NO_TYPE and 0 if there is none.

        Args:
            type_m: The type of each model's label.
        """
        votes: dict[int, int] = {}
        for one in type_m:
            for wider in self.within[one] if one != NO_TYPE else ():
                votes[wider] = votes.get(wider, 0) + 1
        most = [one for one, n in votes.items() if 2 * n > len(type_m)]
        if not most:
            return NO_TYPE, 0
        best = min(most, key=lambda one: (-self.depth[one], -votes[one], self.names[one], self.ids[one] or ""))
        return best, votes[best]

    def relation(self, type_m: Sequence[int]) -> Relation:
        """How the types of the models' labels agree."""
        if NO_TYPE in type_m:
            return Relation.UNSAID
        if len(set(type_m)) == 1:
            return Relation.SAME
        along = sorted(set(type_m), key=self.depth.__getitem__)
        chained = all(wider in self.within[one] for wider, one in pairwise(along))
        return Relation.WIDER if chained else Relation.DIFFERENT


@dataclass(frozen=True, slots=True)
class Agreed:
    """What the models say together about n cells.

    Attributes:
        type_n: The type that most vote for, or NO_TYPE.
        votes_n: The number of models that do.
        relation_n: ``Relation`` of their labels.
    """

    type_n: Int64s
    votes_n: Int64s
    relation_n: Int64s


@dataclass(frozen=True, slots=True)
class Counting:
    """Counts votes for many cells. What the same labels lead to is computed once.

    Attributes:
        known: What labels led to: type, votes and relation. It is emptied when it becomes large.
    """

    types: CellTypes
    known: dict[tuple[int, ...], tuple[int, int, int]] = field(default_factory=dict)

    def agreed(self, type_nm: Int64s) -> Agreed:
        """Count the votes of each cell.

        Args:
            type_nm: The type of each model's label, cells x models.
        """
        different, place_n = np.unique(type_nm, axis=0, return_inverse=True)
        found = np.array([self._of(tuple(row)) for row in different.tolist()], np.int64).reshape(-1, 3)
        type_n, votes_n, relation_n = found[place_n.reshape(-1)].T
        return Agreed(type_n, votes_n, relation_n)

    def _of(self, type_m: tuple[int, ...]) -> tuple[int, int, int]:
        found = self.known.get(type_m)
        if found is None:
            if len(self.known) >= _MOST_KEPT:
                self.known.clear()
            found = self.known[type_m] = (*self.types.vote(type_m), self.types.relation(type_m))
        return found


def _says(key: str) -> bool:
    return key not in {ROOT_ID, _NAME + UNASSIGNED}


def _keys(labels_m: Sequence[Sequence[Label]]) -> list[list[str]]:
    """The id of each label's type, or else its name behind ``_NAME``, for each model."""
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
            keys[model][place] = with_id or earlier or keys[model][place]
    return keys


def _meant(names: Sequence[str], labels: Sequence[Label]) -> list[int | None]:
    """The place of the label that each name means; None if there is none."""
    place = {label.name: number for number, label in reversed(list(enumerate(labels)))}
    meanings = Aligner(labels, lineages=False).meanings(names)
    return [None if one.label is None else place[one.label] for one in meanings]


def _joined_parents(graphs: Sequence[TermGraph], keys: Sequence[Sequence[str]]) -> dict[str, list[str]]:
    """The types that each is a kind of, by any model's account, as far as none becomes a kind of itself."""
    parents: dict[str, list[str]] = {ROOT_ID: []}

    def add(key: str, parent: str) -> None:
        known = parents.setdefault(key, [])
        if parent not in known and not is_above(key, parent, parents):
            known.append(parent)

    for graph in graphs:
        for term in graph.names:
            for parent in graph.parents[term]:
                add(term, parent)
    for graph, own in zip(graphs, keys, strict=True):
        for key, narrowest in zip(own, graph.term_l, strict=True):
            add(key, narrowest or ROOT_ID)
    return parents


def _names(cards: Sequence[ModelCard], graphs: Sequence[TermGraph], keys: Sequence[Sequence[str]]) -> dict[str, str]:
    names: dict[str, str] = {}
    for card, own in zip(cards, keys, strict=True):
        for label, key in zip(card.labels, own, strict=True):
            names.setdefault(key, label.name)
    for graph in graphs:
        names = {**graph.names, **names}
    return names
