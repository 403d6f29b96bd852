"""Agreement from a cross table is that of scikit-learn from the cells; the calibration error adds up over groups."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from jobs.engine.agreement import CALIBRATION_BINS, accuracy, calibration_error, calibration_gaps, macro_f1

PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=60)


@given(PAIRS)
def test_accuracy_and_f1_are_those_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    true_n, predicted_n = np.array(pairs).T
    cells_tp = np.zeros((4, 5), np.int64)
    np.add.at(cells_tp, (true_n, predicted_n), 1)
    assert accuracy(cells_tp) == accuracy_score(true_n, predicted_n)
    theirs = f1_score(true_n, predicted_n, labels=np.unique(true_n), average="macro", zero_division=0)
    assert macro_f1(cells_tp) == pytest.approx(theirs, abs=1e-12)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60), st.integers(0, 60))
def test_the_calibration_error_is_the_weighted_mean_gap_however_the_cells_are_grouped(
    cells: list[tuple[float, bool]], place: int
) -> None:
    score_n, right_n = np.array([score for score, _ in cells]), np.array([right for _, right in cells])
    bins = [min(int(score * CALIBRATION_BINS), CALIBRATION_BINS - 1) for score in score_n]
    gaps = [abs(sum(r - s for s, r, b in zip(score_n, right_n, bins, strict=True) if b == one)) for one in set(bins)]
    gap_b = calibration_gaps(score_n[:place], right_n[:place]) + calibration_gaps(score_n[place:], right_n[place:])
    assert calibration_error(gap_b, len(cells)) == pytest.approx(sum(gaps) / len(cells), abs=1e-12)
