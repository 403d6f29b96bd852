"""Contributions of genes: they add up to the difference of scores that the engine computes, for every kind."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch

from jobs.engine.annotator import Annotator
from jobs.engine.sampling import SampledCells, every
from jobs.engine.slopes import WEIGHTS, have_slopes, slopes_of
from shared.bundles.card import Kind, ModelCard
from tests.engine.blocks import block_of
from tests.engine.cards import make_card, make_centroid, make_neighbours, make_neural, make_tensors
from tests.engine.lanes import CPU

N_LABELS, N_FEATURES, N_CELLS = 4, 30, 50
CLIP = 2.0
Tensors = dict[str, torch.Tensor]


def linear() -> tuple[ModelCard, Tensors]:
    card = make_card(N_LABELS, N_FEATURES, clip_max=CLIP, temperature=0.6)
    return card, make_tensors(N_LABELS, N_FEATURES, dtype=torch.float64)


def centroid() -> tuple[ModelCard, Tensors]:
    return make_centroid(N_LABELS, N_FEATURES, dtype=torch.float64)


MODELS = {Kind.LINEAR: linear, Kind.CENTROID: centroid}


def test_every_kind_but_a_vote_and_a_network_has_slopes() -> None:
    assert set(WEIGHTS) == set(Kind)
    assert {kind for kind, weights in WEIGHTS.items() if weights} == set(MODELS)
    assert have_slopes(linear()[0])
    assert not have_slopes(make_neighbours(3, 5)[0])
    assert not have_slopes(make_neural(3, 5)[0])


@pytest.mark.parametrize("kind", list(MODELS))
@pytest.mark.parametrize("lacking", [0, 7], ids=["all genes", "some genes lacking"])
def test_contributions_add_up_to_the_difference_of_mean_margins(kind: Kind, lacking: int) -> None:
    card, tensors = MODELS[kind]()
    slopes = slopes_of(card, {name: tensor.numpy() for name, tensor in tensors.items()})
    there = np.arange(lacking, N_FEATURES)
    values_ng = np.random.default_rng(3).poisson(1.5, (N_CELLS, len(there)))
    block = block_of(values_ng).on(there.astype(np.int32))
    annotator = Annotator(card, tensors, there.astype(np.int32), CPU)
    margin_nl = margins(annotator.annotate(block).decision_nl.astype(np.float64))
    own_n = np.arange(N_CELLS) < 20
    x_nf = np.minimum(expression(annotator.sampled(block, np.arange(N_CELLS))), slopes.ceiling_f)
    contribution_lf = slopes.slope_lf * (x_nf[own_n].mean(axis=0) - x_nf[~own_n].mean(axis=0))
    wanted_l = margin_nl[own_n].mean(axis=0) - margin_nl[~own_n].mean(axis=0)
    # Decisions are float32, of magnitudes up to a hundred.
    np.testing.assert_allclose(contribution_lf.sum(axis=1), wanted_l, atol=1e-4)
    assert np.abs(wanted_l).max() > 0.1
    if kind is Kind.LINEAR:
        assert (expression(annotator.sampled(block, np.arange(N_CELLS))) > slopes.ceiling_f).any(), (
            "some values are clipped"
        )


def test_only_every_so_many_rows_of_the_file_are_sampled_and_only_features() -> None:
    card, tensors = linear()
    feature_g = np.arange(N_FEATURES, dtype=np.int32)
    feature_g[-1] = -1
    values_ng = np.random.default_rng(4).poisson(1.0, (N_CELLS, N_FEATURES))
    block = block_of(values_ng, start=256).on(feature_g)
    found = Annotator(card, tensors, feature_g, CPU).sampled(block, every(7, 256, N_CELLS))
    rows = [row for row in range(256, 256 + N_CELLS) if row % 7 == 0]
    assert (256 + found.place_m).tolist() == rows
    wanted_mg = np.log1p(values_ng / values_ng.sum(axis=1, keepdims=True) * 1e4)[np.array(rows) - 256]
    wanted_mg[:, -1] = 0
    np.testing.assert_allclose(expression(found), wanted_mg, rtol=1e-6)


def margins(score_nl: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Each label's score less the mean of all others."""
    others = [np.delete(score_nl, label, axis=1).mean(axis=1) for label in range(score_nl.shape[1])]
    margin_nl: npt.NDArray[np.float64] = score_nl - np.stack(others, axis=1)
    return margin_nl


def expression(cells: SampledCells) -> npt.NDArray[np.float64]:
    """Sampled cells as a dense matrix."""
    dense = np.zeros((len(cells.place_m), N_FEATURES))
    row_z = np.repeat(np.arange(len(cells.place_m)), np.diff(cells.indptr_m))
    dense[row_z, cells.feature_z] = cells.value_z
    return dense
