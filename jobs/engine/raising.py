"""Raises the thresholds of reliable labels where a sample's own scores tell of more wrong answers than its rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from jobs.engine.levels import LEAST_LINEAGE, Lineages
from jobs.engine.sampling import every
from jobs.engine.tree import Tree, placing
from shared.bundles.card import Reliability

Float32s = npt.NDArray[np.float32]
Float64s = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

MOST_CELLS = 20_000
"""So many evenly spaced cells say how hard a sample is: the standard error of a rate of 5 % is at most 0.2 %."""
MOST_BYTES = 16 * 2**20
"""The memory for their scores: of a model with many labels, fewer cells are used."""
STEPS = 100
"""Thresholds are whole hundredths, as those of cards."""


@dataclass(slots=True)
class KeptScores:
    """The probabilities of evenly spaced cells of a sample, kept while all of them pass by."""

    n_cells: int
    n_labels: int
    _kept: list[Float32s] = field(default_factory=list)
    _rows: list[Int64s] = field(default_factory=list)

    def watch(self, pieces: Iterable[tuple[Float32s, Bools]]) -> Iterator[tuple[Float32s, Bools]]:
        """Pass on probabilities, cells x labels, with a mark for the cells to use, in row order."""
        most = max(1, min(MOST_CELLS, MOST_BYTES // (4 * self.n_labels)))
        step, row = max(1, -(-self.n_cells // most)), 0
        for probability_nl, used_n in pieces:
            chosen = every(step, row, len(used_n))
            chosen = chosen[used_n[chosen]]
            self._kept.append(probability_nl[chosen])
            self._rows.append(chosen + row)
            row += len(used_n)
            yield probability_nl, used_n

    @property
    def probability_ml(self) -> Float32s:
        """The kept probabilities, cells x labels."""
        return np.concatenate(self._kept)

    @property
    def row_m(self) -> Int64s:
        """The rows of the kept cells."""
        return np.concatenate(self._rows)


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
