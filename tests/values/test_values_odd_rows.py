"""A few odd cells change neither what the others are taken for, nor leave anything but finite numbers."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.verdict import CellNote, MatrixState, Transform, Verdict
from shared.h5ad.judge.judging import validate
from shared.h5ad.read.settling import Stored, settle
from shared.h5ad.source import BytesSource
from shared.h5ad.values.states import NAMES
from shared.h5ad.values.transforms import SCALED_AFTERWARDS, Floats
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


@pytest.mark.parametrize(("total", "round_off"), [(1e3, np.floor), (2_200.0, np.rint), (1e4, np.rint), (1e4, np.floor)])
def test_whole_numbers_of_nearly_one_total_were_scaled(
    counts: Matrix, total: float, round_off: Callable[[Floats], Floats]
) -> None:
    verdict = judged(each(scaled(counts, total), round_off))
    assert verdict.matrix is not None
    assert verdict.matrix.state is MatrixState.NORMALISED
    (finding,) = [finding for finding in verdict.warnings if finding.code == "NORMALISED_INPUT"]
    assert "whole numbers that were scaled" in finding.message


def test_counts_that_were_sampled_down_to_one_total_are_counts(counts: Matrix) -> None:
    draw = np.random.default_rng(0).multivariate_hypergeometric
    deep = counts[totals(counts) >= 1_500].toarray().astype(int)
    verdict = judged(sp.csr_matrix([draw(row, 1_500) for row in deep]))
    assert verdict.matrix is not None
    assert verdict.matrix.state is MatrixState.COUNTS
