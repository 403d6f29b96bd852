"""Corrects the scores of a file's cells to the shares of the labels in it, as the merge of a run does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from tempfile import SpooledTemporaryFile

import numpy as np
import numpy.typing as npt

from jobs.engine.abstaining import is_unfamiliar, says_shares
from jobs.engine.annotator import BlockScores
from jobs.engine.composition import Composition, estimate
from jobs.modeling.best_scores import BestScores, best_of, joined
from shared.bundles.card import ModelCard
from shared.domain.geometry import GROUP_ROWS

Float32s = npt.NDArray[np.float32]

MOST_BYTES = 256 * 2**20
"""Of probabilities in memory. More lie in a temporary file."""


@dataclass(frozen=True, slots=True)
class Corrected:
    """The best labels of a file's cells.

    Attributes:
        composition: The shares that scores are corrected to; None if they are not corrected.
    """

    best: BestScores
    composition: Composition | None = None

    def shares(self, card: ModelCard) -> dict[str, float] | None:
        """The share of each label, the largest first; None if scores are not corrected."""
        return self.composition.by_name([label.name for label in card.labels]) if self.composition else None


def correct(blocks: Iterable[BlockScores], card: ModelCard) -> Corrected:
    """Correct the scores of all cells of a file, given in row order.

    The pieces that shares are estimated from are the row groups of a run, so that both find the same. Probabilities are
    kept meanwhile, 4 bytes per cell and label, in a temporary file if there are many.

    Args:
        card: The model's, which says what shares the scores assume.
    """
    n_labels = len(card.labels)
    with SpooledTemporaryFile(MOST_BYTES) as file:
        found: list[BestScores] = []
        for block in blocks:
            file.write(block.probability_nl.tobytes())
            found.append(best_of(block))
        plain = joined(found)
        unfamiliar_n = is_unfamiliar(plain.unfamiliarity_n, card.familiarity)
        used_n = says_shares(unfamiliar_n, plain.note_n)

        def pieces() -> Iterator[tuple[int, Float32s]]:
            file.seek(0)
            start = 0
            while data := file.read(GROUP_ROWS * n_labels * np.float32().itemsize):
                probability_nl = np.frombuffer(data, np.float32).reshape(-1, n_labels)
                yield start, probability_nl
                start += len(probability_nl)

        marked = ((one_nl, used_n[start : start + len(one_nl)]) for start, one_nl in pieces())
        composition = estimate(marked, card.assumed_shares, len(used_n))
        if not composition.n_cells:
            return Corrected(plain)
        label_n, score_n = np.empty_like(plain.best_n), np.empty_like(plain.score_n)
        for start, probability_nl in pieces():
            rows = slice(start, start + len(probability_nl))
            corrected_nl = composition.corrected(probability_nl, rows)
            label_n[rows], score_n[rows] = corrected_nl.argmax(axis=1), corrected_nl.max(axis=1)
    return Corrected(replace(plain, best_n=label_n, score_n=score_n), composition)
