"""How much of what a model tells labels apart by lies in the genes of a file."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from jobs.engine.annotator import Annotator
from jobs.engine.kinds.table import weights_of
from shared.bundles.card import ModelCard
from tests.engine.cards import make_card, make_centroid, make_encoded, make_neighbours, make_neural, make_tensors

CPU = torch.device("cpu")
N_FEATURES = 6


def coverage(card: ModelCard, tensors: dict[str, torch.Tensor], matched_f: np.ndarray) -> float | None:
    genes = np.flatnonzero(matched_f).astype(np.int32)
    return Annotator(card, tensors, genes, CPU).coverage


def test_a_feature_with_the_same_weight_for_all_labels_tells_nothing() -> None:
    tensors = make_tensors(3, N_FEATURES) | {"coef": torch.zeros(3, N_FEATURES)}
    tensors["coef"][:, 0] = 7
    tensors["coef"][0, 1] = 3  # Less the mean, 1: 2, -1 and -1, whose squares add up to 6.
    tensors["coef"][:, 2] = torch.tensor([1.0, 0.0, -1.0])
    card = make_card(3, N_FEATURES)
    importance_f = weights_of(card, tensors, where="")[0].importance_f()
    assert importance_f is not None
    assert importance_f.tolist() == pytest.approx([0, 6, 2, 0, 0, 0])
    assert coverage(card, tensors, np.array([1, 1, 0, 0, 0, 0])) == 0.75


@pytest.mark.parametrize("made", ["linear", "centroid", "neighbours"])
def test_it_is_the_variance_that_a_feature_gives_to_what_labels_are_chosen_by(made: str) -> None:
    # Independent: each feature alone is drawn with variance 1, and what the model makes of it is measured.
    card, tensors = {
        "linear": (make_card(3, N_FEATURES), make_tensors(3, N_FEATURES)),
        "centroid": make_centroid(3, N_FEATURES),
        "neighbours": make_neighbours(3, N_FEATURES),
    }[made]
    z_n = np.random.default_rng(1).normal(size=200_000)
    if made == "linear":
        weight_cf = tensors["coef"].numpy()
    elif made == "centroid":
        weight_cf = (tensors["centroids"] @ tensors["components"]).numpy()
    else:
        weight_cf = tensors["projection"].numpy()
    scores_fnc = np.einsum("n,cf->fnc", z_n, weight_cf)
    if made != "neighbours":
        scores_fnc = scores_fnc - scores_fnc.mean(axis=2, keepdims=True)
    measured_f = scores_fnc.var(axis=1).sum(axis=1)
    importance_f = weights_of(card, tensors, where="")[0].importance_f()
    assert importance_f is not None
    # The variance of 200,000 draws has a relative standard error of 0.3 %.
    np.testing.assert_allclose(importance_f, measured_f, rtol=0.02)


@given(first=st.sets(st.integers(0, 5), min_size=1), more=st.sets(st.integers(0, 5)))
def test_more_genes_never_cover_less_and_all_cover_everything(first: set[int], more: set[int]) -> None:
    card, tensors = make_card(3, N_FEATURES), make_tensors(3, N_FEATURES)

    def of(genes: set[int]) -> float:
        found = coverage(card, tensors, np.isin(np.arange(N_FEATURES), sorted(genes)))
        assert found is not None
        return found

    assert 0 <= of(first) <= of(first | more) <= of(set(range(N_FEATURES))) == 1


@pytest.mark.parametrize("make", [make_neural, make_encoded])
def test_that_of_a_network_is_not_known(make: object) -> None:
    card, tensors = make(3, N_FEATURES)  # type: ignore[operator]
    assert coverage(card, tensors, np.ones(N_FEATURES)) is None
