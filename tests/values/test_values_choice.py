"""Which of several matrices is used: all are weighed together, and what lacks counts of a cell stands back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from shared.domain.verdict import MatrixState, Transform, Verdict
from shared.h5ad.judge.judging import validate
from shared.h5ad.source import BytesSource
from tests.values.forms import FORMS, Matrix, as_bytes, each, scaled, totals


@pytest.fixture(scope="module")
def counts(data_dir: Path) -> Matrix:
    found = anndata.read_h5ad(data_dir / "h5ad" / "pbmc3k_raw_labelled.h5ad")[::9]
    matrix: Matrix = found.X.tocsr()
    return matrix[:, matrix.getnnz(axis=0) > 0]  # A third of the genes, and every count.


def log_cp10k(counts: Matrix) -> Matrix:
    return each(scaled(counts), np.log1p).astype(np.float32)


def judged(x: Any, layers: Mapping[str, Any], obs: Mapping[str, Any] | None = None, raw: Any = None) -> Verdict:
    made = anndata.AnnData(x, obs=pd.DataFrame(dict(obs or {}), index=[f"c{i}" for i in range(x.shape[0])]))
    made.layers.update(layers)
    if raw is not None:
        made.raw = anndata.AnnData(raw, obs=made.obs[[]])
    return validate(BytesSource(as_bytes(made)))


def thinned(counts: Matrix, share: float | np.ndarray[Any, Any], seed: int = 0) -> Matrix:
    made = counts.copy()
    made.data = np.random.default_rng(seed).binomial(counts.data.astype(int), share).astype(np.float32)
    made.eliminate_zeros()
    return made


def used(verdict: Verdict) -> str:
    assert verdict.matrix is not None
    return verdict.matrix.path


def hint_of(verdict: Verdict, code: str) -> str:
    return next(finding.hint for finding in verdict.findings if finding.code == code)


def codes(verdict: Verdict) -> set[str]:
    return {finding.code for finding in verdict.findings}


@pytest.mark.parametrize("share", [0.05, 0.15, 0.4, 0.7, 0.85])
@pytest.mark.parametrize("name", ["spliced", "exon_junction", "counts"])
def test_a_part_of_the_counts_stands_behind_a_logarithm_of_all_of_them(counts: Matrix, share: float, name: str) -> None:
    assert used(judged(log_cp10k(counts), {name: thinned(counts, share)})) == "X"


def test_whole_counts_stand_before_a_logarithm_of_them_whatever_their_name(counts: Matrix) -> None:
    assert used(judged(log_cp10k(counts), {"my_layer": counts})) == "layers/my_layer"


def test_counts_of_a_filter_that_took_a_few_genes_away_are_still_counts(counts: Matrix) -> None:
    kept = np.flatnonzero(np.asarray((counts > 0).sum(axis=0)).ravel() >= 5)
    verdict = judged(counts[:, kept], {}, {"total_counts": totals(counts)})
    assert used(verdict) == "X"


@pytest.mark.parametrize("form", ["ranks", "bins", "binary"])
def test_whole_numbers_that_are_no_counts_stand_behind_a_logarithm(counts: Matrix, form: str) -> None:
    verdict = judged(log_cp10k(counts), {"counts": FORMS[form].make(counts).astype(np.float32)})
    assert used(verdict) == "X"
    assert ("layers/counts", MatrixState.RANKED) in verdict.considered


@pytest.mark.parametrize("known_totals", [True, False])
def test_counts_of_selected_genes_stand_behind_a_logarithm_that_kept_the_scale(
    counts: Matrix, known_totals: bool
) -> None:
    chosen = np.sort(np.argsort(-np.asarray(counts.sum(axis=0)).ravel())[100:2100])
    obs = {"n_counts": totals(counts)} if known_totals else {}
    verdict = judged(log_cp10k(counts)[:, chosen], {"counts": counts[:, chosen]}, obs)
    assert used(verdict) == "X"
    assert verdict.matrix is not None
    assert verdict.matrix.state is MatrixState.LOG1P_CP10K
    assert "SUBSET_OF_GENES" in codes(verdict)
    assert "layers/counts holds counts" in hint_of(verdict, "LOG_NORMALISED_INPUT")


def test_how_to_have_counts_used_depends_on_whether_there_are_any(counts: Matrix) -> None:
    made = anndata.AnnData(log_cp10k(counts), layers={"umi": counts})
    verdict = validate(BytesSource(as_bytes(made)), matrix="X")
    assert hint_of(verdict, "LOG_NORMALISED_INPUT") == "--set matrix=layers/umi uses the file's counts."
    assert used(validate(BytesSource(as_bytes(made)), matrix="layers/umi")) == "layers/umi"
    assert "Keep counts" in hint_of(judged(log_cp10k(counts), {}), "LOG_NORMALISED_INPUT")


@pytest.mark.parametrize("fault", ["with NaN", "of other cells"])
def test_nobody_is_told_to_use_counts_that_are_no_use(counts: Matrix, fault: str) -> None:
    held = counts.copy()
    if fault == "with NaN":
        held.data[::7] = np.nan
    else:
        held = held[np.random.default_rng(0).permutation(held.shape[0])]
    verdict = judged(log_cp10k(counts), {"counts": held})
    assert used(verdict) == "X"
    assert "--set" not in hint_of(verdict, "LOG_NORMALISED_INPUT")


@pytest.mark.parametrize("target", [1e4, 1e6, 2_345.0])
def test_a_scale_is_proved_by_totals_in_obs_though_genes_were_left_out(counts: Matrix, target: float) -> None:
    chosen = np.arange(0, counts.shape[1], 3)
    values = each(scaled(counts, target), np.log1p).astype(np.float32)[:, chosen]
    verdict = judged(values, {}, {"total_counts": totals(counts)})
    assert verdict.matrix is not None
    assert verdict.matrix.target_sum == pytest.approx(target, rel=1e-3)
    assert "SUBSET_OF_GENES" in codes(verdict)


def test_a_velocity_file_is_annotated_on_what_has_most_of_a_cell_and_says_so(counts: Matrix) -> None:
    spliced = thinned(counts, 0.6)
    unspliced = sp.csr_matrix(counts - spliced)
    ambiguous = thinned(counts, 0.05, seed=2)
    layers = {"ambiguous": ambiguous, "spliced": spliced, "unspliced": unspliced}
    verdict = judged(log_cp10k(spliced).toarray() - 0.1, layers)
    assert used(verdict) == "layers/spliced"
    assert "PART_OF_COUNTS" in codes(verdict)
    assert used(judged(spliced, layers)) in {"X", "layers/spliced"}
    assert "PART_OF_COUNTS" in codes(judged(spliced, layers))
    whole = judged(spliced, {**layers, "matrix": counts + ambiguous})
    assert used(whole) == "layers/matrix"
    assert "PART_OF_COUNTS" not in codes(whole)


def test_raw_counts_of_more_genes_stand_before_a_logarithm_of_fewer(counts: Matrix) -> None:
    some = counts[:, ::2]
    assert used(judged(log_cp10k(some), {}, raw=counts)) == "raw/X"


def test_a_provable_logarithm_stands_before_corrected_counts(counts: Matrix) -> None:
    noise = counts.copy()
    noise.data = (noise.data * np.random.default_rng(0).uniform(0.9, 1.1, counts.nnz)).astype(np.float32)
    by_cell = FORMS["log1p by cell"].make(counts).astype(np.float32)
    assert used(judged(by_cell, {"counts": noise})) == "X"


def test_what_is_asked_for_is_used_though_it_is_a_part(counts: Matrix) -> None:
    made = anndata.AnnData(log_cp10k(counts))
    made.layers["spliced"] = thinned(counts, 0.5)
    assert used(validate(BytesSource(as_bytes(made)), matrix="layers/spliced")) == "layers/spliced"


@pytest.mark.parametrize("deep", [False, True])
def test_shallow_and_deep_counts_are_counts(counts: Matrix, deep: bool) -> None:
    values = counts.copy()
    values.data = np.random.default_rng(0).poisson(values.data * 6) + 1.0 if deep else np.minimum(values.data, 9)
    verdict = judged(values, {})
    assert verdict.matrix is not None
    assert verdict.matrix.state is MatrixState.COUNTS


def test_counts_that_an_integer_type_cut_off_are_still_counts(counts: Matrix) -> None:
    values = counts.copy()
    values.data = np.minimum(values.data * 40, 255)
    assert used(judged(values.astype(np.uint8), {})) == "X"


@pytest.mark.parametrize("with_counts", [True, False])
def test_a_total_that_counted_antibodies_is_taken_anew_over_the_genes(counts: Matrix, with_counts: bool) -> None:
    antibodies = np.random.default_rng(0).poisson(100, (counts.shape[0], 40)).astype(np.float32)
    both = sp.hstack([counts, sp.csr_matrix(antibodies)]).tocsr()
    types = ["GEX"] * counts.shape[1] + ["ADT"] * 40
    made = anndata.AnnData(
        log_cp10k(both), var=pd.DataFrame({"feature_types": types}, index=list(map(str, range(len(types)))))
    )
    if with_counts:
        made.layers["counts"] = both
    made.obs["total_counts"] = totals(both)
    verdict = validate(BytesSource(as_bytes(made)))
    assert verdict.matrix is not None
    assert verdict.matrix.target_sum is None
    assert verdict.matrix.state is (MatrixState.COUNTS if with_counts else MatrixState.LOG_NORMALISED)
    assert "SUBSET_OF_GENES" not in codes(verdict)


def test_whole_numbers_that_are_too_small_for_counts_are_doubted(counts: Matrix) -> None:
    assert "UNLIKELY_COUNTS" in codes(judged(each(log_cp10k(counts), np.floor), {}))
    assert "UNLIKELY_COUNTS" not in codes(judged(counts, {}))


def test_counts_per_gene_length_are_told_from_counts(counts: Matrix) -> None:
    lengths = np.random.default_rng(0).lognormal(7.5, 0.6, counts.shape[1])
    tpm = scaled(sp.csr_matrix(counts @ sp.diags(1e3 / lengths)), 1e6)
    assert "NO_SINGLE_COUNT" in codes(judged(tpm.astype(np.float32), {}))
    assert "NO_SINGLE_COUNT" in codes(judged(each(tpm, np.log1p).astype(np.float32), {}))
    assert "NO_SINGLE_COUNT" not in codes(judged(scaled(counts, 1e6).astype(np.float32), {}))


def test_totals_that_are_alike_in_every_cell_say_nothing_of_counts(counts: Matrix) -> None:
    assert "SUBSET_OF_GENES" not in codes(judged(counts, {}, {"n_counts": np.full(counts.shape[0], 10_000.0)}))


def test_counts_that_were_scaled_and_rounded_are_told_from_counts_cut_to_one_total(counts: Matrix) -> None:
    rounded = judged(each(scaled(counts), np.rint).astype(np.float32), {})
    assert rounded.matrix is not None
    assert rounded.matrix.state is MatrixState.NORMALISED
    rng = np.random.default_rng(0)
    cut = counts.copy()
    for row in range(cut.shape[0]):
        place = slice(cut.indptr[row], cut.indptr[row + 1])
        cut.data[place] = rng.multivariate_hypergeometric(cut.data[place].astype(int), 500)
    cut.eliminate_zeros()
    downsampled = judged(cut, {})
    assert downsampled.matrix is not None
    assert downsampled.matrix.state is MatrixState.COUNTS


def test_few_genes_are_told_though_nothing_else_says_that_some_were_left_out(counts: Matrix) -> None:
    chosen = np.sort(np.argsort(-np.asarray(counts.sum(axis=0)).ravel())[:3000])
    assert "SUBSET_OF_GENES" in codes(judged(counts[:, chosen], {}))
    assert "SUBSET_OF_GENES" not in codes(judged(counts, {}))


@pytest.mark.parametrize("logged", [False, True])
def test_values_of_one_norm_are_not_taken_for_roots(counts: Matrix, logged: bool) -> None:
    values = log_cp10k(counts) if logged else counts
    norm_n = np.sqrt(np.asarray(values.multiply(values).sum(axis=1)).ravel())
    verdict = judged(sp.csr_matrix(sp.diags(1 / norm_n) @ values).astype(np.float32), {})
    assert verdict.matrix is not None
    state = MatrixState.LOG_NORMALISED if logged else MatrixState.NORMALISED
    assert (verdict.matrix.state, verdict.matrix.undone) == (
        state,
        Transform.SCALED_LOG1P if logged else Transform.NONE,
    )


@pytest.mark.parametrize("form", ["ranks", "bins"])
def test_ranks_and_bins_are_refused_in_columns_too(counts: Matrix, form: str) -> None:
    many = sp.vstack([counts, counts, counts]).tocsr()
    verdict = judged(sp.csc_matrix(FORMS[form].make(many)).astype(np.float32), {})
    assert [finding.code for finding in verdict.refusals] == ["NO_USABLE_MATRIX"]
