from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.engine.annotator import BlockScores
from jobs.engine.kinds.linear import Linear, arithmetic_of
from shared.bundles.card import Activation
from tests.engine.blocks import Block, Scorer, block_of
from tests.engine.cards import make_card, make_tensors

CPU = torch.device("cpu")
UNIT = 2.0**-24
"""Half the distance between 1 and the next float32: the relative error of one rounding."""


@dataclass(frozen=True, slots=True)
class Case:
    counts_ng: npt.NDArray[np.float32]
    gene_to_feature: npt.NDArray[np.int32]
    n_features: int
    n_labels: int
    scale: float
    clip_max: float | None
    seed: int


@st.composite
def cases(draw: st.DrawFn) -> Case:
    n_genes, n_features = draw(st.integers(1, 30)), draw(st.integers(1, 20))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    depth = draw(st.sampled_from([0.05, 1.0, 200.0]))
    counts = random.poisson(random.gamma(0.3, depth, (draw(st.integers(1, 8)), n_genes)))
    counts[random.random(len(counts)) < 0.2] = 0
    mapped = random.permutation(np.concatenate([np.arange(n_features), np.full(n_genes, -1)]))[:n_genes]
    if (mapped < 0).all():
        mapped[0] = 0
    return Case(
        counts_ng=counts.astype(np.float32),
        gene_to_feature=mapped.astype(np.int32),
        n_features=n_features,
        n_labels=draw(st.integers(2, 6)),
        scale=draw(st.sampled_from([0.01, 1.0, 50.0])),
        clip_max=draw(st.sampled_from([None, 0.5, 10.0])),
        seed=draw(st.integers(0, 2**16)),
    )


def dense(case: Case, tensors: dict[str, torch.Tensor]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The formula as it is written in papers, in float64, and how far from it our arithmetic may come.

    The bound is the usual one for a sum of k terms: each term carries at most 6 roundings (two quotients, the
    logarithm, scaling, its weight, the product), the sum k more, the result one for itself.
    """
    coef, intercept, mean, std = (tensors[name].double().numpy() for name in ("coef", "intercept", "mean", "std"))
    genes = np.flatnonzero(case.gene_to_feature >= 0)
    features = case.gene_to_feature[genes]
    totals = case.counts_ng.sum(axis=1, keepdims=True, dtype=np.float64)
    x = np.log1p(case.counts_ng.astype(np.float64) / np.where(totals == 0, 1, totals) * 1e4)[:, genes]
    clip = np.inf if case.clip_max is None else case.clip_max
    z = np.minimum((x - mean[features]) / std[features], clip)
    z0 = np.minimum(-mean[features] / std[features], clip)
    decision = z @ coef[:, features].T + intercept
    terms = np.abs(z - z0) @ np.abs(coef[:, features]).T
    return decision, UNIT * ((6 + len(features)) * terms + 2 * np.abs(decision) + 1e-6)


def annotate(case: Case, tensors: dict[str, torch.Tensor], **changes: object) -> BlockScores:
    card = make_card(case.n_labels, case.n_features, clip_max=case.clip_max, **changes)
    annotator = Scorer.of(card, tensors, case.gene_to_feature, CPU)
    return annotator.annotate(block_of(case.counts_ng))


@settings(max_examples=150, deadline=None)
@given(cases())
def test_decisions_are_those_of_the_dense_formula_over_the_matched_features(case: Case) -> None:
    tensors = make_tensors(case.n_labels, case.n_features, seed=case.seed, scale=case.scale)
    expected, bound = dense(case, tensors)
    found = annotate(case, tensors).decision_nl
    assert found.dtype == np.float32
    assert (np.abs(found - expected) <= bound).all()


@settings(max_examples=50, deadline=None)
@given(cases(), st.sampled_from(Activation), st.sampled_from([0.3, 1.0, 4.0]))
def test_probabilities_are_the_activation_of_the_decisions_over_the_temperature(
    case: Case, activation: Activation, temperature: float
) -> None:
    tensors = make_tensors(case.n_labels, case.n_features, seed=case.seed, scale=case.scale)
    plain = annotate(case, tensors).decision_nl.astype(np.float64)
    scores = annotate(case, tensors, activation=activation, temperature=temperature)
    # Dividing and rounding once more: 2 units of the result.
    np.testing.assert_allclose(scores.decision_nl, plain / temperature, rtol=4 * UNIT, atol=1e-30)
    decision = scores.decision_nl.astype(np.float64)
    shifted = np.exp(decision - decision.max(axis=1, keepdims=True))
    with np.errstate(over="ignore"):
        expected = 1 / (1 + np.exp(-decision))
    if activation is Activation.SOFTMAX:
        expected = shifted / shifted.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(scores.probability_nl, expected, rtol=1e-5, atol=1e-7)


def wide_case(n_cells: int = 256, n_genes: int = 3_000) -> tuple[Block, npt.NDArray[np.int32]]:
    random = np.random.default_rng(7)
    block = block_of(random.poisson(random.gamma(0.2, 2.0, (n_cells, n_genes))))
    return block, random.permutation(n_genes).astype(np.int32)


@pytest.mark.parametrize("scale", [0.001, 20.0])
def test_the_same_block_gives_the_same_bytes_with_any_number_of_threads(scale: float) -> None:
    block, mapped = wide_case()
    before = torch.get_num_threads()
    found = set()
    try:
        for threads in (1, 2, 3, 7):
            torch.set_num_threads(threads)
            tensors = make_tensors(40, 3_000, scale=scale)
            scores = Scorer.of(make_card(40, 3_000), tensors, mapped, CPU).annotate(block)
            found.add(scores.decision_nl.tobytes() + scores.probability_nl.tobytes())
    finally:
        torch.set_num_threads(before)
    assert len(found) == 1


def test_a_cell_scores_the_same_alone_as_among_others() -> None:
    block, mapped = wide_case()
    annotator = Scorer.of(make_card(40, 3_000), make_tensors(40, 3_000), mapped, CPU)
    together = annotator.annotate(block)
    lone = slice(int(block.indptr[100]), int(block.indptr[101]))
    values = np.zeros((1, 3_000), np.float32)
    values[0, block.indices[lone]] = block.data[lone]
    alone = annotator.annotate(block_of(values))
    assert alone.decision_nl.tobytes() == together.decision_nl[100:101].tobytes()


def test_float32_is_used_only_where_the_scores_are_small_enough_for_it() -> None:
    card = make_card(5, 50)
    assert arithmetic_of(Linear().weights(card, make_tensors(5, 50, scale=0.01))) is torch.float32
    assert arithmetic_of(Linear().weights(card, make_tensors(5, 50, scale=50.0))) is torch.float64


def test_probabilities_of_a_model_with_huge_weights_keep_to_1e_5() -> None:
    # As SGD models are: decisions of thousands, each the difference of sums as large.
    block, mapped = wide_case(n_cells=64)
    tensors = make_tensors(40, 3_000, scale=20.0)
    case = Case(_dense_values(block, 3_000), mapped, 3_000, 40, 20.0, 10.0, 0)
    expected, _ = dense(case, tensors)
    found = annotate(case, tensors)
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(found.probability_nl, 1 / (1 + np.exp(-expected)), rtol=0, atol=1e-5)


def _dense_values(block: Block, n_genes: int) -> npt.NDArray[np.float32]:
    values = np.zeros((len(block.rows), n_genes), np.float32)
    values[np.repeat(np.arange(len(block.rows)), np.diff(block.indptr)), block.indices] = block.data
    return values
