"""The narrowest label or group of a tree that is reliable. A group is several labels: for readers, a wider type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from shared.bundles.card import Label
from shared.bundles.groups import Group

Float32s = npt.NDArray[np.float32]
Floats = npt.NDArray[np.floating]
Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
LeastScore: TypeAlias = float | Float32s | None

_UNITS = np.float64(2**40)
"""Of a probability of 1. A float32 from 2^-17 on is a whole number of them."""
NOTHING = -1
"""The place of a cell for which not even the widest group is reliable."""


@dataclass(frozen=True, slots=True)
class Tree:
    """Groups of labels, the narrowest first; any two lie within one another or apart.

    A place in the tree is the position of a label, or the number of labels plus the position of a group.

    Attributes:
        member_gl: Whether a label is in a group, groups x labels.
        lineage_g: Whether a group is a lineage.
    """

    member_gl: Bools
    lineage_g: Bools


def tree_of(groups: Sequence[Group], labels: Sequence[Label]) -> Tree:
    """The tree of a card's groups and labels."""
    names = [label.name for label in labels]
    member_gl = np.zeros((len(groups), len(names)), np.bool_)
    for place, group in enumerate(groups):
        member_gl[place, [names.index(name) for name in group.labels]] = True
    lineages = {label.lineage for label in labels}
    return Tree(member_gl, np.array([group.name in lineages for group in groups], np.bool_))


def narrowest(probability_nl: Floats, best_n: Int64s, score_n: Floats, tree: Tree, least: LeastScore) -> Int64s:
    """The narrowest place in the tree of each cell whose score is at least ``least``; ``NOTHING`` if there is none.

    Only groups that are more probable than all other labels together count. Of groups apart at most one is, so these
    groups lie within one another, and a higher ``least`` gives the same place or one around it. A label counts if it is
    in all of these groups, so the answer never contradicts a group or lineage that is more probable than not.

    The answer does not depend on the order of the labels, nor on that of groups with equally many.

    Args:
        best_n: The best label of each cell.
        score_n: Its probability; below 0 for a cell that may get no label.
        least: One for all cells, or one for each. None, or infinity, gives no cell a place.
    """
    return placing(probability_nl, best_n, score_n, tree).at(least)


@dataclass(frozen=True, slots=True)
class Placing:
    """What the places of n cells rest on, for any least score. Axis ``g`` is the groups, the narrowest first.

    Attributes:
        label_score_n: The share of the best label in the sum of all probabilities.
        inside_n: Whether the best label is in all groups that are likely.
        score_ng: The score of each group: the share of its labels in the sum of all probabilities, at most 1. As
            probabilities that were rounded to float32 add up to 1 only nearly, they are divided by their sum. A group
            has at least the score of a group within it, whatever the order of the labels.
        likely_ng: Whether a group is more probable than all other labels together.
    """

    best_n: Int64s
    n_labels: int
    label_score_n: Float32s
    inside_n: Bools
    score_ng: Float32s
    likely_ng: Bools

    def at(self, least: LeastScore) -> Int64s:
        """The narrowest place of each cell; see ``narrowest``."""
        least_n = np.broadcast_to(np.asarray(np.inf if least is None else least, np.float32), self.best_n.shape)
        place_n = _first(self.likely_ng & (self.score_ng >= least_n[:, None]))
        place_n = np.where(place_n == NOTHING, NOTHING, place_n + self.n_labels)
        return np.where(self.inside_n & (self.label_score_n >= least_n), self.best_n, place_n).astype(np.int64)

    def score_of(self, place_n: Int64s) -> Float32s:
        """The score of each cell's place; 1 for ``NOTHING``."""
        none = np.ones((len(place_n), 1), np.float32)
        group_n = np.where(place_n >= self.n_labels, place_n - self.n_labels, self.score_ng.shape[1])
        found = np.concatenate([self.score_ng, none], axis=1)[np.arange(len(place_n)), group_n]
        is_label_n = (place_n >= 0) & (place_n < self.n_labels)
        return np.where(is_label_n, self.label_score_n, found).astype(np.float32)


def placing(probability_nl: Floats, best_n: Int64s, score_n: Floats, tree: Tree) -> Placing:
    """Compare cells with all groups; see ``narrowest``."""
    unit_ng, unit_n = _units(probability_nl, tree)
    likely_ng = 2 * unit_ng > unit_n[:, None]
    return Placing(
        best_n=best_n,
        n_labels=probability_nl.shape[1],
        label_score_n=(np.rint(score_n * _UNITS) / unit_n).astype(np.float32),
        inside_n=np.asarray((~likely_ng | tree.member_gl[:, best_n].T).all(axis=1)),
        score_ng=(unit_ng / unit_n[:, None]).astype(np.float32),
        likely_ng=likely_ng,
    )


def is_within(place_n: Int64s, label_n: Int64s, tree: Tree) -> Bools:
    """Whether each cell's label is the one at its place or in the group there; False for ``NOTHING``."""
    n_labels = tree.member_gl.shape[1]
    around_pl = np.concatenate([np.eye(n_labels, dtype=np.bool_), tree.member_gl, np.zeros((1, n_labels), np.bool_)])
    return np.asarray(around_pl[place_n, label_n])


def _units(probability_nl: Floats, tree: Tree) -> tuple[Int64s, Int64s]:
    """The probabilities of each group's labels together, cells x groups, and those of all labels, as whole numbers.

    Sums of whole numbers are exact, so they do not depend on the order of the labels.
    """
    unit_ng = np.zeros((len(probability_nl), len(tree.member_gl)), np.int64)
    unit_n = np.zeros(len(probability_nl), np.int64)
    for label in range(probability_nl.shape[1]):
        own_n = np.rint(probability_nl[:, label] * _UNITS).astype(np.int64)
        unit_ng[:, tree.member_gl[:, label]] += own_n[:, None]
        unit_n += own_n
    return unit_ng, np.maximum(unit_n, 1)


def _first(there_ng: Bools) -> Int64s:
    if not there_ng.shape[1]:
        return np.full(len(there_ng), NOTHING, np.int64)
    return np.where(there_ng.any(axis=1), there_ng.argmax(axis=1), NOTHING)
