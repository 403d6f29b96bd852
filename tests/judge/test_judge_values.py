"""What is said of a matrix's values, rule by rule: what the file has, and which findings its reader gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from shared.domain.verdict import Severity, Transform
from shared.h5ad.facts import Candidate, Evidence, RowKind, Undone
from tests.judge.facts import N_CELLS, counts, fractions, logarithms, matrix, told, unproven

TOTALS = tuple(500.0 + 100 * place for place in range(N_CELLS))
"""Of cells as they are: no two are alike."""


def alike(value: float) -> tuple[float, ...]:
    return (value,) * N_CELLS


def as_scaled_and_rounded() -> Evidence:
    return fractions(kinds={RowKind.WHOLE: N_CELLS}, uneven=0.04)


def own_scale() -> Evidence:
    """log1p of the counts as they are."""
    return logarithms(undone=(Undone(Transform.LOG1P, TOTALS, alike(1.0), 1.0),))


def selection_of(target: float, kept: float, transform: Transform = Transform.LOG1P) -> Evidence:
    """Values of a selection of genes, scaled to ``target`` before, with a share ``kept`` of it; obs has the totals."""
    units = tuple(target / total for total in TOTALS)
    sums = tuple(kept * target * (1 + 0.02 * (place % 3 - 1)) for place in range(N_CELLS))
    made = logarithms() if transform is Transform.LOG1P else fractions()
    return replace(made, undone=(Undone(transform, sums, units, 1.0),), totals_column="n_counts", totals=TOTALS)


@pytest.mark.parametrize(
    ("evidence", "codes"),
    [
        pytest.param(counts(TOTALS), set(), id="counts"),
        pytest.param(counts(TOTALS, whole_fraction=0.9975), {"NOT_WHOLE_COUNTS"}, id="estimated counts"),
        pytest.param(counts(TOTALS, whole_fraction=0.95), {"NOT_WHOLE_COUNTS"}, id="one in twenty is not whole"),
        pytest.param(
            counts(TOTALS, whole_fraction=0.94), {"NOT_WHOLE_COUNTS", "UNKNOWN_TARGET_SUM"}, id="more than that"
        ),
        pytest.param(fractions(), {"NORMALISED_INPUT"}, id="counts per 10,000"),
        pytest.param(as_scaled_and_rounded(), {"NORMALISED_INPUT"}, id="scaled, then rounded"),
        pytest.param(fractions(multiples=0.95), {"NORMALISED_INPUT"}, id="multiples of one count, nearly all"),
        pytest.param(fractions(multiples=0.949), {"NORMALISED_INPUT", "NO_SINGLE_COUNT"}, id="TPM"),
        pytest.param(fractions(undone=()), {"NORMALISED_INPUT", "UNKNOWN_TARGET_SUM"}, id="large fractions"),
        pytest.param(logarithms(), {"LOG_NORMALISED_INPUT"}, id="log1p of 10,000"),
        pytest.param(logarithms(target=1e6), {"LOG_NORMALISED_INPUT", "OTHER_TARGET_SUM"}, id="log1p of a million"),
        pytest.param(own_scale(), {"LOG_NORMALISED_INPUT", "OTHER_TARGET_SUM"}, id="log1p of counts"),
        pytest.param(unproven(), {"LOG_NORMALISED_INPUT", "UNKNOWN_TARGET_SUM"}, id="what may be logarithms"),
        pytest.param(
            logarithms(multiples=0.9), {"LOG_NORMALISED_INPUT", "NO_SINGLE_COUNT"}, id="log1p of corrected counts"
        ),
        *(
            pytest.param(logarithms(transform=base), {"LOG_NORMALISED_INPUT", "OTHER_LOG_BASE"}, id=str(base))
            for base in (Transform.LOG2, Transform.LOG10)
        ),
        *(
            pytest.param(logarithms(transform=other), {"LOG_NORMALISED_INPUT", "OTHER_TRANSFORM"}, id=str(other))
            for other in (Transform.SQRT, Transform.ARCSINH, Transform.LOG1P_TWICE)
        ),
    ],
)
def test_what_the_values_are_decides_what_is_said(evidence: Evidence, codes: set[str]) -> None:
    found = told(matrix("X", evidence))
    assert set(found) == codes
    assert {finding.severity for finding in found.values()} <= {Severity.WARNING}


def test_words_for_whole_numbers_and_fractions_differ() -> None:
    rounded = told(matrix("X", as_scaled_and_rounded()))["NORMALISED_INPUT"].message
    assert "whole numbers that were scaled" in rounded
    assert "fractions that are not logarithms" in told(matrix("X", fractions()))["NORMALISED_INPUT"].message
    estimated = told(matrix("X", counts(TOTALS, whole_fraction=0.9975)))["NOT_WHOLE_COUNTS"].message
    assert estimated.startswith("0.2500% of the sampled values in X are not whole numbers")


@pytest.mark.parametrize(("target", "said"), [(9_899, True), (9_900, False), (10_100, False), (10_101, True)])
def test_a_total_more_than_a_hundredth_off_10_000_is_another(target: float, *, said: bool) -> None:
    found = told(matrix("X", logarithms(target=target, transform=Transform.LOG2)))
    assert ("OTHER_TARGET_SUM" in found) is said
    if said:
        assert found["OTHER_TARGET_SUM"].details == {"target_sum": target}
        assert f"scaled to a total of {target:,}" in found["OTHER_TARGET_SUM"].message


def test_a_total_that_genes_were_left_out_of_since_is_told_and_one_that_differs_from_cell_to_cell_is_said_to() -> None:
    found = told(matrix("X", selection_of(1e6, kept=0.5)))["OTHER_TARGET_SUM"]
    assert found.details["target_sum"] == pytest.approx(1e6)
    found = told(matrix("X", own_scale()))["OTHER_TARGET_SUM"]
    assert found.details == {}
    assert "a scale of its own a cell" in found.message


def test_how_a_cell_is_scaled_is_told() -> None:
    own = told(matrix("X", fractions()))["NORMALISED_INPUT"].message
    assert "each cell is scaled by its own total" in own
    kept = told(matrix("X", selection_of(1e5, kept=0.5, transform=Transform.NONE)))["NORMALISED_INPUT"].message
    assert "scaled from the total of 100,000 that it had before genes were left out" in kept


def test_values_that_are_no_numbers_are_refused_and_counted() -> None:
    found = told(matrix("X", counts(TOTALS, n_values=2400, n_nan=1200, n_infinite=3)))["BAD_VALUES"]
    assert found.severity is Severity.REFUSAL
    assert found.details == {"n_nan": 1200, "n_infinite": 3}
    assert "1,200 NaN and 3 infinite of 2,400 sampled values" in found.message
    assert "BAD_VALUES" in told(matrix("X", counts(TOTALS, n_infinite=1)))


# --- How to have counts -------------------------------------------------------------------------------------------

KEEP = 'Keep counts in adata.layers["counts"] to have them used.'


def hint(*matrices: Candidate, wanted: str | None = None) -> str:
    return told(*matrices, wanted=wanted)["LOG_NORMALISED_INPUT"].hint


@pytest.mark.parametrize(
    ("path", "option"), [("layers/umi", "layers/umi"), ("raw/X", "raw"), ("raw.X", "raw"), ("layers/a b", "layers/a b")]
)
def test_who_asks_for_logarithms_hears_that_the_file_has_counts(path: str, option: str) -> None:
    said = hint(matrix("X", logarithms()), matrix(path, counts()), wanted="X")
    assert said == f"--set matrix={option} uses the file's counts."


def test_counts_that_hold_less_of_each_cell_are_told_with_how_to_have_them() -> None:
    half = matrix("layers/counts", counts(alike(500.0)))
    words = "layers/counts holds counts, but less of each cell; --set matrix=layers/counts would use them all the same."
    assert hint(matrix("X", logarithms()), half) == words


@pytest.mark.parametrize(
    ("what", "other"),
    [
        ("no counts", matrix("layers/z", logarithms(target=1e6))),
        ("less of each cell, and of other genes", matrix("raw/X", counts(alike(500.0)))),
        ("NaN", matrix("layers/counts", counts(n_nan=1))),
        ("other cells", matrix("layers/counts", counts((100.0, 400.0, 900.0, 5000.0) * 3))),
        ("other genes", matrix("layers/counts", counts(), bare=0.9)),
        ("no value for half of the cells", matrix("layers/counts", counts(n_rows=50, n_empty=50))),
    ],
)
def test_nobody_is_sent_to_a_matrix_with(what: str, other: Candidate) -> None:
    del what
    assert hint(matrix("X", logarithms(), bare=0.0), other) == KEEP


# --- Doubts -------------------------------------------------------------------------------------------------------


def doubted(**changes: float) -> str:
    """The doubt about counts; empty where there is none."""
    found = told(matrix("X", replace(counts(TOTALS), **changes)))  # type: ignore[arg-type]  # fields by name
    return found["UNLIKELY_COUNTS"].message if "UNLIKELY_COUNTS" in found else ""


@pytest.mark.parametrize(
    ("field", "least", "words"),
    [
        ("hollow", 0.2, "20% of the sampled cells of X have hundreds of genes and no value above 12"),
        ("tied", 0.05, "the values of 5% of the cells of X that tell are ranks"),
        ("near_limit", 0.1, "no value of X is above 127, the largest number of an integer type"),
    ],
)
def test_counts_are_doubted_from_a_share_on(field: str, least: float, words: str) -> None:
    assert words in doubted(**{field: least})
    assert doubted(**{field: 1.0})
    assert not doubted(**{field: least - 0.001})
    assert words in doubted(**{field: least}, n_rows=10)
    assert not doubted(**{field: least}, n_rows=9)  # Too few cells to tell.


@pytest.mark.parametrize(
    ("maximum", "limit"), [(127, "127"), (128, "255"), (255, "255"), (300, "32,767"), (65_535, "65,535")]
)
def test_the_integer_type_that_cut_counts_off_is_told_by_its_largest_number(maximum: float, limit: str) -> None:
    assert f"is above {limit}, " in doubted(near_limit=0.5, maximum=maximum)


@pytest.mark.parametrize(
    ("same_most", "genes_a_cell", "said"),
    [(0.5, 300, True), (0.499, 300, False), (0.5, 299, False), (1.0, 20, False), (0.9, 3000, True)],
)
def test_one_largest_value_in_half_of_the_cells_is_a_cut_where_cells_have_many_genes(
    same_most: float, genes_a_cell: int, *, said: bool
) -> None:
    words = doubted(same_most=same_most, usual_most=50, n_values=genes_a_cell * N_CELLS)
    assert bool(words) is said
    if said:
        assert f"the largest value of X is 50 in {same_most:.0%} of the sampled cells" in words


@pytest.mark.parametrize(
    ("of_cells", "genes_a_cell", "said"),
    [
        pytest.param([800, 1000, 1200], 100, True, id="nearly one total"),
        pytest.param([800, 1000, 1200], 2000, True, id="of many genes"),
        pytest.param([800, 1000, 1200], 99, False, id="of few genes"),
        pytest.param([700, 1000, 1300], 100, False, id="as cells differ"),
        pytest.param([1000, 1000, 1000], 100, False, id="one total, as made on purpose"),
    ],
)
def test_cells_with_nearly_one_total_are_doubted(of_cells: list[float], genes_a_cell: int, *, said: bool) -> None:
    found = told(matrix("X", counts(of_cells * 4, n_values=genes_a_cell * N_CELLS)))
    assert ("UNLIKELY_COUNTS" in found) is said
    if said:
        assert "have nearly 1,000 counts each" in found["UNLIKELY_COUNTS"].message


def test_only_counts_are_doubted_and_only_what_is_no_count_lacks_a_single_one() -> None:
    odd = {"hollow": 1.0, "tied": 1.0, "near_limit": 1.0}
    assert "UNLIKELY_COUNTS" not in told(matrix("X", replace(logarithms(), **odd)))  # type: ignore[arg-type]
    undone = (Undone(Transform.NONE, TOTALS, alike(1.0), multiples=0.1),)
    assert "NO_SINGLE_COUNT" not in told(matrix("X", counts(TOTALS, undone=undone)))
    assert "NO_SINGLE_COUNT" in told(matrix("X", fractions((1000.0,) * 10, multiples=0.5)))
    assert "NO_SINGLE_COUNT" not in told(matrix("X", fractions((1000.0,) * 9, multiples=0.5)))


# --- Cells of other kinds, and parts ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("evidence", "kinds", "n_other"),
    [
        pytest.param(counts(TOTALS), {RowKind.WHOLE: 60, RowKind.SMALL: 4}, 4, id="logarithms among counts"),
        pytest.param(counts(TOTALS), {RowKind.WHOLE: 60, RowKind.LARGE: 4}, 0, id="fractions among counts"),
        pytest.param(
            logarithms(), {RowKind.SMALL: 60, RowKind.WHOLE: 50, RowKind.LARGE: 20}, 70, id="among logarithms"
        ),
        pytest.param(logarithms(), {RowKind.SMALL: 60}, 0, id="logarithms alone"),
        pytest.param(fractions(), {RowKind.LARGE: 60, RowKind.WHOLE: 3, RowKind.SMALL: 1}, 0, id="among fractions"),
        pytest.param(logarithms(transform=Transform.SQRT), {RowKind.SMALL: 60, RowKind.WHOLE: 4}, 0, id="among roots"),
        pytest.param(logarithms(), {RowKind.LARGE: 60, RowKind.SMALL: 4}, 0, id="among large logarithms"),
    ],
)
def test_logarithms_among_counts_and_the_reverse_are_told(
    evidence: Evidence, kinds: dict[RowKind, int], n_other: int
) -> None:
    found = told(matrix("X", replace(evidence, kinds=kinds)))
    assert ("MIXED_VALUES" in found) is (n_other > 0)
    if n_other:
        assert found["MIXED_VALUES"].details == {"n_looked_at": sum(kinds.values()), "n_other": n_other}


def test_cells_of_each_kind_are_counted_in_words() -> None:
    kinds = {RowKind.WHOLE: 1060, RowKind.SMALL: 4}
    words = "of 1,064 looked at, 1,060 with whole numbers, 4 with fractions in the range of logarithms"
    assert words in told(matrix("X", counts(TOTALS, kinds=kinds)))["MIXED_VALUES"].message


def part(share: float, name: str) -> Candidate:
    return matrix(f"layers/{name}", counts([share * total for total in TOTALS]))


@pytest.mark.parametrize(
    ("matrices", "wanted", "words"),
    [
        (
            [part(0.6, "spliced"), part(0.4, "unspliced")],
            None,
            "a part of each cell's molecules only (60% of the counts that the file proves); no other matrix is better",
        ),
        ([part(1, "spliced")], None, "holds a part of each cell's molecules only; no other matrix is better"),
        (
            [part(1, "all"), part(0.5, "some")],
            "layers/some",
            "(50% of the counts that the file proves); layers/all would be used if none were asked for",
        ),
        (
            [part(1, "all"), matrix("X", counts([total / 2 for total in TOTALS]))],
            "X",
            "(50% of the counts that the file proves); layers/all would be used if none were asked for",
        ),
        (
            [matrix("X", unproven()), matrix("raw/X", counts(TOTALS, n_rows=50, n_empty=50))],
            "raw",
            "raw/X has no value for some cells of which another matrix has some; X would be used",
        ),
        (
            [matrix("X", counts(TOTALS), bare=0.0), matrix("layers/z", counts(TOTALS), bare=0.9)],
            "layers/z",
            "the cells of layers/z lack genes that they have in another matrix",
        ),
        (
            [matrix("X", logarithms()), matrix("layers/z", counts((100.0, 400.0, 900.0, 5000.0) * 3))],
            "layers/z",
            "the counts of layers/z are not those of the same cells in the other matrices",
        ),
    ],
)
def test_why_a_matrix_is_a_part_is_told(matrices: Sequence[Candidate], wanted: str | None, words: str) -> None:
    assert words in told(*matrices, wanted=wanted)["PART_OF_COUNTS"].message


# --- Genes that were left out -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_genes", "code"),
    [
        (0, None),
        (1, "FEW_GENES"),
        (199, "FEW_GENES"),
        (200, "SUBSET_OF_GENES"),
        (4_999, "SUBSET_OF_GENES"),
        (5_000, None),
    ],
)
def test_few_genes_are_told(n_genes: int, code: str | None) -> None:
    found = told(matrix("X", counts(TOTALS), n_genes))
    assert set(found) == ({code} if code else set())
    if code:
        assert f"X has {n_genes:,} genes" in found[code].message


@pytest.mark.parametrize(("share", "said"), [(0.5, True), (0.989, True), (0.99, False), (1.0, False), (1.2, False)])
def test_counts_that_sum_to_less_than_obs_says_lack_genes(share: float, *, said: bool) -> None:
    totals = tuple(total if place % 2 else 0.0 for place, total in enumerate(TOTALS))  # obs need not know every cell.
    evidence = counts([share * total for total in TOTALS], totals_column="n_counts", totals=totals)
    found = told(matrix("X", evidence))
    assert ("SUBSET_OF_GENES" in found) is said
    if said:
        assert "X lacks genes that n_counts counted" in found["SUBSET_OF_GENES"].message
    assert "SUBSET_OF_GENES" not in told(matrix("X", evidence, n_other=1))  # Antibodies, which the total counted.


@pytest.mark.parametrize(("kept", "said"), [(0.5, True), (0.98, True), (1.2, False)])
@pytest.mark.parametrize("n_genes", [2_000, 20_000])
def test_logarithms_that_sum_to_less_than_they_were_scaled_to_lack_genes(
    kept: float, n_genes: int, *, said: bool
) -> None:
    found = told(matrix("X", selection_of(1e4, kept), n_genes))
    assert ("SUBSET_OF_GENES" in found) is said


def test_a_scale_that_is_guessed_is_no_proof_of_genes_left_out_unless_the_sums_say_so() -> None:
    assert "SUBSET_OF_GENES" not in told(matrix("X", unproven(), n_genes=2_000))
    sums = tuple(5.0 * total for total in TOTALS)
    short = unproven(undone=(Undone(Transform.LOG1P, tuple(sums[:6]) * 2, alike(7.0), 0.2),))
    assert "that the normalisation counted" in told(matrix("X", short, n_genes=2_000))["SUBSET_OF_GENES"].message
