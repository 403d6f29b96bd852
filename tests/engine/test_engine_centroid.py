"""The centroid kind against scikit-learn's, and against the formula in float64."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestCentroid

from tests.engine.blocks import Scorer, block_of, on_threads
from tests.engine.cards import make_centroid

CPU = torch.device("cpu")
UNIT = 2.0**-24
Floats = npt.NDArray[np.float64]


def counts(seed: int, n_cells: int, n_genes: int) -> npt.NDArray[np.float32]:
    random = np.random.default_rng(seed)
    return random.poisson(random.gamma(0.5, 4.0, (n_cells, n_genes))).astype(np.float32)


def standardised(counts_ng: npt.NDArray[np.float32], tensors: dict[str, torch.Tensor]) -> Floats:
    totals = counts_ng.sum(axis=1, keepdims=True, dtype=np.float64)
    x = np.log1p(counts_ng / np.where(totals == 0, 1, totals) * 1e4)
    z: Floats = np.minimum((x - tensors["mean"].double().numpy()) / tensors["std"].double().numpy(), 10.0)
    return z


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**16), st.integers(2, 7), st.integers(1, 6))
def test_decisions_are_squared_distances_over_twice_the_squared_spread(
    seed: int, n_labels: int, n_components: int
) -> None:
    card, tensors = make_centroid(n_labels, 12, n_components=n_components, seed=seed)
    counts_ng = counts(seed, 9, 12)
    projected = standardised(counts_ng, tensors) @ tensors["components"].double().numpy().T
    away = projected[:, None, :] - tensors["centroids"].double().numpy()[None]
    expected = -np.square(away).sum(axis=2) / (2 * card.spread**2)
    found = Scorer.of(card, tensors, np.arange(12, dtype=np.int32), CPU).annotate(block_of(counts_ng))
    # float64 but for log1p of a float32 quotient, of relative error 3 units: a z-score of up to 10 / 0.05 moves by so
    # many units of x / std, a distance by as much in each of its components, and its square by twice the distance.
    moved = 4 * UNIT * 10 / 0.05 * np.sqrt(12)
    bound = (np.sqrt(np.square(away).sum(axis=2)) + moved) * moved / card.spread**2 + 2 * UNIT * np.abs(expected)
    assert (np.abs(found.decision_nl - expected) <= bound).all()
    np.testing.assert_allclose(found.probability_nl.sum(axis=1), 1, rtol=1e-5)


def test_the_best_label_is_that_of_scikit_learns_nearest_centroid() -> None:
    card, tensors = make_centroid(6, 40, n_components=5, seed=3)
    counts_ng = counts(3, 500, 40)
    projected = standardised(counts_ng, tensors) @ tensors["components"].double().numpy().T
    centroids = tensors["centroids"].double().numpy()
    oracle = NearestCentroid().fit(np.concatenate([centroids - 1, centroids + 1]), np.tile(np.arange(6), 2))
    found = Scorer.of(card, tensors, np.arange(40, dtype=np.int32), CPU).annotate(block_of(counts_ng))
    assert (found.decision_nl.argmax(axis=1) == oracle.predict(projected)).all()


def test_a_gene_that_the_file_lacks_moves_no_cell() -> None:
    card, tensors = make_centroid(4, 20, seed=5)
    counts_ng = counts(5, 30, 20)
    lacking = np.arange(20, dtype=np.int32)
    lacking[7:] = -1
    found = Scorer.of(card, tensors, lacking, CPU).annotate(block_of(counts_ng))
    z = standardised(counts_ng, tensors)
    z[:, 7:] = 0
    away = (z @ tensors["components"].double().numpy().T)[:, None, :] - tensors["centroids"].double().numpy()[None]
    np.testing.assert_allclose(found.decision_nl, -np.square(away).sum(axis=2) / (2 * card.spread**2), rtol=1e-4)


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_a_cell_scores_the_same_alone_and_with_any_number_of_threads(threads: int) -> None:
    card, tensors = make_centroid(40, 500, n_components=50, seed=1)
    annotator = Scorer.of(card, tensors, np.arange(500, dtype=np.int32), CPU)
    counts_ng = counts(1, 256, 500)
    together = on_threads(threads, lambda: annotator.annotate(block_of(counts_ng)).decision_nl)
    alone = np.concatenate([annotator.annotate(block_of(counts_ng[i : i + 1])).decision_nl for i in range(256)])
    assert alone.tobytes() == together.tobytes()
