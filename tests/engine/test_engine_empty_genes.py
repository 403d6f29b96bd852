"""Genes of which values are expected, as far as a model tells."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from jobs.engine.empty_genes import LEAST_EXPECTED, MOST_COUNTS, Typical, depth_of, is_told, typical_of
from jobs.engine.kinds.table import weights_of
from shared.bundles.card import ModelCard, Normalise, NormaliseFeatures
from tests.engine.cards import make_card, make_centroid, make_encoded, make_neighbours, make_neural, make_tensors

N_FEATURES = 6
WEIGHTS = np.array([[3.0, 0.0, -3.0], [-3.0, 0.0, 3.0], [0.0, 0.0, 0.0]])
DEEP = np.array([MOST_COUNTS / 1e4])


def typical(mean_f: list[float]) -> Typical:
    found = Typical.of(WEIGHTS, np.array(mean_f))
    assert found is not None
    return found


def told(card: ModelCard, tensors: dict[str, torch.Tensor]) -> Typical | None:
    return typical_of(card, {name: one.numpy() for name, one in tensors.items()})


def test_a_gene_is_expected_in_the_cells_that_it_speaks_for() -> None:
    one = typical([0.5, 0.5, 0.5])
    seen_f = np.zeros(3, np.bool_)
    depth = float(LEAST_EXPECTED) / 0.5
    assert one.empty_f(np.array([depth, 0, 0]), seen_f).tolist() == [True, False, False]
    assert one.empty_f(np.array([0, depth, 0]), seen_f).tolist() == [False, False, True]
    assert not one.empty_f(np.array([0, 0, 100 * depth]), seen_f).any(), "no gene speaks for the third label"
    assert not one.empty_f(np.array([0.99 * depth, 0, 0]), seen_f).any()
    assert not one.empty_f(np.array([depth, depth, 0]), ~seen_f).any(), "seen"


@given(st.lists(st.floats(0, 1e4), min_size=3, max_size=3), st.lists(st.floats(0, 5), min_size=3, max_size=3))
def test_more_cells_never_make_a_gene_less_expected(depth_l: list[float], mean_f: list[float]) -> None:
    seen_f = np.zeros(3, np.bool_)
    few = typical(mean_f).empty_f(np.array(depth_l), seen_f)
    many = typical(mean_f).empty_f(np.array(depth_l) * 2, seen_f)
    assert not (few & ~many).any()


def test_depth_is_of_counts_or_else_of_genes_and_at_most_a_quarter() -> None:
    found = depth_of(np.array([500.0, np.nan, 1e6]), np.array([400, 300, 9_000]))
    assert found.tolist() == pytest.approx([0.05, 0.03, 0.25])


@pytest.mark.parametrize("made", ["linear", "centroid", "neighbours"])
def test_importance_is_that_by_which_a_task_judges_the_genes(made: str) -> None:
    card, tensors = {
        "linear": (make_card(3, N_FEATURES), make_tensors(3, N_FEATURES)),
        "centroid": make_centroid(3, N_FEATURES),
        "neighbours": make_neighbours(3, N_FEATURES),
    }[made]
    found = told(card, tensors)
    expected_f = weights_of(card, tensors, where="")[0].importance_f()
    assert found is not None
    assert expected_f is not None
    np.testing.assert_allclose(found.importance_f, expected_f / expected_f.sum(), rtol=1e-5)
    assert found.speaks_lf.min() == 0
    assert (found.speaks_lf.max(axis=0) == 1).all()


def test_reference_cells_tell_what_their_labels_express() -> None:
    card, tensors = make_neighbours(3, N_FEATURES)
    tensors["projection"] = torch.eye(*tensors["projection"].shape)
    found = told(card, tensors)
    assert found is not None
    label_r, place_rc = tensors["reference_label"].numpy().astype(int), tensors["reference"].double().numpy()
    mean_lc = np.stack([place_rc[label_r == label].mean(axis=0) for label in range(3)])
    n = mean_lc.shape[1]
    assert (found.speaks_lf[:, :n].argmax(axis=0) == mean_lc.argmax(axis=0)).all()


def test_a_network_tells_nothing_and_neither_does_a_model_of_equal_weights() -> None:
    assert told(*make_neural(3, N_FEATURES)) is None
    assert told(*make_encoded(3, N_FEATURES)) is None
    assert Typical.of(np.ones((3, 2)), np.ones(2)) is None


@pytest.mark.parametrize("made", [make_card(3, N_FEATURES), make_neighbours(3, N_FEATURES)[0]], ids=["linear", "index"])
def test_means_of_another_scale_tell_nothing(made: ModelCard) -> None:
    first, *rest = made.preprocessing
    assert is_told(made)
    for other in (Normalise(target_sum=1e6), NormaliseFeatures()):
        assert not is_told(made.model_copy(update={"preprocessing": (other, *rest)}))
    assert first == Normalise(target_sum=1e4)
