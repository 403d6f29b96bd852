"""The neural kind against torch's own layers, and what it asks of the values."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from jobs.engine.annotator import Annotator
from jobs.engine.kinds.neural import Neural
from shared.bundles.kinds import NeuralCard
from shared.domain.errors import CountsNeededError
from shared.domain.verdict import CellNote
from tests.engine.blocks import Scorer, block_of, on_threads
from tests.engine.cards import make_neural

CPU = torch.device("cpu")
Floats = npt.NDArray[np.float64]
Tensors = dict[str, torch.Tensor]


def counts(seed: int, n_cells: int, n_genes: int) -> npt.NDArray[np.float32]:
    random = np.random.default_rng(seed)
    return random.poisson(random.gamma(0.5, 4.0, (n_cells, n_genes))).astype(np.float32)


def hidden(tensors: Tensors, part: str, *, layer_norm: bool) -> list[torch.nn.Module]:
    layers: list[torch.nn.Module] = []
    matrices = [tensors[f"{part}_input"], *tensors[f"{part}_hidden"]]
    for weight, bias in zip(matrices, tensors[f"{part}_bias"], strict=False):
        layers.append(linear(weight, bias))
        if layer_norm:
            layers.append(torch.nn.LayerNorm(len(bias), elementwise_affine=False))
        layers.append(torch.nn.ReLU())
    return layers


def linear(weight: torch.Tensor, bias: torch.Tensor) -> torch.nn.Linear:
    layer = torch.nn.Linear(weight.shape[1], weight.shape[0], dtype=torch.float64)
    layer.load_state_dict({"weight": weight, "bias": bias})
    return layer


def network(card: NeuralCard, tensors: Tensors) -> torch.nn.Sequential:
    """The same in torch's own layers, dense."""
    return torch.nn.Sequential(
        *hidden(tensors, "encoder", layer_norm=card.encoder_layer_norm),
        linear(tensors["latent"], tensors["latent_bias"]),
        *hidden(tensors, "classifier", layer_norm=card.classifier_layer_norm),
        linear(tensors["output"], tensors["output_bias"]),
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**16), st.integers(1, 3), st.integers(0, 3), st.booleans(), st.booleans())
def test_scores_are_those_of_torchs_own_layers(
    seed: int, n_encoder_layers: int, n_classifier_layers: int, layer_norm: bool, log1p: bool
) -> None:
    sizes = {"n_encoder_layers": n_encoder_layers, "n_classifier_layers": n_classifier_layers}
    card, tensors = make_neural(4, 12, **sizes, layer_norm=layer_norm, log1p=log1p, seed=seed, dtype=torch.float64)
    counts_ng = counts(seed, 9, 12)
    found = Scorer.of(card, tensors, np.arange(12, dtype=np.int32), CPU).annotate(block_of(counts_ng))
    input_ng = np.log1p(counts_ng.astype(np.float64)) if log1p else counts_ng.astype(np.float64)
    with torch.inference_mode():
        scores_nl = network(card, tensors)(torch.from_numpy(input_ng))
    # The logarithms are rounded to float32, by 6e-8 of at most 5 each; twelve of them, and a few layers of random
    # weights, make at most a hundred times that.
    np.testing.assert_allclose(found.decision_nl, scores_nl.numpy(), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.probability_nl, scores_nl.softmax(dim=1).numpy(), atol=1e-4)


def test_a_gene_that_the_file_lacks_counts_as_not_expressed() -> None:
    card, tensors = make_neural(4, 20, seed=5)
    counts_ng = counts(5, 30, 20)
    lacking = np.arange(20, dtype=np.int32)
    lacking[7:] = -1
    found = Scorer.of(card, tensors, lacking, CPU).annotate(block_of(counts_ng))
    counts_ng[:, 7:] = 0
    zero = Scorer.of(card, tensors, np.arange(20, dtype=np.int32), CPU).annotate(block_of(counts_ng))
    assert found.decision_nl.tobytes() == zero.decision_nl.tobytes()


def test_genes_that_are_no_features_have_no_effect() -> None:
    card, tensors = make_neural(4, 20, seed=5)
    counts_ng = counts(5, 30, 26)
    genes = np.array([*range(20), *[-1] * 6], np.int32)
    found = Scorer.of(card, tensors, genes, CPU).annotate(block_of(counts_ng))
    alone = Scorer.of(card, tensors, np.arange(20, dtype=np.int32), CPU).annotate(block_of(counts_ng[:, :20]))
    assert found.decision_nl.tobytes() == alone.decision_nl.tobytes()


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_a_cell_scores_the_same_alone_and_with_any_number_of_threads(threads: int) -> None:
    card, tensors = make_neural(40, 500, n_hidden=128, n_latent=10, layer_norm=True, seed=1)
    annotator = Scorer.of(card, tensors, np.arange(500, dtype=np.int32), CPU)
    counts_ng = counts(1, 256, 500)
    counts_ng[17] = 0
    together = on_threads(threads, lambda: annotator.annotate(block_of(counts_ng)).decision_nl)
    alone = np.concatenate([annotator.annotate(block_of(counts_ng[i : i + 1])).decision_nl for i in range(256)])
    assert alone.tobytes() == together.tobytes()


def test_values_that_are_no_counts_are_refused() -> None:
    card, tensors = make_neural(3, 5)
    with pytest.raises(CountsNeededError, match="not counts"):
        Annotator(card, tensors, np.arange(5, dtype=np.int32), CPU, counted=False)


def test_a_cell_that_was_converted_is_unclear_to_a_model_of_counts() -> None:
    card, tensors = make_neural(3, 5)
    genes = np.arange(5, dtype=np.int32)
    block = block_of(counts(2, 3, 5) + 1).on(genes)
    block.note_n[:] = [CellNote.NONE, CellNote.CONVERTED, CellNote.SILENT]
    facts = Annotator(card, tensors, genes, CPU).annotate(block).facts
    assert facts.note_n.tolist() == [CellNote.NONE, CellNote.UNCLEAR, CellNote.SILENT]


def test_the_cost_is_that_of_all_weights() -> None:
    on = make_neural(3, 12, n_hidden=6, n_encoder_layers=2, n_latent=4, n_classifier_layers=1)[0]
    assert Neural().flops_per_cell(on) == 2 * (6 * 12 + 6 * 6 + 4 * 6 + 6 * 4 + 3 * 6)


@pytest.mark.parametrize("changes", [{"n_classifier_layers": 0}, {"n_classifier_hidden": 0}], ids=str)
def test_hidden_layers_without_a_width_are_refused(changes: dict[str, int]) -> None:
    card, _ = make_neural(3, 12)
    with pytest.raises(ValidationError, match="must both be 0 or both above 0"):
        NeuralCard.model_validate(card.model_dump() | changes)
