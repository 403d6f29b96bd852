"""What numbers are, and which matrix is chosen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.verdict import MatrixEncoding, MatrixState, Transform
from shared.h5ad.facts import Candidate, Evidence, RowKind, Undone
from shared.h5ad.inspect.inspection import inspect
from shared.h5ad.judge.matrices import choose
from shared.h5ad.matrix_names import wanted_path
from shared.h5ad.source import BytesSource
from shared.h5ad.values.states import recognise
from tests.h5ad.h5ad_files import Recipe, random_counts, write_file

COUNTS = Evidence(
    n_values=1000, n_rows=64, minimum=1.0, maximum=90.0, whole_fraction=1.0, kinds={RowKind.WHOLE: 64}, ones=0.7
)
LOG = replace(
    COUNTS,
    minimum=0.2,
    maximum=6.0,
    whole_fraction=0.0,
    kinds={RowKind.SMALL: 64},
    undone=(Undone(Transform.LOG1P, sums=(10_000.0,) * 64),),
)
SCALED = replace(COUNTS, minimum=-2.0, maximum=10.0, whole_fraction=0.0, n_negative=500)


def candidate(path: str, evidence: Evidence, n_genes: int = 1000) -> Candidate:
    genes = "raw/var" if path.startswith("raw") else "var"
    return Candidate(path, MatrixEncoding.CSR, "float32", 100, n_genes, 5000, genes, evidence)


def cp(counts: sp.csr_matrix, target: float = 1e4) -> sp.csr_matrix:
    totals = np.asarray(counts.sum(axis=1)).ravel()
    return sp.csr_matrix(sp.diags(target / np.maximum(totals, 1)).dot(counts))


def state_of(matrix: sp.csr_matrix, recipe: Recipe | None = None) -> MatrixState:
    (found,) = inspect(BytesSource(write_file(matrix, recipe))).candidates
    return recognise(found.evidence, found.n_genes).state


BASE = random_counts(200, 300, density=0.3)


@pytest.mark.parametrize("kind", ["csr", "csc", "dense"])
@pytest.mark.parametrize(
    ("matrix", "state"),
    [
        (BASE, MatrixState.COUNTS),
        (cp(BASE).log1p(), MatrixState.LOG1P_CP10K),
        (cp(BASE, 1e6).log1p(), MatrixState.LOG_NORMALISED),
        (BASE.log1p(), MatrixState.LOG_NORMALISED),
        (cp(BASE), MatrixState.NORMALISED),
        (cp(BASE, 1.0), MatrixState.NORMALISED),
        (sp.csr_matrix(BASE.toarray() - 1.5), MatrixState.SCALED),
        (cp(BASE).log1p() * 0.01, MatrixState.LOG_NORMALISED),
    ],
    ids=["counts", "log1p cp10k", "log1p cpm", "log1p of counts", "cp10k", "shares", "scaled", "log1p times 0.01"],
)
def test_a_matrix_is_recognised_by_its_numbers(matrix: sp.csr_matrix, state: MatrixState, kind: str) -> None:
    assert state_of(matrix, Recipe(kind=kind)) is state


def test_a_matrix_rounded_to_half_precision_is_still_recognised() -> None:
    assert state_of(cp(BASE).log1p(), Recipe(dtype="float16")) is MatrixState.LOG1P_CP10K


def test_a_large_matrix_is_recognised_from_a_sample() -> None:
    counts = random_counts(3000, 2500, density=0.3)
    assert counts.nnz > 1_000_000
    assert state_of(cp(counts).log1p(), Recipe(data_options={"chunks": (5000,)})) is MatrixState.LOG1P_CP10K
    assert state_of(counts, Recipe(kind="csc")) is MatrixState.COUNTS


def test_a_base_two_logarithm_is_told_apart() -> None:
    matrix = cp(BASE, 3000.0)
    matrix.data = np.log2(
        1 + matrix.data * (0.5 + np.repeat(np.random.default_rng(0).random(200), np.diff(matrix.indptr)))
    )
    (found,) = inspect(BytesSource(write_file(matrix))).candidates
    recognised = recognise(found.evidence)
    assert recognised.state is MatrixState.LOG_NORMALISED
    assert recognised.transform is Transform.LOG2


def test_no_values_are_no_evidence() -> None:
    assert recognise(Evidence()).state is MatrixState.UNKNOWN
    assert recognise(Evidence(n_values=3, n_nan=3)).state is MatrixState.UNKNOWN


finite = st.floats(-1e6, 1e6)


@given(
    st.builds(
        Evidence,
        n_values=st.integers(0, 10),
        minimum=finite,
        maximum=finite,
        whole_fraction=st.floats(0, 1),
        n_negative=st.integers(0, 3),
        kinds=st.dictionaries(st.sampled_from(RowKind), st.integers(1, 9)),
        undone=st.lists(
            st.builds(
                Undone,
                transform=st.sampled_from(Transform),
                sums=st.lists(finite, max_size=8).map(tuple),
                units=st.lists(st.floats(1e-3, 1e3), max_size=8).map(tuple),
                multiples=st.floats(0, 1),
                whole_fraction=st.floats(0, 1),
            ),
            max_size=3,
        ).map(tuple),
        totals=st.lists(finite, max_size=8).map(tuple),
        ranked=st.floats(0, 1),
        same_most=st.floats(0, 1),
        near_whole=st.floats(0, 1),
    ),
    st.integers(0, 40_000),
)
def test_any_evidence_has_a_state_and_negative_values_are_never_usable(evidence: Evidence, n_genes: int) -> None:
    state = recognise(evidence, n_genes).state
    if evidence.n_values and evidence.n_negative:
        assert state is MatrixState.SCALED


@pytest.mark.parametrize(
    ("paths", "best"),
    [
        ({"X": LOG, "layers/counts": COUNTS}, "layers/counts"),
        ({"X": COUNTS, "layers/counts": COUNTS}, "layers/counts"),
        ({"X": COUNTS, "raw/X": COUNTS}, "raw/X"),
        ({"X": SCALED, "raw/X": LOG}, "raw/X"),
        ({"X": COUNTS, "layers/spliced": COUNTS, "layers/unspliced": COUNTS}, "X"),
        ({"X": LOG, "layers/other": COUNTS}, "layers/other"),
        ({"X": LOG, "layers/other": SCALED}, "X"),
        ({"layers/unspliced": COUNTS, "layers/my": COUNTS}, "layers/my"),
    ],
)
def test_the_best_matrix_is_chosen(paths: dict[str, Evidence], best: str) -> None:
    selection = choose([candidate(path, evidence) for path, evidence in paths.items()])
    assert selection.choice is not None
    assert selection.choice.path == best
    assert {one.candidate.path for one in selection.considered} == set(paths)
    assert selection.choice.why


def test_all_genes_come_before_counts_of_a_selection() -> None:
    candidates = [candidate("layers/counts", COUNTS, n_genes=2000), candidate("raw/X", LOG, n_genes=20_000)]
    selection = choose(candidates)
    assert selection.choice is not None
    assert selection.choice.path == "raw/X"


def test_only_scaled_values_are_no_choice() -> None:
    selection = choose([candidate("X", SCALED)])
    assert selection.choice is None
    assert [one.found.state for one in selection.considered] == [MatrixState.SCALED]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [("X", "X"), ("raw", "raw/X"), ("layers/counts", "layers/counts"), ("layers/none", None), ("counts", None)],
)
def test_an_option_names_a_matrix(wanted: str, found: str | None) -> None:
    assert wanted_path(wanted, ["X", "raw/X", "layers/counts"]) == found


def test_old_and_foreign_layouts_have_their_own_paths() -> None:
    assert wanted_path("raw", ["X", "raw.X"]) == "raw.X"
    assert wanted_path("X", ["matrix"]) == "matrix"
    assert wanted_path("X", ["GRCh38"]) == "GRCh38"


def test_what_is_asked_for_is_taken_or_nothing() -> None:
    candidates = [candidate("X", SCALED), candidate("raw/X", LOG), candidate("layers/counts", COUNTS)]
    chosen = choose(candidates, "raw").choice
    assert chosen is not None
    assert chosen.path == "raw/X"
    assert "Asked for" in chosen.why
    assert choose(candidates, "X").choice is None
    assert choose(candidates, "layers/none").choice is None
