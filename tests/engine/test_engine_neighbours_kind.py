"""The neighbours kind against the formula, by scikit-learn's search and in float64."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn.neighbors import NearestNeighbors

from jobs.engine.kinds.table import kind_of
from tests.engine.blocks import Scorer, block_of, on_threads
from tests.engine.cards import make_neighbours
from tests.engine.test_engine_centroid import counts, standardised

CPU = torch.device("cpu")
Floats = npt.NDArray[np.float64]
Tensors = dict[str, torch.Tensor]


def scorer(made: tuple[object, Tensors], n_features: int) -> Scorer:
    card, tensors = made
    return Scorer.of(card, tensors, np.arange(n_features, dtype=np.int32), CPU)  # type: ignore[arg-type]


def shares(place_nc: Floats, tensors: Tensors, n_labels: int, k: int, prefactor: float) -> Floats:
    """The shares of the labels in the weights of the nearest cells."""
    reference = tensors["reference"].double().numpy()
    distance_nk, place_nk = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(reference).kneighbors(place_nc)
    weight_nk = np.exp(-prefactor * distance_nk / np.median(distance_nk, axis=1, keepdims=True))
    label_nk = tensors["reference_label"].numpy().astype(int)[place_nk]
    share_nl = np.stack([(weight_nk * (label_nk == label)).sum(axis=1) for label in range(n_labels)], axis=1)
    found: Floats = share_nl / weight_nk.sum(axis=1, keepdims=True)
    return found


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**16), st.integers(2, 7), st.integers(1, 6), st.integers(1, 30), st.sampled_from([0.5, 1, 3]))
def test_scores_are_the_shares_of_the_votes_with_one_neighbour_of_all_labels(
    seed: int, n_labels: int, n_components: int, k: int, prefactor: float
) -> None:
    made = make_neighbours(n_labels, 12, n_components=n_components, k=k, prefactor=prefactor, seed=seed)
    counts_ng = counts(seed, 9, 12)
    place_nc = standardised(counts_ng, made[1]) @ made[1]["projection"].double().numpy().T
    expected = (k * shares(place_nc, made[1], n_labels, k, prefactor) + 1 / n_labels) / (k + 1)
    found = scorer(made, 12).annotate(block_of(counts_ng))
    # log1p of a float32 quotient moves a cell a little, and so its distances and their weights.
    np.testing.assert_allclose(found.probability_nl, expected, atol=1e-3)
    np.testing.assert_allclose(found.probability_nl.sum(axis=1), 1, rtol=1e-5)


def test_a_label_without_a_vote_has_a_share_of_one_neighbour() -> None:
    card, tensors = make_neighbours(4, 12, k=5)
    tensors["reference_label"] = torch.ones(40)
    found = scorer((card, tensors), 12).annotate(block_of(counts(0, 20, 12)))
    np.testing.assert_allclose(found.probability_nl[:, [0, 2, 3]], 1 / 4 / 6, rtol=1e-6)


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_a_cell_scores_the_same_alone_and_with_any_number_of_threads(threads: int) -> None:
    annotator = scorer(make_neighbours(11, 300, n_components=17, n_reference=3_000, k=30, seed=1), 300)
    counts_ng = counts(1, 256, 300)
    together = on_threads(threads, lambda: annotator.annotate(block_of(counts_ng)).decision_nl)
    alone = np.concatenate([annotator.annotate(block_of(counts_ng[i : i + 1])).decision_nl for i in range(256)])
    assert alone.tobytes() == together.tobytes()


def test_signs_of_life_are_given_while_a_block_is_scored() -> None:
    annotator, signs = scorer(make_neighbours(3, 12, n_reference=40_000), 12), list[int]()
    annotator.annotator.give_signs(lambda: signs.append(1))
    annotator.annotate(block_of(counts(2, 300, 12)))
    assert len(signs) >= 2 * 3, "for each of two tiles of cells, and three chunks of the reference"


def test_cells_without_a_count_are_scored_alike() -> None:
    counts_ng = counts(2, 30, 12)
    counts_ng[[3, 20]] = 0
    found = scorer(make_neighbours(3, 12), 12).annotate(block_of(counts_ng)).decision_nl
    assert np.isfinite(found).all()
    assert found[3].tobytes() == found[20].tobytes()


def test_the_cost_is_that_of_the_projection_and_of_the_products() -> None:
    card, _ = make_neighbours(3, 12, n_components=5, n_reference=100)
    assert kind_of(card).flops_per_cell(card) == 2 * 5 * (12 + 100)


def test_more_neighbours_than_reference_cells_are_refused() -> None:
    with pytest.raises(ValidationError, match="found 41 of 40"):
        make_neighbours(3, 12, k=41)
