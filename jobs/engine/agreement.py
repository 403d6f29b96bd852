"""How far labels agree: accuracy and F1 from a cross table, and the calibration error from scores."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

CALIBRATION_BINS = 15
"""Of equal width, as in Guo et al., On Calibration of Modern Neural Networks, ICML 2017."""


def cross_counts(row_n: Int64s, column_n: Int64s, shape: tuple[int, int]) -> Int64s:
    """The number of cells by row and column of a table."""
    n_rows, n_columns = shape
    return np.bincount(row_n * n_columns + column_n, minlength=n_rows * n_columns).reshape(shape)


def accuracy(cells_tp: Int64s) -> float:
    """Share of the cells with the same label; at least one cell.

    Args:
        cells_tp: Cells by true label (rows) and predicted label (columns). Both begin with the same labels in the same
            order; further columns are predictions that are never right.
    """
    return float(np.trace(cells_tp) / cells_tp.sum())


def macro_f1(cells_tp: Int64s) -> float:
    """Mean F1 over the true labels that occur: 2 right / (true + predicted).

    Args:
        cells_tp: As in ``accuracy``.
    """
    true_t, predicted_p = cells_tp.sum(axis=1), cells_tp.sum(axis=0)
    occur = np.flatnonzero(true_t)
    right = cells_tp[occur, occur]
    return float(np.mean(2 * right / (true_t[occur] + predicted_p[occur])))


def calibration_gaps(
    score_n: npt.NDArray[np.floating], correct_n: npt.NDArray[np.bool_], n_bins: int = CALIBRATION_BINS
) -> Floats:
    """Sums of (right - score) over the cells of each bin of scores. They can be added up over groups of cells."""
    bin_n = np.minimum((score_n * n_bins).astype(np.int64), n_bins - 1)
    return np.bincount(bin_n, correct_n - score_n, minlength=n_bins).astype(np.float64, copy=False)


def calibration_error(gap_b: Floats, n_cells: int) -> float:
    """Expected calibration error: mean |accuracy - score| over the bins, weighted by number of cells."""
    return float(np.abs(gap_b).sum() / n_cells)
