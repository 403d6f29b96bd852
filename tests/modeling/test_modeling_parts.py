"""The parts of training: statistics, splits, thinning, calibration."""

from __future__ import annotations

import numpy as np
import pytest
import scanpy as sc
import scipy.sparse as sp
from anndata import AnnData
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_selection import f_classif

from jobs.modeling.calibration import abstention_threshold, best_temperature, calibration_error, softmax
from jobs.modeling.expression import log_normalise, thin
from jobs.modeling.features import distinct_genes, gene_statistics, genes_also_in
from jobs.modeling.splits import at_most, folds, hold_out
from shared.bundles.card import Features
from tests.modeling.synthetic import SMALL

sizes = st.lists(st.integers(2, 30), min_size=2, max_size=6)


def classes(drawn: list[int]) -> np.ndarray:
    return np.repeat(np.arange(len(drawn)), drawn).astype(np.int64)


def test_statistics_are_those_of_scikit_learn() -> None:
    cells = SMALL.cells()
    expression_ng = log_normalise(cells.value_ng)
    dense_ng = expression_ng.toarray().astype(np.float64)
    found = gene_statistics(expression_ng, cells.class_n, 3)
    np.testing.assert_allclose(found.f_g, f_classif(dense_ng, cells.class_n)[0], rtol=1e-9)
    np.testing.assert_allclose(found.mean_g, dense_ng.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.std_g, dense_ng.std(axis=0), rtol=1e-9)
    np.testing.assert_array_equal(found.n_cells_g, (dense_ng > 0).sum(axis=0))


def test_a_constant_gene_tells_nothing_and_divides_nothing() -> None:
    expression_ng = sp.csr_matrix(np.array([[1.1, 0.0], [1.1, 0.0], [1.1, 0.0], [1.1, 0.0]], dtype=np.float32))
    found = gene_statistics(expression_ng, np.array([0, 0, 1, 1]), 2)
    assert found.f_g.tolist() == [0.0, 0.0]
    assert found.std_g.tolist() == [1.0, 1.0]


def test_expression_is_scanpys() -> None:
    adata = AnnData(SMALL.cells().value_ng.copy())
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    np.testing.assert_allclose(log_normalise(SMALL.cells().value_ng).toarray(), adata.X.toarray(), rtol=1e-6)


def test_an_empty_cell_stays_empty() -> None:
    assert log_normalise(sp.csr_matrix(np.zeros((2, 3), dtype=np.float32))).nnz == 0


def test_thinning_keeps_whole_counts_and_the_share_asked_for() -> None:
    counts_ng = sp.csr_matrix(np.full((400, 50), 20.0, dtype=np.float32))
    thinned = thin(counts_ng, 0.5, np.random.default_rng(0))
    assert (thinned.data == np.round(thinned.data)).all()
    assert thinned.max() <= 20
    # Shares are even on 0.5 to 1: 400 cells give their mean, 0.75, a standard error of 0.007.
    assert thinned.sum() / counts_ng.sum() == pytest.approx(0.75, abs=0.03)


@given(sizes, st.floats(0.05, 0.5), st.integers(0, 5))
def test_every_label_is_held_out_in_its_share(drawn: list[int], share: float, seed: int) -> None:
    class_n = classes(drawn)
    held_n = hold_out(class_n, share, np.random.default_rng(seed))
    for label, size in enumerate(drawn):
        n_held = int(held_n[class_n == label].sum())
        assert 1 <= n_held <= size - 1
        assert abs(n_held - size * share) <= 1


@given(sizes, st.integers(2, 5), st.integers(0, 5))
def test_folds_are_of_one_size_overall_and_within_each_label(drawn: list[int], n_folds: int, seed: int) -> None:
    class_n = classes(drawn)
    fold_n = folds(class_n, n_folds, np.random.default_rng(seed))
    for cells in (fold_n, *(fold_n[class_n == label] for label in range(len(drawn)))):
        counts = np.bincount(cells, minlength=n_folds)
        assert counts.max() - counts.min() <= 1


@given(sizes, st.integers(10, 100), st.integers(0, 5))
def test_sampling_keeps_rare_labels_whole(drawn: list[int], n_cells: int, seed: int) -> None:
    class_n = classes(drawn)
    chosen = at_most(class_n, n_cells, np.random.default_rng(seed))
    assert len(chosen) <= n_cells
    assert (np.diff(chosen) > 0).all()
    kept = np.bincount(class_n[chosen], minlength=len(drawn))
    cut = [count for count, size in zip(kept, drawn, strict=True) if count < size]
    assert len(set(cut)) <= 1
    assert all(count >= 1 for count in kept)


def test_a_repeated_gene_is_used_once() -> None:
    genes = Features(symbol=("A", "B", "A", None), ensembl=("E1", "E1", "E3", None))
    assert distinct_genes(genes).tolist() == [True, False, False, False]


def test_genes_are_found_by_either_name() -> None:
    genes = Features(symbol=("A", "B", "C"), ensembl=("E1", "E2", None))
    assert genes_also_in(genes, Features(symbol=("A", "X"), ensembl=("E9", "E2"))).tolist() == [True, True, False]


@pytest.mark.parametrize("truth", [0.5, 1.0, 3.0])
def test_the_temperature_that_made_the_labels_is_found(truth: float) -> None:
    generator = np.random.default_rng(1)
    decision_nl = generator.normal(0.0, 2.0, (20_000, 4))
    cumulative_nl = softmax(decision_nl, truth).cumsum(axis=1)
    class_n = (generator.random((20_000, 1)) > cumulative_nl).sum(axis=1).clip(max=3)
    # The likelihood's curvature gives log(temperature) a standard error of about 0.01 to 0.03 here.
    assert best_temperature(decision_nl, class_n) == pytest.approx(truth, rel=0.1)


@pytest.mark.parametrize("margin", [0.5, 5.0, 100.0])
def test_cells_that_are_all_right_make_no_certainty(margin: float) -> None:
    """Their number says how sure they make: 1 - 1 / (n + 2), whatever the scale of the decision scores."""
    class_n = np.arange(180) % 3
    decision_nl = margin * np.eye(3)[class_n]
    score_n = softmax(decision_nl, best_temperature(decision_nl, class_n)).max(axis=1)
    assert score_n == pytest.approx(1 - 1 / 182, abs=1e-3)


def test_honest_scores_have_no_calibration_error() -> None:
    score_n, correct_n = np.full(100, 0.8), np.arange(100) < 80
    assert calibration_error(score_n, correct_n) == pytest.approx(0.0, abs=1e-12)
    assert calibration_error(np.full(100, 0.5), correct_n) == pytest.approx(0.3)


def test_the_threshold_lets_at_most_the_share_abstain() -> None:
    score_n = np.linspace(0.0, 1.0, 1_001)
    assert abstention_threshold(score_n, 0.22) == pytest.approx(0.2)
    assert abstention_threshold(score_n, 0.9) == pytest.approx(0.5)
    assert abstention_threshold(score_n, 0.01) is None
    assert abstention_threshold(score_n, 0.0) is None
