"""The scores of Cell Ontology terms of all cells of a merge, piece by piece."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jobs.engine.terms import TermScorer, TermScores
from jobs.inference.merge.groups import Merge
from shared.domain.geometry import BLOCK_ROWS
from shared.domain.verdict import CellNote

_PIECE_VALUES = 262_144
_PIECE_BLOCKS = 16

BEST = 3
"""Terms that each cell is given, as Cellarium CAS does by default."""
LEAST_SCORE = 0.2
"""The least score of such a term, likewise."""


@dataclass(frozen=True, slots=True)
class ScoredPiece:
    """Consecutive cells with the scores of their terms."""

    cell_ids: pa.StringArray
    terms: TermScores


@dataclass(frozen=True, slots=True)
class TermMerge:
    """The parts of a submission, read as scores of terms. Each pass streams them again.

    Memory: some 5 MB at a time, or what a block of cells takes with the terms of a very large model.

    Attributes:
        name: The model, as ``NAME@VERSION``.
    """

    merge: Merge
    scorer: TermScorer
    name: str

    def pieces(self) -> Iterator[ScoredPiece]:
        """The cells in row order. The pieces do not depend on the number of parts.

        Raises:
            CorruptBlobError: As in ``Merge.groups``.
            BlobNotFoundError: As in ``Merge.groups``.
        """
        merge = self.merge
        if not self.scorer.corrects:
            merge = replace(merge, rules=replace(merge.rules, composition=None))
        for group in merge.groups(self._piece_rows()):
            calls = group.calls
            assert calls.probability_nl is not None
            scores = self.scorer.scores(calls.probability_nl, calls.facts.note_n == CellNote.SILENT)
            yield ScoredPiece(calls.cell_ids, scores)

    def _piece_rows(self) -> int:
        """Whole blocks with about a quarter of a million values."""
        blocks = _PIECE_VALUES // (len(self.scorer.graph.names) * BLOCK_ROWS)
        return BLOCK_ROWS * max(1, min(blocks, _PIECE_BLOCKS))


def most_granular(score_nt: npt.NDArray[np.float32], depth_t: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The positions of the deepest terms with at least ``LEAST_SCORE``, cells x ``BEST``.

    Of equally deep terms the one with the higher score comes first, then the first in order. What is left over is -1.

    Args:
        depth_t: The steps from the root to each term.
    """
    # Exact: a depth has at most 15 bits, and a score of 0.2 or more 26 behind the point.
    rank_nt = np.where(score_nt >= np.float32(LEAST_SCORE), depth_t * 2.0 + score_nt, -1.0)
    place_nk = np.argsort(-rank_nt, axis=1, kind="stable")[:, :BEST]
    place_nk = np.where(np.take_along_axis(rank_nt, place_nk, axis=1) < 0, -1, place_nk)
    lacking = BEST - place_nk.shape[1]
    return np.pad(place_nk, ((0, 0), (0, max(lacking, 0))), constant_values=-1)
