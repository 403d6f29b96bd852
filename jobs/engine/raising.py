"""Raises the thresholds of reliable labels where a sample's own scores tell of more wrong answers than its rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from jobs.engine.keeping import CellGroups
from jobs.engine.levels import LEAST_LINEAGE, LeastScores, Lineages
from jobs.engine.tree import Tree, placing
from shared.bundles.card import Reliability

Float32s = npt.NDArray[np.float32]
Float64s = npt.NDArray[np.float64]

MOST_CELLS = 20_000
"""So many evenly spaced cells say how hard a sample is: the standard error of a rate of 5 % is at most 0.2 %."""
MOST_BYTES = 16 * 2**20
"""The memory for their scores: of a model with many labels, fewer cells are used. The same for those of all samples."""
LEAST_CELLS = 100
"""Fewer say too little about how hard a sample is. Such samples, and the cells without one, share thresholds."""
LEAST_COVERAGE = 0.9
"""The share of a model's features, by importance, that a file must have for the model's record of errors to hold.

Measured on PBMC 3k with genes left out at random, two models (2026-11-30): of the labels that are reliable without a
tenth of the genes, at most 3.1 % differ from those by all genes; without a fifth 14 %, without half 45 %.
"""
STEPS = 100
"""Thresholds are whole hundredths, as those of cards."""


def least_coverage(error: float) -> float:
    """The same for an error rate: below 5 %, what is missing may be twice the rate."""
    return max(LEAST_COVERAGE, 1 - 2 * error)


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From which scores on labels are reliable in a run.

    Attributes:
        learned: As the model says.
        whole: Those of the file: as learned, or raised. If there are samples, those of the cells without one and of the
            samples of few cells, taken together.
        samples: The samples of the cells; None if the file is taken as one.
        found: The thresholds of each sample.
        few: The samples of fewer than ``LEAST_CELLS`` cells that tell how hard they are, which have those of ``whole``.
        why_none: Why no label is reliable here, though the model has thresholds; empty if they are used.
    """

    learned: Reliability
    whole: Reliability
    samples: CellGroups | None = None
    found: tuple[Reliability, ...] = ()
    few: frozenset[str] = frozenset()
    why_none: str = ""

    @classmethod
    def as_learned(cls, learned: Reliability) -> Thresholds:
        """Those of a model, before they are fitted to a file."""
        return cls(learned, learned)

    @classmethod
    def none(cls, error: float, why: str) -> Thresholds:
        """No score is enough, because the model's record of its errors does not hold here."""
        learned = Reliability(error=error, label_score=None, lineage_score=None)
        return cls(learned, learned, why_none=why)

    @property
    def in_use(self) -> tuple[Reliability, ...]:
        """The thresholds that some cell has."""
        shared = self.samples is None or bool(self.few) or bool((self.samples.code_n < 0).any())
        return (self.whole, *self.found) if shared else self.found

    @property
    def any_raised(self) -> bool:
        """Whether some cells have a higher threshold than the model's."""
        return any(one != self.learned for one in self.in_use)

    @property
    def by_sample(self) -> dict[str, Reliability] | None:
        """The thresholds of each sample; None if the file is taken as one."""
        return None if self.samples is None else dict(zip(self.samples.names, self.found, strict=True))

    def least_scores(self, rows: slice) -> LeastScores:
        """The least score of each cell in these rows, or one for all of them."""
        least = LeastScores.of([*self.found, self.whole])
        # The last place is that of cells without a sample, whose code is -1.
        return least if self.samples is None else least.at(self.samples.code_n[rows])


def raised_in_tree(reliability: Reliability, probability_nl: Float32s, score_n: Float32s, tree: Tree) -> Reliability:
    """The threshold of a tree, raised until these cells' own scores tell of no more wrong answers than its rate.

    A calibrated score of an answer is the probability that it is right, so one minus the score, summed over the cells
    that get an answer, is the expected number of wrong ones. A higher threshold gives a cell the same answer, or a
    wider one with at least the same score, or none: the expected number does not grow with it. The learned threshold
    holds its rate on samples that are as hard as the held-out cells; this holds it on harder ones, as far as scores are
    calibrated.

    Args:
        probability_nl: Those of cells that are like the training cells, corrected to the sample's shares of labels.
        score_n: The best of each cell; below 0 for a cell that may get no label.
    """
    learned = reliability.tree_score
    if learned is None or not len(probability_nl):
        return reliability
    places = placing(probability_nl, probability_nl.argmax(axis=1), score_n, tree)

    def expected(least: float) -> float:
        return float((1 - places.score_of(places.at(least)).astype(np.float64)).mean())

    return reliability.model_copy(update={"tree_score": _least(learned, expected, reliability.error)})


def raised(reliability: Reliability, score_n: Float32s, lineages: Lineages | None) -> Reliability:
    """The thresholds of labels and lineages, raised likewise.

    Each rate is that of its own answers: labels, and the lineages of the cells that get no label. Where more cells get
    no label than on the held-out cells, and too few were left there to learn a threshold of lineages, it is chosen by
    these cells alone.

    Args:
        score_n: The best of each cell; below 0 for a cell that may get no label.
    """
    learned, learned_lineage = reliability.label_score, reliability.lineage_score
    label_score = None if learned is None else _least(learned, _rate_of(score_n), reliability.error)
    lineage_score = learned_lineage
    if lineages is not None and (learned_lineage is not None or label_score != learned):
        rest_n = np.ones(len(score_n), np.bool_) if label_score is None else score_n < np.float32(label_score)
        start = max(learned_lineage or LEAST_LINEAGE, LEAST_LINEAGE)
        found = _least(start, _rate_of(lineages.score_n[rest_n]), reliability.error)
        lineage_score = learned_lineage if found == start and learned_lineage is not None else found
    return reliability.model_copy(update={"label_score": label_score, "lineage_score": lineage_score})


def _rate_of(score_n: Float32s) -> Callable[[float], float]:
    def expected(least: float) -> float:
        answered = score_n[score_n >= np.float32(least)].astype(np.float64)
        return float((1 - answered).mean()) if len(answered) else 0.0

    return expected


def _least(learned: float, expected: Callable[[float], float], error: float) -> float | None:
    """The learned threshold, or else the least hundredth above it at which no more wrong answers are expected.

    None if there is none.
    """
    if expected(learned) <= error:
        return learned
    low, high = math.floor(learned * STEPS + 1e-6), STEPS + 1
    while low + 1 < high:  # Too many are expected at low, and not at high, where no cell gets an answer.
        middle = (low + high) // 2
        low, high = (middle, high) if expected(middle / STEPS) > error else (low, middle)
    return None if high > STEPS else high / STEPS
