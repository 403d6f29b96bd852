"""The verdict from facts alone: what is refused, what is told, and what is not said twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from shared.bundles.card import Features
from shared.domain.verdict import Finding, MatrixState, Overlap, Species, Verdict
from shared.h5ad.facts import (
    TRANSPOSED,
    CellFacts,
    Embedding,
    Evidence,
    FileFacts,
    GeneColumn,
    GeneTable,
    GroupingFacts,
)
from shared.h5ad.judge.judging import ModelNeeds, judge
from tests.judge.facts import SCALED, counts, logarithms, matrix

SYMBOLS = ("CD3D", "MS4A1", "LYZ", "NKG7", "GNLY", "ACTB", "GAPDH", "B2M", "CD14", "CD19")
OTHERS = tuple(f"GENE{letter}{n}" for n, letter in enumerate("ABCDEFGHIJ"))
CELLS = CellFacts(100, "index", ids_checked=100)
X = matrix("X", counts())


def table(path: str = "var", ids: Sequence[str] = SYMBOLS, **changes: Any) -> GeneTable:
    return replace(GeneTable(path, (GeneColumn("_index", tuple(ids)),)), **changes)


def facts(*candidates: Any, cells: CellFacts = CELLS, **changes: Any) -> FileFacts:
    return replace(FileFacts("anndata 0.1.0", 1234, cells, candidates or (X,), (table(),)), **changes)


def nothing(**changes: Any) -> FileFacts:
    """A file without a matrix that could be read."""
    return replace(facts(), candidates=(), **changes)


def model(min_overlap: float = 0.3, symbols: Sequence[str] = SYMBOLS) -> ModelNeeds:
    return ModelNeeds(Features(symbol=tuple(symbols)), Species.HUMAN, min_overlap, "blood@1")


def codes(verdict: Verdict) -> list[str]:
    return [str(finding.code) for finding in verdict.findings]


def only(verdict: Verdict, code: str) -> Finding:
    (finding,) = verdict.findings
    assert finding.code == code
    return finding


def test_a_file_with_which_all_is_well_is_described_without_a_word() -> None:
    verdict = judge(facts(replace(X, n_genes=9_000), matrix("layers/log", logarithms(), n_genes=11_000)), model())
    assert verdict.findings == ()
    assert verdict.accepted
    assert (verdict.n_cells, verdict.n_genes, verdict.size_bytes) == (100, 9_000, 1234)  # Genes of the matrix used.
    assert verdict.layout == "anndata 0.1.0"
    assert verdict.considered == (("X", MatrixState.COUNTS), ("layers/log", MatrixState.LOG1P_CP10K))
    assert verdict.overlap == Overlap(10, 10)
    assert verdict.genes is not None
    assert judge(facts()).overlap is None


# --- The layout ---------------------------------------------------------------------------------------------------


def test_layouts_that_change_what_is_written_are_told() -> None:
    assert (
        "the layout is anndata <0.7" in only(judge(facts(layout="anndata <0.7", old_layout=True)), "OLD_LAYOUT").message
    )
    assert (
        "the layout is 10x v3, which has no obs"
        in only(judge(facts(layout="10x v3", tenx=True)), "TENX_LAYOUT").message
    )


@pytest.mark.parametrize(("n_skipped", "n_more"), [(0, None), (1, None), (5, None), (6, 1), (1_234, 1_229)])
def test_five_matrices_that_are_left_out_are_told_one_by_one_and_the_others_counted(
    n_skipped: int, n_more: int | None
) -> None:
    skipped = tuple((f"layers/{n}", "odd") for n in range(n_skipped))
    found = judge(facts(unusable=skipped)).findings
    assert [finding.details["path"] for finding in found[:5]] == [path for path, _ in skipped[:5]]
    assert {str(finding.code) for finding in found} <= {"MATRIX_SKIPPED"}
    if n_more is None:
        assert len(found) == n_skipped
    else:
        assert (len(found), found[5].details) == (6, {"n_more": n_more})
        assert found[5].message == f"{n_more:,} more matrices are left out."


# --- Cells --------------------------------------------------------------------------------------------------------


def test_ids_that_occur_twice_are_refused_in_the_words_of_the_files_kind() -> None:
    one = only(judge(facts(cells=replace(CELLS, n_duplicates=1, duplicates=("a",)))), "DUPLICATE_CELLS")
    assert "1 cell id occurs more than once, such as a" in one.message
    assert "the index of obs" in one.message
    assert "read_10x_h5" not in one.hint
    assert one.details == {"n_duplicates": 1, "examples": ["a"]}
    many = replace(CELLS, n_duplicates=1_234, duplicates=tuple("abcdefg"), ids_checked=50)
    tenx = judge(facts(cells=many, tenx=True)).findings[1]
    assert "1,234 cell ids occur more than once, such as a, b, c, d, e and 2 more" in tenx.message
    assert "the barcodes" in tenx.message
    assert "read_10x_h5" in tenx.hint


@pytest.mark.parametrize(("n_checked", "said"), [(99, True), (100, False), (0, True)])
def test_ids_that_were_not_all_compared_are_told(n_checked: int, *, said: bool) -> None:
    verdict = judge(facts(cells=replace(CELLS, ids_checked=n_checked)))
    assert codes(verdict) == (["CELLS_NOT_ALL_CHECKED"] if said else [])
    assert verdict.accepted
    if said:
        assert f"{n_checked} of 100 cell ids were compared" in verdict.findings[0].message


def test_an_index_that_has_the_name_of_a_result_keeps_it() -> None:
    finding = only(judge(facts(cells=replace(CELLS, index="celldrop_label"))), "COLUMN_RENAMED")
    assert "celldrop_label_2" in finding.hint


def test_what_an_earlier_run_added_is_named_as_it_is_replaced() -> None:
    cells = replace(CELLS, columns=("donor", "celldrop_label", "celldrop_score", "celldrop_mine"))
    embeddings = (Embedding("X_pca", (100, 50)), Embedding("X_celldrop", (100, 20)))
    finding = only(judge(facts(cells=cells, embeddings=embeddings)), "EARLIER_RESULTS")
    names = ["celldrop_label", "celldrop_score", 'obsm["X_celldrop"]']
    assert finding.details == {"names": names}
    assert finding.message == f"the file was annotated before: {', '.join(names)}."
    assert "take their place" in finding.hint
    assert not judge(facts(cells=replace(cells, columns=("donor", "celldrop_mine")))).findings


def test_an_index_called_as_a_result_leaves_the_column_beside_it_to_an_earlier_run() -> None:
    cells = replace(CELLS, index="celldrop_label", columns=("celldrop_label_2",))
    verdict = judge(facts(cells=cells))
    assert codes(verdict) == ["COLUMN_RENAMED", "EARLIER_RESULTS"]
    assert verdict.findings[1].details == {"names": ["celldrop_label_2"]}


@pytest.mark.parametrize(
    ("n_cells", "tables", "code"),
    [
        pytest.param(0, (table(),), "EMPTY_MATRIX", id="no cells"),
        pytest.param(100, (), "EMPTY_MATRIX", id="no genes"),
        pytest.param(100, (table(ids=()),), "EMPTY_MATRIX", id="an empty list of genes"),
        pytest.param(100, (table(ids=(), n_other=3, other_types=("peaks",)),), "NOT_GENE_EXPRESSION", id="peaks alone"),
        pytest.param(
            100,
            (table(ids=(), n_other=3, other_types=("peaks",)), table("raw/var", (), n_other=4, other_types=("peaks",))),
            "NOT_GENE_EXPRESSION",
            id="peaks in both lists",
        ),
    ],
)
def test_a_file_without_cells_or_genes_is_refused_once_by_what_it_lacks(
    n_cells: int, tables: tuple[GeneTable, ...], code: str
) -> None:
    verdict = judge(nothing(cells=replace(CELLS, n_cells=n_cells, ids_checked=n_cells), genes=tables))
    n_genes = max((one.n_genes for one in tables), default=0)
    finding = only(verdict, code)
    if code == "EMPTY_MATRIX":
        assert f"{n_cells} cells and {n_genes} genes" in finding.message


# --- Columns that are asked for -----------------------------------------------------------------------------------


def asked(problem: str, n_columns: int = 3, option: str = "batch") -> Verdict:
    named = tuple(f"c{n}" for n in range(n_columns))
    cells = replace(CELLS, columns=named)
    groupings = (GroupingFacts("donor", problem), GroupingFacts("other", "it holds numbers"))
    return judge(facts(cells=cells, groupings=groupings), columns={option: "donor"})


def test_a_column_that_does_not_group_the_cells_is_refused_with_those_there_are() -> None:
    finding = only(asked("there is no such column"), "INVALID_OPTION")
    assert "option batch=donor: there is no such column" in finding.message
    assert finding.hint.endswith("Columns of obs: 'c0', 'c1', 'c2'.")
    assert finding.details == {"option": "batch", "column": "donor"}
    assert asked("").findings == ()


@pytest.mark.parametrize(
    ("n_columns", "end"), [(0, "of obs: none."), (20, "'c18', 'c19'."), (21, "'c19' and 1 more."), (99, "and 79 more.")]
)
def test_twenty_columns_are_named_at_most(n_columns: int, end: str) -> None:
    assert only(asked("there is none", n_columns), "INVALID_OPTION").hint.endswith(end)


# --- No matrix ----------------------------------------------------------------------------------------------------

ZEROS, NAN = Evidence(), Evidence(n_values=5, n_nan=3, n_infinite=2)


@pytest.mark.parametrize(
    ("file", "wanted", "words", "hint"),
    [
        pytest.param(nothing(), None, "holds no matrix: no X, raw or layers", "Put the counts into adata.X", id="none"),
        pytest.param(
            nothing(unusable=(("X", "strings"),)),
            None,
            "no matrix can be used: X: strings",
            "Write the file again",
            id="odd",
        ),
        pytest.param(
            nothing(unusable=(("X", f"{TRANSPOSED} by R"),)), None, "transposed", "matrix transposed", id="transposed"
        ),
        pytest.param(
            facts(matrix("X", SCALED)), None, "no matrix can be used: X: negative", "cannot be undone", id="z-scores"
        ),
        pytest.param(facts(matrix("X", SCALED)), "X", "the X asked for cannot be used", "cannot be undone", id="asked"),
        pytest.param(facts(matrix("X", ZEROS)), None, "X: all sampled values are zero", "emptied this one", id="zeros"),
        pytest.param(
            facts(replace(matrix("X", ZEROS), nnz=0)), None, "X: all of it is zero", "emptied this one", id="nothing"
        ),
        pytest.param(
            facts(matrix("X", ZEROS), matrix("raw/X", SCALED)), None, "zero", "cannot be undone", id="zeros, z-scores"
        ),
        pytest.param(
            facts(matrix("X", NAN)), None, "X: no value is a finite number", "cannot be undone", id="no numbers"
        ),
        pytest.param(facts(), "layers/no", "no usable matrix layers/no", "Name one of those", id="another"),
        pytest.param(nothing(unusable=(("X", "odd"),)), "X", "one of: none", "Name one of those", id="nothing to name"),
    ],
)
def test_a_file_without_a_usable_matrix_is_told_what_was_seen_and_what_to_do(
    file: FileFacts, wanted: str | None, words: str, hint: str
) -> None:
    finding = next(one for one in judge(file, matrix=wanted).findings if one.code == "NO_USABLE_MATRIX")
    assert words in finding.message
    assert hint in finding.hint


def test_many_matrices_that_cannot_be_used_are_not_all_told() -> None:
    verdict = judge(facts(*(matrix(f"layers/{n}", SCALED) for n in range(5))))
    assert "and 2 more" in only(verdict, "NO_USABLE_MATRIX").message


# --- Genes and a model --------------------------------------------------------------------------------------------


def test_what_is_asked_for_is_judged_by_its_own_genes() -> None:
    both = facts(X, matrix("raw/X", counts()), genes=(table(), table("raw/var", OTHERS)))
    assert judge(both, model(), matrix="X").overlap == Overlap(10, 10)
    assert judge(both, model(), matrix="raw").overlap == Overlap(10, 0)


@pytest.mark.parametrize(
    ("n_in_raw", "min_overlap", "path"),
    [
        (3, 0.3, "raw/X"),
        (2, 0.3, "X"),
        (1, 0.0, "raw/X"),
        (0, 0.0, "X"),
        (1, 0.05, "raw/X"),
        (9, 1.0, "X"),
    ],
)
def test_a_matrix_with_too_few_of_the_models_genes_stands_back_where_another_has_enough(
    n_in_raw: int, min_overlap: float, path: str
) -> None:
    raw = table("raw/var", [*SYMBOLS[:n_in_raw], *OTHERS[n_in_raw:]])
    both = facts(X, matrix("raw/X", counts()), genes=(table(), raw))
    verdict = judge(both, model(min_overlap))
    assert verdict.matrix is not None
    assert verdict.matrix.path == path
    without = judge(both).matrix
    assert without is not None
    assert without.path == "raw/X"  # Without a model every gene is as good as another.


def test_where_no_matrix_has_enough_the_best_one_is_judged() -> None:
    both = facts(X, matrix("raw/X", counts()), genes=(table(ids=OTHERS), table("raw/var", OTHERS)))
    verdict = judge(both, model())
    assert verdict.matrix is not None
    assert verdict.matrix.path == "raw/X"
    assert "GENES_DO_NOT_MATCH" in codes(verdict)


def test_a_matrix_without_genes_stands_behind_one_with_some_and_is_refused_alone() -> None:
    peaks = table("raw/var", (), n_other=3, other_types=("peaks",), other_examples=("chr1:1-2",))
    both = facts(X, matrix("raw/X", counts()), genes=(table(), peaks))
    chosen = judge(both).matrix
    assert chosen is not None
    assert chosen.path == "X"
    verdict = judge(both, model(), matrix="raw")
    assert only(verdict, "NOT_GENE_EXPRESSION").message.startswith("none of the 3 features is a gene: peaks")
    assert verdict.genes is None
    assert verdict.matrix is not None


def test_a_matrix_whose_genes_are_not_named_anywhere_is_described_without_them() -> None:
    verdict = judge(facts(genes=()), model())
    assert verdict.matrix is not None
    assert (verdict.genes, verdict.overlap, verdict.findings) == (None, None, ())


def test_all_that_is_wrong_is_said_at_once_the_file_first() -> None:
    bad = facts(
        matrix("X", counts(n_nan=3), n_genes=3_000),
        cells=replace(CELLS, n_duplicates=2, duplicates=("a",)),
        genes=(table(ids=OTHERS),),
        unusable=(("layers/z", "odd"),),
    )
    said = codes(judge(bad, model()))
    assert said == [
        *("MATRIX_SKIPPED", "DUPLICATE_CELLS", "BAD_VALUES", "SUBSET_OF_GENES"),
        *("SPECIES_UNKNOWN", "GENES_DO_NOT_MATCH"),
    ]


# --- A model of counts --------------------------------------------------------------------------------------------


def of_counts() -> ModelNeeds:
    return replace(model(), counts=True)


def test_a_model_of_counts_refuses_what_is_none_and_says_no_more_of_it() -> None:
    verdict = judge(facts(matrix("X", logarithms(), n_genes=9_000)), of_counts())
    refused = only(verdict, "COUNTS_NEEDED")
    assert refused.message.startswith("X holds log")
    assert refused.message.endswith("; expected counts, which blood@1 computes from.")
    assert refused.hint.startswith('Keep counts in adata.layers["counts"] to have them used. Or use a model')


def test_a_model_of_counts_is_given_them_wherever_they_are() -> None:
    matrices = (matrix("X", logarithms(), n_genes=20_000), matrix("layers/counts", counts(), n_genes=2_000))
    assert judge(facts(*matrices), model()).matrix != judge(facts(*matrices), of_counts()).matrix
    chosen = judge(facts(*matrices), of_counts())
    assert chosen.matrix is not None
    assert (chosen.matrix.path, codes(chosen)) == (
        "layers/counts",
        [],
    )  # Nor do genes that it does not have matter.
    asked_for = judge(facts(*matrices), of_counts(), matrix="X")
    assert "--set matrix=layers/counts" in only(asked_for, "COUNTS_NEEDED").hint


def test_a_model_of_counts_is_not_given_those_of_other_genes() -> None:
    mine = matrix("X", logarithms(), n_genes=9_000)
    theirs = matrix("raw/X", counts(), n_genes=9_000, genes_path="raw/var")
    both = facts(mine, theirs, genes=(table(), table("raw/var", OTHERS)))
    found = judge(both, of_counts())
    assert (found.considered[0][0], codes(found)) == ("X", ["COUNTS_NEEDED"])


def test_a_model_of_counts_is_not_given_a_part_of_them() -> None:
    """Of what velocity tools write, the unspliced counts are missing."""
    both = facts(matrix("X", logarithms(), n_genes=9_000), matrix("layers/spliced", counts(), n_genes=9_000))
    found = judge(both, of_counts())
    only(found, "COUNTS_NEEDED")
    asked_for = judge(both, of_counts(), matrix="layers/spliced")
    assert "COUNTS_NEEDED" not in {finding.code for finding in asked_for.findings}
