"""The levels of labels, such as type and lineage, and the most specific one that is reliable."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from jobs.engine.tree import NOTHING, Tree
from shared.bundles.card import Reliability

Float32s = npt.NDArray[np.float32]
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


def reliable_level(score_n: Float32s, lineages: Lineages | None, reliability: Reliability) -> npt.NDArray[np.uint8]:
    """The most specific level of each cell whose score reaches the threshold, as a value of ``Level``."""
    level_n = np.full(len(score_n), Level.NONE, np.uint8)
    if lineages is not None and reliability.lineage_score is not None:
        level_n[lineages.score_n >= np.float32(max(reliability.lineage_score, LEAST_LINEAGE))] = Level.LINEAGE
    if reliability.label_score is not None:
        level_n[score_n >= np.float32(reliability.label_score)] = Level.LABEL
    return level_n


def level_of_place(place_n: Int64s, tree: Tree) -> npt.NDArray[np.uint8]:
    """The level of each place in a tree, as a value of ``Level``."""
    n_labels = tree.member_gl.shape[1]
    of_group_g = np.where(tree.lineage_g, Level.LINEAGE, Level.GROUP)
    level_p = np.concatenate([np.full(n_labels, Level.LABEL), of_group_g, [Level.NONE]])
    assert NOTHING == -1
    return level_p[place_n].astype(np.uint8)
