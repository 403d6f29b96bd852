from __future__ import annotations

from dataclasses import replace

import anndata
import numpy as np
import pytest
import scanpy
import scipy.sparse as sp
import torch

from shared.bundles.card import Kind, ModelCard
from shared.domain.errors import CelldropError, InternalError, InvalidBundleError, NoGeneOverlapError
from shared.domain.geometry import Rows
from tests.engine.blocks import Block, Scorer, block_of
from tests.engine.cards import (
    identity_model,
    make_card,
    make_centroid,
    make_encoded,
    make_neighbours,
    make_neural,
    make_tensors,
)

CPU = torch.device("cpu")
COUNTS_NG = np.random.default_rng(3).poisson(1.5, (20, 12)).astype(np.float32)
COUNTS_NG[4] = 0


def expression(values_ng: np.ndarray, target_sum: float = 1e4, *, as_it_is: bool = False) -> np.ndarray:
    card, tensors = identity_model(values_ng.shape[1], target_sum=target_sum)
    genes = np.arange(values_ng.shape[1], dtype=np.int32)
    return Scorer.of(card, tensors, genes, CPU, as_it_is=as_it_is).annotate(block_of(values_ng)).decision_nl


@pytest.mark.filterwarnings("ignore:Some cells have zero counts")
@pytest.mark.parametrize("target_sum", [1e4, 1e6, 300.0])
def test_counts_become_what_scanpy_makes_of_them(target_sum: float) -> None:
    cells = anndata.AnnData(sp.csr_matrix(COUNTS_NG))
    scanpy.pp.normalize_total(cells, target_sum=target_sum)
    scanpy.pp.log1p(cells)
    # numpy's and torch's log1p may differ in the last bit: one unit is 1.2e-7.
    np.testing.assert_allclose(expression(COUNTS_NG, target_sum), cells.X.toarray(), rtol=1.3e-7, atol=0)


def test_a_model_that_needs_float64_is_given_logarithms_that_were_rounded_once() -> None:
    # So that they are the same on every device; the identity is such a model, as nothing is known of its genes.
    total_n = COUNTS_NG.sum(axis=1, keepdims=True)
    quotient_ng = COUNTS_NG / np.maximum(total_n / np.float32(1e4), np.float32(1e-9))
    wanted = np.log1p(quotient_ng.astype(np.float64)).astype(np.float32)
    assert expression(COUNTS_NG).tobytes() == wanted.tobytes()
    rescaled = np.log1p(np.expm1(wanted.astype(np.float64)) * 100).astype(np.float32)
    assert expression(wanted, 1e6, as_it_is=True).tobytes() == rescaled.tobytes()


@pytest.mark.parametrize("kind", Kind)
def test_weights_that_make_infinite_scores_are_refused(kind: Kind) -> None:
    """Each of them is in the limits of a bundle; a label by such scores would mean nothing."""
    made: dict[Kind, tuple[ModelCard, dict[str, torch.Tensor]]] = {
        Kind.LINEAR: (make_card(3, 12), make_tensors(3, 12)),
        Kind.CENTROID: make_centroid(3, 12),
        Kind.NEIGHBOURS: make_neighbours(3, 12),
        Kind.NEURAL: make_neural(3, 12),
        Kind.ENCODED: make_encoded(3, 12),
    }
    card, tensors = made[kind]
    if kind not in {Kind.NEURAL, Kind.ENCODED}:
        tensors |= {"mean": torch.full((12,), 1e15), "std": torch.full((12,), 1e-15)}
    tensors |= {
        name: torch.full_like(tensors[name], 1e15) for name in tensors if name not in {"mean", "std", "reference_label"}
    }
    with pytest.raises(InvalidBundleError, match="float32"):
        Scorer.of(card, tensors, np.arange(12, dtype=np.int32), CPU).annotate(block_of(COUNTS_NG))


def test_totals_are_over_all_genes_of_the_file_matched_or_not() -> None:
    card, tensors = identity_model(2)
    genes = np.array([-1, 0, -1, 1], np.int32)
    scores = Scorer.of(card, tensors, genes, CPU).annotate(block_of([[5, 1, 3, 1]]))
    np.testing.assert_allclose(scores.decision_nl, np.log1p([[1000, 1000]]), rtol=1e-6)


def test_log1p_of_10_000_is_used_as_it_is() -> None:
    wanted = np.log1p(COUNTS_NG)
    assert expression(wanted, as_it_is=True).tobytes() == wanted.tobytes()


@pytest.mark.parametrize("factor", [0.001, 0.3, 7.0, 100.0])
def test_what_is_proportional_to_counts_comes_to_the_same_expression(factor: float) -> None:
    # A cell's own total is divided by: whatever it was scaled to goes away. Twice rounded: two units in the last place.
    np.testing.assert_allclose(expression(COUNTS_NG * np.float32(factor)), expression(COUNTS_NG), rtol=3e-7)


def test_log1p_of_10_000_is_rescaled_for_a_model_with_another_target() -> None:
    totals = np.maximum(COUNTS_NG.sum(axis=1, keepdims=True), 1)
    log_cp10k, log_cpm = np.log1p(COUNTS_NG / totals * 1e4), np.log1p(COUNTS_NG / totals * 1e6)
    np.testing.assert_allclose(expression(log_cp10k, 1e6, as_it_is=True), log_cpm, rtol=1e-5)


