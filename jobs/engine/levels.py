"""The levels of labels, such as type and lineage, and the most specific one that is reliable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from jobs.engine.tree import NOTHING, Tree
from shared.bundles.card import Reliability

Float32s = npt.NDArray[np.float32]
Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]


LEAST_LINEAGE = 0.5
"""A lineage below one half is not even likelier than all others together, whatever was learned on held-out cells."""


@dataclass(frozen=True, slots=True)
class Lineages:
    """The lineages of n cells.

    Attributes:
        code_n: Positions among the lineages.
        score_n: The sum of the probabilities of the lineage's labels.
    """

    code_n: Int64s
    score_n: Float32s


def lineages_of(probability_nl: Float32s, lineage_l: Int64s, n_lineages: int) -> Lineages:
    """The most probable lineage of each cell; ties go to the first.

    Args:
        lineage_l: The lineage of each label.
    """
    sum_ng = np.zeros((len(probability_nl), n_lineages))
    for label, lineage in enumerate(lineage_l.tolist()):
        sum_ng[:, lineage] += probability_nl[:, label]
    code_n = sum_ng.argmax(axis=1).astype(np.int64)
    score_n = np.minimum(sum_ng[np.arange(len(sum_ng)), code_n], 1.0).astype(np.float32)
    return Lineages(code_n, score_n)


class Level(IntEnum):
    """How specific a reliable label is."""

    LABEL = 0
    LINEAGE = 1
    NONE = 2
    GROUP = 3
    """A group of the labels' tree that is no lineage: narrower or wider than one."""


class LeastScores(NamedTuple):
    """The least scores of reliable labels: one for all cells, or one for each. Infinity if no score is enough."""

    label: Float32s
    lineage: Float32s
    tree: Float32s

    @classmethod
    def of(cls, reliability: Sequence[Reliability]) -> LeastScores:
        """Those of several thresholds, in their order."""

        def scores(name: str) -> Float32s:
            found = [getattr(one, name) for one in reliability]
            return np.array([np.inf if score is None else score for score in found], np.float32)

        lineage = np.maximum(scores("lineage_score"), np.float32(LEAST_LINEAGE))
        return cls(scores("label_score"), lineage, scores("tree_score"))

    def at(self, place_n: Int32s) -> LeastScores:
        """One for each cell, of which ``place_n`` are the positions here."""
        return LeastScores(self.label[place_n], self.lineage[place_n], self.tree[place_n])


def reliable_level(score_n: Float32s, lineages: Lineages | None, least: LeastScores) -> npt.NDArray[np.uint8]:
    """The most specific level of each cell whose score reaches the threshold, as a value of ``Level``."""
    level_n = np.full(len(score_n), Level.NONE, np.uint8)
    if lineages is not None:
        level_n[lineages.score_n >= least.lineage] = Level.LINEAGE
    level_n[score_n >= least.label] = Level.LABEL
    return level_n


def level_of_place(place_n: Int64s, tree: Tree) -> npt.NDArray[np.uint8]:
    """The level of each place in a tree, as a value of ``Level``."""
    n_labels = tree.member_gl.shape[1]
    of_group_g = np.where(tree.lineage_g, Level.LINEAGE, Level.GROUP)
    level_p = np.concatenate([np.full(n_labels, Level.LABEL), of_group_g, [Level.NONE]])
    assert NOTHING == -1
    return level_p[place_n].astype(np.uint8)
