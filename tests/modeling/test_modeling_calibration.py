"""Scaling label by label mends what a common temperature cannot, and inference applies it as training does."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from jobs.engine.annotator import Annotator
from jobs.modeling.calibration import Scaling, best_scaling, best_temperature, calibration_error, softmax
from tests.engine.blocks import block_of
from tests.engine.cards import make_card, make_tensors
from tests.engine.test_engine_annotator import CPU

TRUE_SCALE, TRUE_OFFSET = np.array([0.4, 1.0, 2.5]), np.array([1.0, 0.0, -1.5])


def drawn(n_cells: int, seed: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Decisions of which some labels are too sure, and labels drawn by the right probabilities."""
    draw = np.random.default_rng(seed)
    decision_nl = draw.normal(0, 3, (n_cells, 3))
    probability_nl = softmax(decision_nl * TRUE_SCALE + TRUE_OFFSET)
    return decision_nl, (probability_nl.cumsum(axis=1) > draw.random((n_cells, 1))).argmax(axis=1)


def test_the_scales_that_made_the_labels_are_found() -> None:
    found = best_scaling(*drawn(20_000, 0))
    # Only differences between the offsets matter.
    assert found.scale_l == pytest.approx(TRUE_SCALE, rel=0.1)
    assert np.array(found.offset_l) - found.offset_l[1] == pytest.approx(TRUE_OFFSET, abs=0.15)


def test_scores_are_better_calibrated_and_more_often_right_than_with_a_temperature() -> None:
    decision_nl, class_n = drawn(5_000, 0)
    scaling, temperature = best_scaling(decision_nl, class_n), best_temperature(decision_nl, class_n)
    fresh_nl, fresh_n = drawn(20_000, 1)

    def judged(probability_nl: npt.NDArray[np.float64]) -> tuple[float, float]:
        right_n = probability_nl.argmax(axis=1) == fresh_n
        return float(right_n.mean()), calibration_error(probability_nl.max(axis=1), right_n)

    plain, scaled = judged(softmax(fresh_nl, temperature)), judged(softmax(scaling.of(fresh_nl)))
    assert scaled[0] > plain[0] + 0.02
    assert scaled[1] < min(plain[1], 0.02)


def test_few_cells_of_one_label_do_not_run_away() -> None:
    decision_nl = np.array([[5.0, 0.0]] * 5 + [[0.0, 5.0]])
    found = best_scaling(decision_nl, np.array([0] * 5 + [1]))
    assert np.isfinite(found.scale_l + found.offset_l).all()
    assert max(found.scale_l) < 100


def test_inference_scales_as_training_does() -> None:
    scaling = Scaling((0.5, 1.5, 2.0), (0.1, -0.2, 0.3))
    card, tensors = make_card(3, 12, temperature=0.7), make_tensors(3, 12)
    scaled = card.model_copy(update={"label_scale": scaling.scale_l, "label_offset": scaling.offset_l})
    block = block_of(np.random.default_rng(0).poisson(2.0, (20, 12))).on(np.arange(12, dtype=np.int32))
    genes = np.arange(12, dtype=np.int32)
    plain, found = (Annotator(one, tensors, genes, CPU).annotate(block).decision_nl for one in (card, scaled))
    np.testing.assert_allclose(found, scaling.of(plain), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "fields", [{"label_scale": (1.0,)}, {"label_scale": (1.0, 0.0, 1.0)}, {"label_offset": (0.0, 0.0, 1e9)}]
)
def test_scales_that_make_no_sense_are_refused(fields: dict[str, tuple[float, ...]]) -> None:
    with pytest.raises(ValueError, match="label_"):
        make_card(3, 12, **fields)
