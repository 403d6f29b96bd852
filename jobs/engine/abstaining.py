"""The rules for single cells (unassigned, unfamiliar, silent): the same in results, reports and evaluations."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shared.bundles.card import Familiarity
from shared.domain.verdict import CellNote


def is_unassigned(
    score_n: npt.NDArray[np.float32], note_n: npt.NDArray[np.uint8], min_score: float | None
) -> npt.NDArray[np.bool_]:
    """Whether each of n cells is unassigned.

    A cell is if its best score, as float32, is below the threshold, or if it has no value of the model's genes: its
    scores then say nothing about the cell.

    Args:
        score_n: The best score of each cell.
        note_n: The ``CellNote`` of each cell.
        min_score: The threshold; None if there is none.
    """
    threshold = np.float32(-np.inf if min_score is None else min_score)
    silent_n: npt.NDArray[np.bool_] = note_n == CellNote.SILENT
    return silent_n | np.less(score_n, threshold)


def is_unfamiliar(unfamiliarity_n: npt.NDArray[np.float32], familiarity: Familiarity | None) -> npt.NDArray[np.bool_]:
    """Whether each of n cells is over the model's threshold. A cell whose unfamiliarity is not known (NaN) is not."""
    threshold = np.float32(np.inf if familiarity is None else familiarity.threshold)
    return np.greater(unfamiliarity_n, threshold)


def says_shares(unfamiliar_n: npt.NDArray[np.bool_], note_n: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Whether each cell says something about the shares of the labels in its sample.

    An unfamiliar cell may be of no label, and the scores of a cell without a value of the model's genes mean nothing.
    """
    return np.asarray(~unfamiliar_n & (note_n != CellNote.SILENT))