def annotator(*, as_it_is: bool = False) -> Scorer:
    genes = np.array([3, -1, 0, 1, -1, 2, -1, -1, -1, -1, -1, -1], np.int32)
    return Scorer.of(make_card(3, 5), make_tensors(3, 5), genes, CPU, as_it_is=as_it_is)


def test_an_empty_cell_is_scored_as_one_that_expresses_nothing() -> None:
    scores = annotator().annotate(block_of(COUNTS_NG))
    assert np.isfinite(scores.decision_nl).all()
    lone = annotator(as_it_is=True).annotate(block_of(np.zeros((1, 12))))
    assert scores.decision_nl[4].tobytes() == lone.decision_nl[0].tobytes()
    assert scores.facts.total_n is not None
    assert scores.facts.total_n[4] == scores.facts.n_genes_n[4] == 0


@pytest.mark.parametrize("n_cells", [0, 1, 3])
def test_a_block_of_nothing_but_empty_cells_is_no_trouble(n_cells: int) -> None:
    scores = annotator().annotate(block_of(np.zeros((n_cells, 12))))
    assert scores.decision_nl.shape == scores.probability_nl.shape == (n_cells, 3)
    assert scores.facts.n_genes_n.shape == (n_cells,)


def test_totals_and_genes_of_a_cell_are_told() -> None:
    scores = annotator().annotate(block_of(COUNTS_NG))
    assert scores.facts.total_n is not None
    assert scores.facts.total_n.dtype == np.float32
    assert scores.facts.total_n.tolist() == COUNTS_NG.sum(axis=1).tolist()
    assert scores.facts.n_genes_n.dtype == np.int32
    assert scores.facts.n_genes_n.tolist() == (COUNTS_NG > 0).sum(axis=1).tolist()


def test_totals_are_not_told_of_values_used_as_they_are() -> None:
    scores = annotator(as_it_is=True).annotate(block_of(COUNTS_NG))
    assert scores.facts.total_n is None
    assert scores.facts.n_genes_n.tolist() == (COUNTS_NG > 0).sum(axis=1).tolist()


def test_stored_zeros_change_nothing() -> None:
    plain = block_of(COUNTS_NG)
    filled = Block(
        plain.rows,
        np.arange(21, dtype=np.int64) * 12,
        np.tile(np.arange(12, dtype=np.int32), 20),
        COUNTS_NG.ravel(),
    )
    one, other = annotator().annotate(plain), annotator().annotate(filled)
    assert one.decision_nl.tobytes() == other.decision_nl.tobytes()
    assert one.facts.n_genes_n.tolist() == other.facts.n_genes_n.tolist()


def test_read_only_memory_is_taken_without_a_warning() -> None:
    block = block_of(COUNTS_NG)
    for array in (block.indptr, block.indices, block.data):
        array.flags.writeable = False
    expected = annotator().annotate(block_of(COUNTS_NG))
    assert annotator().annotate(block).decision_nl.tobytes() == expected.decision_nl.tobytes()


def test_large_counts_are_summed_without_loss() -> None:
    card, tensors = identity_model(3)
    block = block_of([[2**24, 1, 1]])
    scores = Scorer.of(card, tensors, np.arange(3, dtype=np.int32), CPU).annotate(block)
    assert scores.facts.total_n is not None
    assert scores.facts.total_n[0] == 2**24 + 2


@pytest.mark.parametrize(
    ("genes", "error"),
    [([-1, -1], NoGeneOverlapError), ([0, 5], InternalError)],
)
def test_a_gene_map_that_cannot_be_is_refused(genes: list[int], error: type[CelldropError]) -> None:
    with pytest.raises(error):
        Scorer.of(make_card(3, 5), make_tensors(3, 5), np.array(genes, np.int32), CPU)


def test_weights_of_another_model_are_refused() -> None:
    with pytest.raises(InvalidBundleError, match="coef"):
        Scorer.of(make_card(3, 5), make_tensors(4, 5), np.arange(5, dtype=np.int32), CPU)


def test_a_block_whose_arrays_disagree_is_a_fault_of_ours() -> None:
    scorer = annotator()
    block = block_of(COUNTS_NG).on(scorer.gene_to_feature)
    with pytest.raises(AssertionError):
        scorer.annotator.annotate(replace(block, rows=Rows(0, 3)))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("scale", [0.001, 20.0])
def test_a_gpu_says_what_the_cpu_says(scale: float) -> None:
    random = np.random.default_rng(7)
    block, genes = block_of(random.poisson(random.gamma(0.2, 2.0, (256, 3_000)))), np.arange(3_000, dtype=np.int32)
    card, tensors = make_card(40, 3_000), make_tensors(40, 3_000, scale=scale)
    one, other = (Scorer.of(card, tensors, genes, torch.device(kind)).annotate(block) for kind in ("cpu", "cuda"))
    assert one.decision_nl.argmax(axis=1).tolist() == other.decision_nl.argmax(axis=1).tolist()
    np.testing.assert_allclose(one.probability_nl, other.probability_nl, rtol=0, atol=1e-5)
