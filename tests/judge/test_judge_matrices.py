"""Which of several matrices is used, rule by rule: what the file has, and what stands first."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.verdict import MatrixChoice, MatrixEncoding, MatrixState, Transform
from shared.h5ad.facts import Candidate, Evidence, RowKind, Undone
from shared.h5ad.judge.matrices import choose, described, in_words
from tests.judge.facts import (
    N_CELLS,
    SCALED,
    TOTAL,
    counts,
    fractions,
    logarithms,
    matrix,
    order,
    selected,
    unproven,
)


def cells(*totals: float) -> tuple[float, ...]:
    """The same totals again and again, for every sampled cell."""
    return (totals * N_CELLS)[:N_CELLS]


def part(share: float) -> Evidence:
    return counts(cells(share * TOTAL))


# --- Numbers first, names last ------------------------------------------------------------------------------------

BY_NUMBERS = [
    ("counts", counts()),
    ("log1p of 10,000 a cell", logarithms()),
    ("what is provably made of counts", logarithms(target=1e6)),
    ("what cannot be proved", unproven()),
    ("what cannot be used", SCALED),
    ("what holds NaN", replace(counts(), n_nan=1)),
]


@pytest.mark.parametrize(("better", "worse"), list(pairwise(BY_NUMBERS)), ids=lambda one: one[0])
def test_what_the_numbers_are_comes_before_how_a_matrix_is_called(
    better: tuple[str, Evidence], worse: tuple[str, Evidence]
) -> None:
    assert order(matrix("layers/counts", worse[1]), matrix("layers/z", better[1])) == ["layers/z", "layers/counts"]


def test_fractions_that_are_provably_of_counts_stand_before_logarithms_that_prove_nothing() -> None:
    assert order(matrix("layers/counts", unproven()), matrix("layers/z", fractions()))[0] == "layers/z"


BY_NAME = ["layers/counts", "raw/X", "X", "layers/anything", "layers/zebra", "layers/spliced"]


@given(st.permutations(BY_NAME))
def test_among_equals_the_name_decides_whatever_the_order_in_the_file(paths: list[str]) -> None:
    # Logarithms of one scale, so that what is named for a part of the counts is none by its numbers.
    assert order(*(matrix(path, logarithms()) for path in paths)) == BY_NAME


@pytest.mark.parametrize("name", ["counts", "raw_counts", "count", "raw", "UMI", "umis", "umi_counts", "Raw_Count"])
def test_a_layer_named_for_counts_stands_before_raw(name: str) -> None:
    assert order(matrix("raw/X", counts()), matrix(f"layers/{name}", counts()))[0] == f"layers/{name}"


@pytest.mark.parametrize("name", ["counts_of_atac", "my counts", "umi2"])
def test_a_layer_with_the_word_in_its_name_does_not(name: str) -> None:
    assert order(matrix(f"layers/{name}", counts()), matrix("raw/X", counts()))[0] == "raw/X"


def test_raw_of_an_old_layout_stands_before_x() -> None:
    assert order(matrix("X", counts()), matrix("raw.X", counts())) == ["raw.X", "X"]


@pytest.mark.parametrize(
    "name",
    [
        *("spliced", "unspliced", "ambiguous", "spanning", "mature", "nascent", "Spliced"),
        *("exon", "exons", "exonic", "intron", "intronic", "introns", "spliced_counts", "matrix_unspliced"),
    ],
)
def test_counts_named_for_a_part_of_a_cells_molecules_stand_behind_any_logarithm(name: str) -> None:
    layer = matrix(f"layers/{name}", counts())
    assert order(layer, matrix("X", unproven())) == ["X", f"layers/{name}"]
    assert selected(layer).considered[0].is_part


@pytest.mark.parametrize("name", ["spliced_and_unspliced", "exon_free", "my_spliced", "splice", "premature"])
def test_counts_of_another_name_are_no_part(name: str) -> None:
    assert order(matrix(f"layers/{name}", counts()), matrix("X", unproven()))[0] == f"layers/{name}"


# --- Genes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wide", [counts(), logarithms()], ids=["counts", "log1p of 10,000"])
@pytest.mark.parametrize(("n_genes", "first"), [(15_000, "layers/counts"), (14_999, "raw/X")])
def test_a_matrix_with_less_than_three_quarters_of_the_genes_stands_back(
    n_genes: int, first: str, wide: Evidence
) -> None:
    assert order(matrix("raw/X", wide, 20_000), matrix("layers/counts", counts(), n_genes))[0] == first


@pytest.mark.parametrize("wide", [SCALED, unproven(), logarithms(target=1e6), fractions()])
def test_a_wide_matrix_that_may_not_be_what_it_seems_pushes_no_counts_back(wide: Evidence) -> None:
    assert order(matrix("raw/X", wide, 20_000), matrix("X", counts(), 2_000))[0] == "X"


def test_a_wide_matrix_in_which_the_model_has_no_genes_pushes_none_back() -> None:
    wide, narrow = matrix("raw/X", counts(), 20_000), matrix("X", logarithms(), 2_000)
    narrower = matrix("layers/a", counts(), 1_600)
    assert order(wide, narrow, narrower, unfit=["raw/var"]) == ["layers/a", "X", "raw/X"]


def test_fewer_genes_are_better_than_a_part_of_the_counts_of_all() -> None:
    selection = order(matrix("layers/spliced", counts(), 20_000), matrix("X", unproven(), 10_000))
    assert selection[0] == "X"


def test_where_the_model_finds_too_few_genes_even_counts_stand_behind_what_cannot_be_proved() -> None:
    assert order(matrix("raw/X", counts()), matrix("X", unproven()), unfit=["raw/var"]) == ["X", "raw/X"]


# --- The counts of a cell -----------------------------------------------------------------------------------------

PROOFS = {
    "log1p of 10,000": logarithms(),
    "log1p of a million": logarithms(target=1e6),
    "log2": logarithms(transform=Transform.LOG2),
    "fractions": fractions(),
    "log1p of counts": replace(
        logarithms(),
        undone=(Undone(Transform.LOG1P, cells(500.0, 1000.0, 2000.0), (1.0,) * N_CELLS, 1.0),),
    ),
}
"""What proves 1,000 counts a cell, in the middle."""


@pytest.mark.parametrize("proof", PROOFS)
@pytest.mark.parametrize(
    ("share", "first"),
    [(0.899, "X"), (0.9, "layers/counts"), (1.0, "layers/counts"), (3.0, "layers/counts"), (3.001, "X"), (0.0, "X")],
)
def test_counts_are_a_cells_if_they_are_nine_tenths_to_three_times_what_a_scale_proves(
    share: float, first: str, proof: str
) -> None:
    # Three times: a scale may prove molecules, and counts be the reads of them.
    of_cells = [
        share * total for total in (cells(500.0, 1000.0, 2000.0) if proof == "log1p of counts" else cells(TOTAL))
    ]
    selection = selected(matrix("X", PROOFS[proof]), matrix("layers/counts", counts(of_cells)))
    assert selection.considered[0].candidate.path == first
    (mine,) = [one for one in selection.considered if one.candidate.path == "layers/counts"]
    assert mine.share_of_counts == pytest.approx(share)


@pytest.mark.parametrize(
    ("what", "proof"),
    [
        ("values of a cell that are no multiples of one count", logarithms(multiples=0.949)),
        ("a scale that cannot be proved", unproven()),
        ("a cell without a smallest value", logarithms(undone=(Undone(Transform.LOG1P, cells(1e4), cells(0.0), 1.0),))),
        ("values that were rounded", fractions(kinds={RowKind.WHOLE: N_CELLS}, uneven=0.04)),
    ],
)
def test_half_of_the_counts_pass_for_all_of_them_beside(what: str, proof: Evidence) -> None:
    del what
    found = selected(matrix("X", proof), matrix("layers/counts", part(0.5)))
    assert found.choice is not None
    assert found.choice.path == "layers/counts"


def test_values_of_which_all_but_one_in_twenty_are_multiples_of_one_count_prove_a_cells_counts() -> None:
    assert order(matrix("layers/counts", part(0.5)), matrix("X", logarithms(multiples=0.95)))[0] == "X"


def test_a_logarithm_of_a_part_proves_nothing_of_the_whole() -> None:
    layers = [matrix("layers/spliced", logarithms(cells(2000.0))), matrix("layers/counts", counts())]
    assert order(*layers) == ["layers/counts", "layers/spliced"]
    assert order(matrix("X", logarithms(cells(2000.0))), layers[1])[0] == "X"


def test_of_two_proofs_the_one_of_more_counts_is_right() -> None:
    # The other is a logarithm of a selection of genes, scaled after the others were left out.
    proofs = [matrix("X", logarithms(cells(500.0))), matrix("raw/X", logarithms())]
    for first, second in permutations(proofs):
        assert order(first, second, matrix("layers/counts", part(0.5)))[-1] == "layers/counts"


def test_a_scale_that_obs_proves_is_of_the_whole_cell_though_genes_were_left_out_since() -> None:
    totals = tuple(900.0 + 20 * place for place in range(N_CELLS))
    units = tuple(1e4 / total for total in totals)
    half = logarithms(
        undone=(Undone(Transform.LOG1P, cells(5_000.0), units, 1.0),), totals_column="n_counts", totals=totals
    )
    for target_is_usual in (True, False):
        values = half
        if not target_is_usual:  # The same of a million.
            undone = Undone(Transform.LOG1P, cells(5e5), tuple(100 * unit for unit in units), 1.0)
            values = replace(half, undone=(undone,))
        found = selected(matrix("X", values), matrix("layers/counts", counts([total / 2 for total in totals])))
        assert [one.candidate.path for one in found.considered] == ["X", "layers/counts"]
        assert found.considered[1].share_of_counts == pytest.approx(0.5)
        assert not found.considered[0].is_part


def test_what_keeps_the_scale_of_the_whole_cell_is_no_part_whatever_its_name() -> None:
    spliced = selected(matrix("layers/spliced", logarithms())).considered[0]
    assert not spliced.is_part
    assert selected(matrix("layers/spliced", logarithms(target=1e6))).considered[0].is_part


@pytest.mark.parametrize(("n_shared", "first"), [(3, "X"), (2, "layers/counts")])
def test_fewer_than_three_cells_in_both_samples_prove_nothing(n_shared: int, first: str) -> None:
    rows = tuple(range(N_CELLS - n_shared, 2 * N_CELLS - n_shared))
    assert order(matrix("X", logarithms()), matrix("layers/counts", replace(part(0.5), rows=rows)))[0] == first


def test_the_parts_that_velocity_tools_write_prove_together_what_a_cell_has() -> None:
    parts = [matrix("layers/spliced", part(0.6)), matrix("layers/unspliced", part(0.4))]
    log = matrix("X", unproven())
    whole, half = matrix("layers/whole", part(0.9)), matrix("layers/half", part(0.6))
    assert order(*parts, log, whole)[0] == "layers/whole"
    assert order(*parts, log, half)[0] == "X"
    assert order(parts[0], log, half)[0] == "layers/half"


def test_parts_without_counts_prove_nothing_together() -> None:
    parts = [matrix("layers/spliced", part(0.6)), matrix("layers/unspliced", unproven())]
    assert order(*parts, matrix("X", unproven()), matrix("layers/half", part(0.6)))[0] == "layers/half"


def test_the_scale_of_a_logarithm_is_a_better_proof_than_parts() -> None:
    parts = [matrix("layers/spliced", part(0.1)), matrix("layers/unspliced", part(0.1))]
    assert order(*parts, matrix("X", logarithms()), matrix("layers/mine", part(0.2)))[0] == "X"


def test_of_parts_the_one_with_most_of_a_cell_stands_first() -> None:
    shares = {"ambiguous": 0.05, "spanning": 0.15, "spliced": 0.3, "unspliced": 0.5}
    parts = [matrix(f"layers/{name}", part(share)) for name, share in shares.items()]
    unknown = matrix("layers/exon", logarithms(target=1e6))  # A logarithm: who knows what part.
    assert order(*parts) == [f"layers/{name}" for name in ("unspliced", "spliced", "spanning", "ambiguous")]
    assert order(*parts, unknown)[-1] == "layers/exon"


def test_of_several_counts_the_largest_are_a_cells() -> None:
    found = selected(matrix("layers/counts", part(0.5)), matrix("X", counts()), matrix("layers/z", part(0.95)))
    assert [one.candidate.path for one in found.considered] == ["X", "layers/z", "layers/counts"]
    assert [one.share_of_counts for one in found.considered] == [1.0, 0.95, 0.5]


def test_counts_whose_genes_the_model_does_not_have_are_no_measure_for_others() -> None:
    huge = matrix("raw/X", counts(cells(1e5)))
    assert order(matrix("X", unproven()), matrix("layers/mine", counts()), huge)[0] == "raw/X"
    assert order(matrix("X", unproven()), matrix("layers/mine", counts()), huge, unfit=["raw/var"])[0] == "layers/mine"


# --- Other cells, other genes, no cells ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("of_cells", "other"),
    [
        pytest.param([1000] * 5 + [100] * 3 + [5000] * 2, False, id="half of ten like the middle one"),
        pytest.param([1000] * 4 + [100] * 3 + [5000] * 3, True, id="fewer than half of ten"),
        pytest.param([1000] * 3 + [1250, 750] + [100] * 2 + [5000] * 3, False, id="a quarter off is like it"),
        pytest.param([1000] * 3 + [1251, 749] + [100] * 2 + [5000] * 3, True, id="more than a quarter is not"),
        pytest.param([1000] * 3 + [100] * 3 + [5000] * 3, False, id="nine cells are too few to tell"),
        pytest.param([2000] * 5 + [200] * 3 + [9000] * 2, False, id="it need not be the share 1"),
        pytest.param([2000] * 4 + [200] * 3 + [9000] * 3, True, id="but one share in most cells"),
    ],
)
def test_counts_that_differ_from_what_is_proved_by_a_share_of_its_own_in_most_cells_are_other_cells(
    of_cells: list[float], other: bool
) -> None:
    proof = matrix("X", logarithms((TOTAL,) * len(of_cells)))
    found = selected(proof, matrix("layers/counts", counts(of_cells)))
    mine = next(one for one in found.considered if one.candidate.path == "layers/counts")
    assert mine.other_cells is other
    assert mine.is_part is other
    assert (found.considered[0] is mine) is not other


def test_a_part_that_differs_from_cell_to_cell_is_still_of_these_cells() -> None:
    shares = counts([*cells(100.0, 400.0, 900.0)])
    found = selected(matrix("X", logarithms()), matrix("layers/unspliced", shares), matrix("layers/mine", shares))
    assert {one.candidate.path for one in found.considered if one.other_cells} == {"layers/mine"}


@pytest.mark.parametrize(("bare", "first"), [(0.55, "layers/counts"), (0.56, "X"), (None, "layers/counts")])
def test_cells_without_the_genes_that_every_cell_has_are_sorted_otherwise_if_another_matrix_has_them(
    bare: float | None, first: str
) -> None:
    counted = matrix("layers/counts", counts(), bare=bare)
    found = selected(matrix("X", logarithms(), bare=0.05), counted, matrix("layers/z", logarithms(), bare=0.3))
    assert found.considered[0].candidate.path == first
    assert found.considered[-1].other_genes is (first == "X")
    assert not selected(counted).considered[0].other_genes  # With nothing beside it to tell.


def test_a_matrix_whose_genes_the_model_does_not_have_says_nothing_of_what_cells_express() -> None:
    raw, counted = matrix("raw/X", counts(), bare=0.0), matrix("X", counts(), bare=0.9)
    assert selected(raw, counted).considered[-1].other_genes
    assert not any(one.other_genes for one in selected(raw, counted, unfit=["raw/var"]).considered)


def looked_at(n_rows: int, n_empty: int, evidence: Evidence | None = None) -> Evidence:
    return replace(evidence or counts(), n_rows=n_rows, n_empty=n_empty)


@pytest.mark.parametrize(
    ("n_rows", "n_empty", "lacks"), [(100, 0, False), (99, 1, False), (49, 1, True), (1, 99, True), (0, 0, False)]
)
def test_a_matrix_that_is_empty_for_more_than_one_cell_in_a_hundred_stands_back(
    n_rows: int, n_empty: int, lacks: bool
) -> None:
    found = selected(matrix("layers/counts", looked_at(n_rows, n_empty)), matrix("X", looked_at(100, 0, unproven())))
    mine = next(one for one in found.considered if one.candidate.path == "layers/counts")
    assert mine.lacks_cells is lacks
    assert mine.is_part is lacks
    assert (found.considered[0] is mine) is not lacks


def test_cells_that_are_empty_in_every_matrix_are_lacked_by_none() -> None:
    found = selected(matrix("X", looked_at(50, 50)), matrix("layers/z", looked_at(50, 50, logarithms())))
    assert not any(one.lacks_cells for one in found.considered)


def test_a_matrix_beside_which_none_has_the_models_genes_lacks_no_cells() -> None:
    found = selected(matrix("raw/X", looked_at(50, 50)), matrix("X", SCALED), unfit=["raw/var"])
    assert found.choice is not None
    assert found.choice.path == "raw/X"
    assert not any(one.lacks_cells for one in found.considered)


def test_a_logarithm_of_10_000_that_lacks_cells_is_a_part_though_it_keeps_their_scale() -> None:
    found = selected(matrix("X", looked_at(50, 50, logarithms())), matrix("layers/z", looked_at(100, 0, unproven())))
    assert [one.candidate.path for one in found.considered] == ["layers/z", "X"]
    assert found.considered[1].is_part


# --- What is asked for, and what is said --------------------------------------------------------------------------


def test_what_is_asked_for_is_chosen_and_the_order_stays() -> None:
    matrices = [matrix("X", logarithms()), matrix("layers/counts", counts()), matrix("layers/z", SCALED)]
    asked = choose(matrices, "X")
    assert asked.choice is not None
    assert asked.chosen is not None
    assert (asked.choice.path, asked.chosen.candidate.path) == ("X", "X")
    assert asked.choice.why.startswith("Asked for; it holds log1p of counts scaled to 10,000 a cell (")
    assert asked.considered == choose(matrices).considered
    assert choose(matrices, "layers/z").chosen is None
    assert choose([]).considered == ()


def test_the_choice_tells_what_the_matrix_is_and_why() -> None:
    evidence = replace(counts(), n_values=1234)
    candidate = Candidate("raw/X", MatrixEncoding.DENSE, "int32", 70, 3000, 999, "raw/var", evidence)
    assert choose([candidate]).choice == MatrixChoice(
        path="raw/X",
        state=MatrixState.COUNTS,
        why="It holds whole, non-negative numbers: counts (all of 1,234 sampled values are whole numbers).",
        encoding=MatrixEncoding.DENSE,
        dtype="int32",
        n_cells=70,
        n_genes=3000,
        nnz=999,
        genes_path="raw/var",
        transform=Transform.NONE,
        target_sum=None,
        counted=True,
    )


@pytest.mark.parametrize(("multiples", "counted"), [(1.0, True), (0.95, True), (0.949, False), (0.0, False)])
def test_values_are_counted_if_nineteen_of_twenty_are_multiples_of_one_count(multiples: float, counted: bool) -> None:
    choice = selected(matrix("X", logarithms(multiples=multiples))).choice
    assert choice is not None
    assert choice.counted is counted
    assert choice.transform is Transform.LOG1P


def test_every_state_has_words_of_its_own() -> None:
    assert len({in_words(state) for state in MatrixState}) == len(MatrixState)
    one = selected(matrix("X", logarithms())).considered[0]
    assert described(one) == f"{in_words(MatrixState.LOG1P_CP10K)} ({one.found.proof})"
