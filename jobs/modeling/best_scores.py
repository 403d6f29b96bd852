"""The best label of each cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from jobs.engine.facts import CellFacts

Float32s = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class BestScores:
    """The best labels of n cells.

    Attributes:
        best_n: Positions among the model's labels.
        score_n: Their probabilities.
        note_n: The ``CellNote`` of each cell.
        unfamiliarity_n: See ``jobs.engine.familiarity``; NaN if it is not known.
    """

    best_n: npt.NDArray[np.int64]
    score_n: Float32s
    note_n: npt.NDArray[np.uint8]
    unfamiliarity_n: Float32s

    def take(self, cells: npt.NDArray[np.bool_]) -> BestScores:
        """Select cells."""
        return BestScores(self.best_n[cells], self.score_n[cells], self.note_n[cells], self.unfamiliarity_n[cells])


class AllScores(Protocol):
    """The scores of n cells for every label, n x labels."""

    @property
    def decision_nl(self) -> Float32s:
        """Decision scores."""
        ...

    @property
    def probability_nl(self) -> Float32s:
        """Probabilities."""
        ...

    @property
    def facts(self) -> CellFacts:
        """The cells' facts."""
        ...


def best_of(scores: AllScores) -> BestScores:
    """The best label of each cell, by decision score, as probabilities that round to 1 are ties."""
    best_n = scores.decision_nl.argmax(axis=1).astype(np.int64)
    facts = scores.facts
    return BestScores(best_n, scores.probability_nl.max(axis=1), facts.note_n.copy(), unfamiliarity_of(facts))


def unfamiliarity_of(facts: CellFacts) -> Float32s:
    """The unfamiliarity of each cell; NaN if it is not known."""
    unknown_n = np.full(len(facts.note_n), np.nan, np.float32)
    return unknown_n if facts.unfamiliarity_n is None else facts.unfamiliarity_n


def joined(blocks: Sequence[BestScores]) -> BestScores:
    """Join the cells of several blocks."""
    return BestScores(
        np.concatenate([np.zeros(0, np.int64), *(block.best_n for block in blocks)]),
        np.concatenate([np.zeros(0, np.float32), *(block.score_n for block in blocks)]),
        np.concatenate([np.zeros(0, np.uint8), *(block.note_n for block in blocks)]),
        np.concatenate([np.zeros(0, np.float32), *(block.unfamiliarity_n for block in blocks)]),
    )
