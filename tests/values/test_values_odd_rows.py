"""A few odd cells change neither what the others are taken for, nor leave anything but finite numbers."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import anndata
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from shared.domain.verdict import CellNote, MatrixState, Transform, Verdict
from shared.h5ad.judge.judging import validate
from shared.h5ad.read.settling import Stored, settle
from shared.h5ad.source import BytesSource
from shared.h5ad.values.states import NAMES
from shared.h5ad.values.transforms import SCALED_AFTERWARDS, Floats, RowIndex
from shared.h5ad.values.whole import share_of_uneven
from tests.values.forms import Matrix, as_bytes, each, scaled, totals
from tests.values.test_values_settling import FORWARD, block_of, cells, dense

FORMS = (Transform.LOG1P, Transform.LOG2, Transform.SQRT)
TRANSFORMED = [transform for transform in Transform if transform is not Transform.NONE]


@pytest.fixture(scope="module")
def counts(data_dir: Path) -> Matrix:
    matrix: Matrix = anndata.read_h5ad(data_dir / "h5ad" / "pbmc3k_raw_labelled.h5ad").X.tocsr()[:300]
    return matrix[:, matrix.getnnz(axis=0) > 0]  # A third of the genes, and every count.


def corrected(counts: Matrix, seed: int = 0) -> Matrix:
    """As a correction for ambient RNA leaves them: no multiples of one count."""
    made = counts.astype(np.float64)
    made.data = made.data * np.random.default_rng(seed).gamma(20, 1 / 20, made.nnz)
    return made


def judged(matrix: Matrix) -> Verdict:
    verdict = validate(BytesSource(as_bytes(anndata.AnnData(matrix.astype(np.float32)))))
    assert verdict.accepted
    return verdict


def test_every_transformation_is_tried_here_and_has_a_name() -> None:
    assert set(FORWARD) | set(SCALED_AFTERWARDS) == set(Transform) == set(NAMES)


@pytest.mark.parametrize("n_odd", [1, 2, 3, 6, 15])
@pytest.mark.parametrize("total", [1e4, 3_333.0])
@pytest.mark.parametrize("transform", FORMS)
def test_a_few_corrected_cells_do_not_change_what_the_others_are(
    counts: Matrix, transform: Transform, total: float, n_odd: int
) -> None:
    usual = each(scaled(counts), FORWARD[transform])
    odd = each(scaled(corrected(counts[-n_odd:]), total), FORWARD[transform])
    mixed = judged(sp.vstack([usual[:-n_odd], odd]).tocsr())
    pure = judged(usual)
    assert mixed.matrix is not None
    assert pure.matrix is not None
    assert (mixed.matrix.state, mixed.matrix.undone) == (pure.matrix.state, pure.matrix.undone)
    assert mixed.matrix.undone is transform


@given(
    st.integers(0, 20),
    st.sampled_from(TRANSFORMED),
    st.booleans(),
    st.integers(0, 39),
    st.sampled_from([1, 16, 1e3, 1e6]),
)
def test_whatever_a_row_holds_is_finite_and_said_to_be_unclear_where_nothing_is_proved(
    seed: int, transform: Transform, counted: bool, odd: int, largest: float
) -> None:
    logs = FORWARD.get(transform, np.log1p)
    usual = each(scaled(cells(seed)), logs)
    strange = corrected(cells(seed + 100), seed)
    strange.data *= largest / strange.data.max()
    mixed = sp.vstack([usual[:odd], strange[odd], usual[odd + 1 :]]).tocsr()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        settled = settle(block_of(mixed), Stored(transform, counts=False, counted=counted))
    assert np.isfinite(dense(settled.block)).all()
    assert np.isfinite(settled.total_n).all()
    if counted or (largest > 20 and transform is not Transform.SQRT):  # Of a root anything can be the square.
        assert settled.note_n[odd] != CellNote.NONE


def test_rounded_logarithms_are_no_proof_of_counts(counts: Matrix) -> None:
    logs = each(scaled(counts), np.log1p)
    deep = np.flatnonzero(np.diff(counts.indptr) >= 400)[:40]
    mixed = sp.vstack([logs[deep[:20]], each(logs[deep[20:]], np.rint)]).tocsr()
    mixed.eliminate_zeros()
    settled = settle(block_of(mixed), Stored(Transform.LOG1P, as_it_is=True, counts=False))
    assert settled.note_n.tolist() == [CellNote.NONE] * 20 + [CellNote.UNCLEAR] * 20


def test_values_over_gene_lengths_among_counts_are_marked(counts: Matrix) -> None:
    lengths = np.random.default_rng(0).lognormal(7.7, 0.8, counts.shape[1])
    tpm = scaled(sp.csr_matrix(counts @ sp.diags(1 / lengths)), 1e6)
    deep = np.flatnonzero(np.diff(counts.indptr) >= 400)[:40]
    mixed = sp.vstack([counts[deep[:20]], tpm[deep[20:30]], scaled(counts[deep[30:]])]).tocsr()
    settled = settle(block_of(mixed), Stored())
    assert settled.note_n.tolist() == [CellNote.NONE] * 20 + [CellNote.UNCLEAR] * 10 + [CellNote.NONE] * 10


def test_cells_of_counts_joined_with_rounded_logarithms_are_doubted(counts: Matrix) -> None:
    floored = each(each(scaled(counts), np.log1p), np.floor)
    mixed = sp.vstack([counts[::2], floored[1::2]]).tocsr()
    mixed.eliminate_zeros()
    assert "UNLIKELY_COUNTS" in [finding.code for finding in judged(mixed).warnings]
    assert "UNLIKELY_COUNTS" not in [finding.code for finding in judged(counts).warnings]


@pytest.mark.parametrize(("total", "round_off"), [(2_200.0, np.rint), (1e4, np.rint), (1e4, np.floor)])
def test_whole_numbers_of_nearly_one_total_were_scaled(
    counts: Matrix, total: float, round_off: Callable[[Floats], Floats]
) -> None:
    verdict = judged(each(scaled(counts, total), round_off))
    assert verdict.matrix is not None
    assert verdict.matrix.state is MatrixState.NORMALISED
    (finding,) = [finding for finding in verdict.warnings if finding.code == "NORMALISED_INPUT"]
    assert "whole numbers that were scaled" in finding.message


def test_cells_that_may_have_been_scaled_to_one_total_and_rounded_are_told_of(counts: Matrix) -> None:
    (doubt,) = [
        finding
        for finding in judged(each(scaled(counts, 1e3), np.floor)).warnings
        if finding.code in {"UNLIKELY_COUNTS", "NORMALISED_INPUT"}
    ]
    assert "rounded" in doubt.message + doubt.hint


def test_counts_that_were_sampled_down_to_one_total_are_counts(counts: Matrix) -> None:
    draw = np.random.default_rng(0).multivariate_hypergeometric
    deep = counts[totals(counts) >= 1_500].toarray().astype(int)
    verdict = judged(sp.csr_matrix([draw(row, 1_500) for row in deep]))
    assert verdict.matrix is not None
    assert verdict.matrix.state is MatrixState.COUNTS


RANKED: Mapping[str, Callable[[Floats], Floats]] = {
    "lowest": lambda values: rankdata(values, "min"),
    "highest": lambda values: rankdata(values, "max"),
    "mean": lambda values: rankdata(values, "average"),
    "from the largest": lambda values: rankdata(-values, "min"),
    "as shares": lambda values: rankdata(values, "average") / len(values),
    "times ten": lambda values: 10 * rankdata(values, "max"),
    "from 0": lambda values: rankdata(values, "min") - 1,
    "from 7.5": lambda values: rankdata(values, "average") + 6.5,
    "logarithms": lambda values: np.log1p(rankdata(values, "min")),
    "logarithms of base 2": lambda values: np.log2(1 + rankdata(values, "dense")),
    "roots": lambda values: np.sqrt(rankdata(values, "max")),
    "scaled logarithms": lambda values: np.log1p(rankdata(values) / rankdata(values).sum() * 1e4),
    "without gaps": lambda values: rankdata(values, "dense"),
    "without gaps, as shares": lambda values: rankdata(values, "dense") / len(set(values)),
}


def by_cell(counts: Matrix, change: Callable[[Floats], Floats]) -> Matrix:
    made = counts.astype(np.float64)
    for row in range(made.shape[0]):
        place = slice(made.indptr[row], made.indptr[row + 1])
        made.data[place] = change(made.data[place])
    return made


@pytest.mark.parametrize("form", RANKED)
def test_ranks_of_whatever_sort_are_refused(counts: Matrix, form: str) -> None:
    verdict = validate(BytesSource(as_bytes(anndata.AnnData(by_cell(counts, RANKED[form])))))
    assert [finding.code for finding in verdict.refusals] == ["NO_USABLE_MATRIX"]
    assert "are ranks" in verdict.refusals[0].message


def test_cells_of_ranks_among_cells_of_counts_are_doubted(counts: Matrix) -> None:
    mixed = sp.vstack([counts[::2], by_cell(counts[1::2], RANKED["lowest"])]).tocsr()
    (doubt,) = [finding for finding in judged(mixed).warnings if finding.code == "UNLIKELY_COUNTS"]
    assert "are ranks" in doubt.message


@pytest.mark.parametrize(("factor", "round_off"), [(1.0, np.floor), (1.0, np.rint), (0.7, np.floor)])
def test_counts_scaled_to_their_own_totals_and_rounded_are_no_counts(
    counts: Matrix, factor: float, round_off: Callable[[Floats], Floats]
) -> None:
    total = factor * float(np.median(totals(counts)))
    verdict = judged(each(scaled(counts, total), round_off))
    assert verdict.matrix is not None
    assert verdict.matrix.state is MatrixState.NORMALISED
    assert any("before they were rounded" in finding.message for finding in verdict.warnings)


@given(st.integers(0, 10_000), st.floats(0.05, 0.9), st.floats(1.0, 40.0))
def test_counts_of_any_depth_and_amplification_are_not_taken_for_rounded_values(
    seed: int, kept: float, reads: float
) -> None:
    """Molecules lost at random, and molecules read many times, where hardly any gene has one read."""
    rng = np.random.default_rng(seed)
    usual = cells(seed)
    thinned = rng.binomial(usual.data.astype(np.int64), kept)
    for values in (thinned, rng.poisson(thinned * reads)):
        rows = [values[a:b][values[a:b] > 0] for a, b in itertools.pairwise(usual.indptr)]
        rows = [row for row in rows if len(row)]
        index = RowIndex.of(np.array([len(row) for row in rows], np.int64))
        assert share_of_uneven(np.concatenate(rows).astype(np.float64), index) <= 0.1


def downsampled(counts: Matrix, total: int) -> Matrix:
    draw = np.random.default_rng(0).multivariate_hypergeometric
    rows = counts.toarray().astype(int)
    return sp.csr_matrix([draw(row, min(total, row.sum())) for row in rows]).astype(np.float32)


def pooled(counts: Matrix, n_cells: int) -> Matrix:
    """Sums of cells, as pseudobulk and metacells are."""
    n_pools = counts.shape[0] // n_cells
    pools = sp.kron(sp.eye(n_pools), np.ones((1, n_cells)))
    return sp.csr_matrix(pools @ counts[: n_pools * n_cells]).astype(np.float32)


def in_all(counts: Matrix) -> Matrix:
    return counts[:, np.asarray((counts > 0).sum(axis=0)).ravel() == counts.shape[0]]


HONEST: Mapping[str, Callable[[Matrix], Matrix]] = {
    "sampled down, then filtered": lambda x: downsampled(x, 1_500)[:, np.asarray((x > 0).sum(axis=0)).ravel() >= 3],
    "sampled down, some cells below that": lambda x: downsampled(x, 2_500),
    "pools of 6": lambda x: pooled(x, 6),
    "pools of 20": lambda x: pooled(x, 20),
    "pools, genes of all": lambda x: in_all(pooled(x, 20)),
    "ten cells": lambda x: x[59:69],
    "a panel without the loudest genes": lambda x: x[:, np.argsort(-np.asarray(x.sum(axis=0)).ravel())[200:2200]],
}


@pytest.mark.parametrize("form", HONEST)
def test_honest_counts_are_counts_without_a_doubt(counts: Matrix, form: str) -> None:
    verdict = judged(HONEST[form](counts))
    assert verdict.matrix is not None
    assert verdict.matrix.state is MatrixState.COUNTS
    doubts = [finding.message for finding in verdict.warnings if finding.code == "UNLIKELY_COUNTS"]
    assert not any("ranks" in doubt or "integer type" in doubt for doubt in doubts)


def test_both_reads_of_each_pair_are_counts(counts: Matrix) -> None:
    rng = np.random.default_rng(0)
    pairs = counts.copy()
    pairs.data = 2 * pairs.data - (rng.random(pairs.nnz) < 0.15)
    verdict = judged(pairs)
    assert verdict.matrix is not None
    assert verdict.matrix.state is MatrixState.COUNTS


def test_one_cell_in_a_few_makes_no_file_rounded(counts: Matrix) -> None:
    deep = counts[np.argsort(-totals(counts))[:11]]
    deep.data[deep.indptr[0] : deep.indptr[1]][deep.data[deep.indptr[0] : deep.indptr[1]] == 2] = 1
    shallow = sp.csr_matrix((np.ones(53 * 50), np.arange(53 * 50), np.arange(54) * 50), shape=(53, counts.shape[1]))
    mixed = sp.vstack([deep, shallow]).tocsr()
    verdict = judged(mixed)
    assert verdict.matrix is not None
    assert verdict.matrix.state is MatrixState.COUNTS


@pytest.mark.parametrize("wrapped", [True, False])
def test_large_counts_that_began_again_from_0_or_were_cut_off_are_doubted(counts: Matrix, wrapped: bool) -> None:
    deep = counts.copy()
    rng = np.random.default_rng(0)
    deep.data = rng.poisson(deep.data * rng.gamma(0.5, 70, deep.nnz)).astype(np.float32)
    deep.eliminate_zeros()
    small = each(deep, lambda values: values % 256 if wrapped else np.minimum(values, 255))
    small.eliminate_zeros()
    (doubt,) = [finding for finding in judged(small).warnings if finding.code == "UNLIKELY_COUNTS"]
    assert "255" in doubt.message
    for larger in (300, 100_000):  # One cell of two values, which is not looked at as the others are.
        odd = sp.csr_matrix(([3, larger], ([0, 0], [5, 9])), shape=(1, counts.shape[1]))
        joined = judged(sp.vstack([small, odd]).tocsr())
        assert not any("no value of X is above" in finding.message for finding in joined.warnings)
    assert "UNLIKELY_COUNTS" not in [finding.code for finding in judged(deep).warnings]
