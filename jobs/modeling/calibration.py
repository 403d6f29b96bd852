"""Calibration of scores: the temperature, the calibration error, and the threshold below which cells are unassigned."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from jobs.engine import agreement

Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_GOLDEN = (math.sqrt(5) - 1) / 2


def softmax(decision_nl: npt.NDArray[np.floating], temperature: float = 1.0) -> Floats:
    """Convert decision scores to probabilities, n x labels, float64. Each row adds up to 1."""
    scaled = decision_nl.astype(np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def log_softmax(decision_nl: npt.NDArray[np.floating], temperature: float) -> Floats:
    """The logarithms of ``softmax``, which do not underflow."""
    scaled = decision_nl.astype(np.float64) / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    return np.asarray(scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True)))


def best_temperature(decision_nl: npt.NDArray[np.floating], class_n: Int64s) -> float:
    """The temperature from 1/20 to 20 that minimises the mean cross-entropy.

    Guo et al., On Calibration of Modern Neural Networks, ICML 2017. The targets are smoothed as in Platt, Probabilistic
    Outputs for Support Vector Machines, 1999: of n cells, 1 / (n + 2) of the probability is spread over the other
    labels. So n cells that are all right make scores of about 1 - 1 / (n + 2), and not of 1.

    The loss is convex in 1 / temperature, so it has one minimum. A golden-section search over log(temperature) finds it
    to a relative precision of 1e-4.
    """
    n_cells, n_labels = decision_nl.shape
    rest = 1 / (n_cells + 2)
    target_nl = np.full((n_cells, n_labels), rest / (n_labels - 1))
    target_nl[np.arange(n_cells), class_n] = 1 - rest

    def loss(log_temperature: float) -> float:
        return float(-(target_nl * log_softmax(decision_nl, math.exp(log_temperature))).sum(axis=1).mean())

    return math.exp(_minimum(loss, -math.log(20), math.log(20)))


def _minimum(loss: Callable[[float], float], low: float, high: float) -> float:
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    loss_left, loss_right = loss(left), loss(right)
    while high - low > 1e-4:
        if loss_left <= loss_right:
            high, right, loss_right = right, left, loss_left
            left = high - _GOLDEN * (high - low)
            loss_left = loss(left)
        else:
            low, left, loss_left = left, right, loss_right
            right = low + _GOLDEN * (high - low)
            loss_right = loss(right)
    return (low + high) / 2


def calibration_error(
    score_n: npt.NDArray[np.floating], correct_n: Bools, n_bins: int = agreement.CALIBRATION_BINS
) -> float:
    """Expected calibration error: mean |accuracy - score| over bins of equal width, weighted by number of cells."""
    return agreement.calibration_error(agreement.calibration_gaps(score_n, correct_n, n_bins), len(score_n))


def abstention_threshold(score_n: npt.NDArray[np.floating], max_share: float) -> float | None:
    """The largest threshold that leaves at most ``max_share`` of the cells unassigned, in steps of 0.05 up to 0.5.

    It is never above 0.5, because a calibrated score above 0.5 means that the label is more likely right than wrong.
    None if ``max_share`` is 0, or if even 0.05 leaves too many cells unassigned.
    """
    if max_share <= 0:
        return None
    steps = [step / 20 for step in range(1, 11)]
    fitting = [step for step in steps if float((score_n < step).mean()) <= max_share]
    return max(fitting, default=None)
