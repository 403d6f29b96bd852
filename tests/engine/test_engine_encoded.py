"""The encoded kind against torch's own layers and a count of votes by hand."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from jobs.engine.kinds.encoded import Encoded, Encoder
from shared.bundles.kinds import EncodedCard
from tests.engine.blocks import Scorer, block_of, on_threads
from tests.engine.cards import make_encoded

CPU = torch.device("cpu")
Floats = npt.NDArray[np.float64]
Tensors = dict[str, torch.Tensor]


def counts(seed: int, n_cells: int, n_genes: int) -> npt.NDArray[np.float32]:
    random = np.random.default_rng(seed)
    return random.poisson(random.gamma(0.5, 4.0, (n_cells, n_genes))).astype(np.float32)


def embedded(tensors: Tensors, counts_ng: npt.NDArray[np.float32]) -> Floats:
    """The same in torch's own layers, dense."""
    totals_n1 = np.maximum(counts_ng.sum(axis=1, keepdims=True, dtype=np.float64), 1e-9)
    value = torch.from_numpy(np.log1p(counts_ng / totals_n1 * 1e4))
    matrices = [tensors["encoder_input"], *tensors["encoder_hidden"]]
    for weight, bias, slope in zip(matrices, tensors["encoder_bias"], tensors["encoder_slope"], strict=True):
        value = torch.nn.functional.prelu(torch.nn.functional.linear(value, weight, bias), slope)
    value = torch.nn.functional.linear(value, tensors["latent"], tensors["latent_bias"])
    found: Floats = torch.nn.functional.normalize(value).numpy()
    return found


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**16), st.integers(1, 3))
def test_coordinates_are_those_of_torchs_own_layers(seed: int, n_layers: int) -> None:
    card, tensors = make_encoded(4, 12, n_encoder_layers=n_layers, seed=seed, dtype=torch.float64)
    counts_ng = counts(seed, 9, 12)
    block = block_of(counts_ng).on(np.arange(12, dtype=np.int32))
    encoder = Encoder(Encoded().weights(card, tensors))
    arrays = (np.log1p(block.value), block.feature, block.indptr)
    np.testing.assert_allclose(encoder(*map(torch.from_numpy, arrays)), embedded(tensors, counts_ng), rtol=0, atol=1e-4)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**16), st.sampled_from([1, 2, 8, 40]))
def test_votes_are_counted_and_the_nearest_decides_between_equals(seed: int, k: int) -> None:
    card, tensors = make_encoded(4, 12, k=k, seed=seed, dtype=torch.float64)
    counts_ng = counts(seed, 12, 12)
    tensors["reference"] = tensors["reference"].float()
    scores = Scorer.of(card, tensors, np.arange(12, dtype=np.int32), CPU).annotate(block_of(counts_ng))
    away_nr = 1 - embedded(tensors, counts_ng) @ tensors["reference"].double().numpy().T
    for away_r, decision_l, probability_l in zip(away_nr, scores.decision_nl, scores.probability_nl, strict=True):
        labels = [place % 4 for place in np.argsort(away_r, kind="stable")[:k].tolist()]
        votes: dict[int, int] = {}
        for label in labels:  # The first of equal votes is that of the nearest neighbour, as a dict keeps its order.
            votes[label] = votes.get(label, 0) + 1
        assert int(decision_l.argmax()) == max(votes, key=lambda label: votes[label])
        wanted_l = [(votes.get(label, 0) + 0.25) / (k + 1) for label in range(4)]
        np.testing.assert_allclose(probability_l, wanted_l, rtol=0, atol=4e-3)


def test_other_genes_of_the_file_have_no_effect_and_missing_ones_are_not_expressed() -> None:
    card, tensors = make_encoded(4, 20, seed=5)
    counts_ng = counts(5, 30, 26)
    genes = np.array([*range(20), *[-1] * 6], np.int32)
    found = Scorer.of(card, tensors, genes, CPU).annotate(block_of(counts_ng))
    alone = Scorer.of(card, tensors, np.arange(20, dtype=np.int32), CPU).annotate(block_of(counts_ng[:, :20]))
    np.testing.assert_allclose(found.decision_nl, alone.decision_nl, rtol=0, atol=1e-2)
    genes[7:] = -1
    lacking = Scorer.of(card, tensors, genes, CPU).annotate(block_of(counts_ng))
    counts_ng[:, 7:20] = 0
    zero = Scorer.of(card, tensors, np.array([*range(20), *[-1] * 6], np.int32), CPU).annotate(block_of(counts_ng))
    assert (lacking.decision_nl.argmax(axis=1) == zero.decision_nl.argmax(axis=1)).all()


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_a_cell_scores_the_same_alone_and_with_any_number_of_threads(threads: int) -> None:
    card, tensors = make_encoded(40, 500, n_hidden=64, n_components=16, n_reference=3_000, k=50, seed=1)
    annotator = Scorer.of(card, tensors, np.arange(500, dtype=np.int32), CPU)
    counts_ng = counts(1, 128, 500)
    counts_ng[17] = 0
    together = on_threads(threads, lambda: annotator.annotate(block_of(counts_ng)).decision_nl)
    alone = np.concatenate([annotator.annotate(block_of(counts_ng[i : i + 1])).decision_nl for i in range(128)])
    assert alone.tobytes() == together.tobytes()


def test_more_neighbours_than_reference_cells_are_refused() -> None:
    card, _ = make_encoded(3, 5)
    with pytest.raises(ValidationError, match="k must be at most the number of reference cells"):
        EncodedCard.model_validate(card.model_dump() | {"k": 41})
