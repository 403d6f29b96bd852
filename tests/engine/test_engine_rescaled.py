"""Expression that is scaled by its total over the features: the formula, and what it may depend on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from jobs.engine.kinds.rescaled import FeatureTotals
from jobs.engine.slopes import have_slopes
from shared.bundles.card import Log1p, NormaliseFeatures, Standardise
from tests.engine.blocks import Scorer, block_of, on_threads
from tests.engine.cards import make_card, make_tensors

N_FEATURES, N_OTHERS = 30, 50
STEPS = (NormaliseFeatures(target_sum=5e3), Log1p(), Standardise(clip_max=None))


def counts(n_cells: int = 40) -> np.ndarray:
    return np.random.default_rng(1).poisson(0.7, (n_cells, N_FEATURES + N_OTHERS)).astype(np.float32)


def scorer() -> tuple[Scorer, dict[str, torch.Tensor]]:
    tensors = make_tensors(3, N_FEATURES, dtype=torch.float64)
    card = make_card(3, N_FEATURES, preprocessing=STEPS)
    genes = np.concatenate([np.arange(N_FEATURES), np.full(N_OTHERS, -1)]).astype(np.int32)
    return Scorer.of(card, tensors, genes, torch.device("cpu")), tensors


def test_scores_are_those_of_the_formula_whatever_other_genes_a_cell_expresses() -> None:
    values_ng = counts()
    one, tensors = scorer()
    own_nf = values_ng[:, :N_FEATURES].astype(np.float64)
    scaled_nf = np.log1p(own_nf / own_nf.sum(axis=1, keepdims=True) * 5e3)
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    expected_nl = (scaled_nf - arrays["mean"]) / arrays["std"] @ arrays["coef"].T + arrays["intercept"]
    np.testing.assert_allclose(one.annotate(block_of(values_ng)).decision_nl, expected_nl, rtol=0, atol=2e-5)
    values_ng[:, N_FEATURES:] *= 3
    np.testing.assert_allclose(one.annotate(block_of(values_ng)).decision_nl, expected_nl, rtol=0, atol=2e-5)


def test_logarithms_that_are_given_are_scaled_too() -> None:
    values_ng = counts()
    one, tensors = scorer()
    genes = np.concatenate([np.arange(N_FEATURES), np.full(N_OTHERS, -1)]).astype(np.int32)
    card = make_card(3, N_FEATURES, preprocessing=STEPS)
    given = Scorer.of(card, tensors, genes, torch.device("cpu"), as_it_is=True)
    logarithms_ng = np.log1p(values_ng / values_ng.sum(axis=1, keepdims=True) * 1e4)
    expected_nl = one.annotate(block_of(values_ng)).decision_nl
    np.testing.assert_allclose(given.annotate(block_of(logarithms_ng)).decision_nl, expected_nl, rtol=0, atol=2e-5)


def test_a_cell_alone_and_on_many_threads_has_the_same_bytes() -> None:
    values_ng = counts(600)
    one, _ = scorer()
    whole_nl = on_threads(1, lambda: one.annotate(block_of(values_ng)).decision_nl)
    assert np.array_equal(on_threads(4, lambda: one.annotate(block_of(values_ng)).decision_nl), whole_nl)
    assert np.array_equal(one.annotate(block_of(values_ng[7:8])).decision_nl, whole_nl[7:8])


def test_a_cell_without_a_feature_has_no_expression() -> None:
    totals = FeatureTotals(2, 1e4)
    expression_z = torch.tensor([3.0, 1.0, 1.0])
    feature_z, indptr = torch.tensor([2, 0, 2], dtype=torch.int32), torch.tensor([0, 1, 1, 3], dtype=torch.int32)
    found_z = totals(expression_z, feature_z, indptr)
    assert torch.isfinite(found_z).all()
    assert float(found_z[1]) == pytest.approx(np.log1p(1e4), rel=1e-6)


def test_such_scores_are_not_linear_in_expression() -> None:
    assert not have_slopes(make_card(3, N_FEATURES, preprocessing=STEPS))
    assert have_slopes(make_card(3, N_FEATURES))
