"""What is said of a file's genes, rule by rule: what the names and a sample tell, and which findings come of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shared.bundles.card import Features
from shared.domain.verdict import Finding, GeneIds, GeneSpace, Overlap, Severity, Species
from shared.h5ad.facts import Candidate, CellFacts, GeneColumn, GeneTable, Household, Strangers
from shared.h5ad.judge.comparing import difference, shown, some_features
from shared.h5ad.judge.genes import on_genes, on_model, only_others, overlap_of
from shared.h5ad.judge.needs import ModelNeeds
from shared.h5ad.names.agreement import Disagreement
from shared.h5ad.names.genes import Found
from shared.h5ad.names.matching import Matching
from tests.judge.facts import counts, matrix

SYMBOLS = ("CD3D", "MS4A1", "LYZ", "NKG7", "GNLY", "ACTB", "GAPDH", "B2M", "CD14", "CD19")
HUMAN = GeneSpace("_index", GeneIds.SYMBOL, Species.HUMAN)


def table_of(*ids: str, cut_from: tuple[str, str] | None = None, **changes: Any) -> GeneTable:
    return replace(GeneTable("var", (GeneColumn("_index", ids or SYMBOLS, cut_from),)), **changes)


def found_of(space: GeneSpace = HUMAN, matched: int = 0, **changes: Any) -> Found:
    return replace(Found(space, frozenset(range(matched))), **changes)


def told(found: Found | None = None, table: GeneTable | None = None, chosen: Candidate | None = None) -> list[Finding]:
    return list(on_genes(found or found_of(), table or table_of(), chosen or matrix("X", counts())))


def codes(findings: list[Finding]) -> list[str]:
    return [str(finding.code) for finding in findings]


def only(findings: list[Finding], code: str) -> Finding:
    (finding,) = findings
    assert finding.code == code
    assert finding.severity is Severity.WARNING
    assert finding.hint
    return finding


def test_nothing_is_said_of_genes_with_which_all_is_well() -> None:
    assert told() == []
    well = Household((("ribosomal genes", 0.85), ("MALAT1", 1.0)), bare=0.019)
    strangers = Strangers((("HTO-1", 0.049),), share=0.079)
    assert told(chosen=replace(matrix("X", counts()), household=well, strangers=strangers)) == []


# --- Names --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "words"), [("antibodies", "Nothing to do"), ("introns", "count introns too")])
def test_features_that_are_no_genes_are_left_out_and_told(kind: str, words: str) -> None:
    table = table_of(n_other=1234, other_types=("peaks", kind), other_examples=("chr1:1-2", "CD3-ADT"))
    finding = only(told(table=table), "OTHER_FEATURES")
    assert finding.details == {"n_other": 1234}
    assert f"1,234 features of X that are not genes (peaks, {kind}; such as 'chr1:1-2', 'CD3-ADT')" in finding.message
    assert words in finding.hint


def test_a_matrix_without_a_gene_is_refused_by_what_it_has() -> None:
    error = only_others(table_of(n_other=1234, other_types=("peaks",), other_examples=("chr1:1-2",)))
    assert "none of the 1,234 features is a gene: peaks, such as 'chr1:1-2'" in error.message


@pytest.mark.parametrize(
    ("n_duplicates", "n_summed", "n_told"), [(1, 0, 1), (0, 1, 1), (5, 3, 5), (3, 5, 5), (1200, 0, 1200)]
)
def test_names_that_repeat_are_told_with_what_becomes_of_their_values(
    n_duplicates: int, n_summed: int, n_told: int
) -> None:
    matching = Matching([], n_summed=n_summed)
    found = found_of(replace(HUMAN, n_duplicates=n_duplicates), matching=matching)
    finding = only(told(found), "DUPLICATE_GENES")
    assert finding.details == {"n_duplicates": n_told, "n_summed": n_summed}
    assert finding.message.startswith(f"{n_told:,} genes repeat an identifier of var/_index")
    assert ("added up" in finding.message) is (n_summed > 0)
    assert ("the first is used" in finding.hint) is (n_summed == 0)


def test_names_that_are_parts_of_longer_ones_are_told_with_an_example_that_is_cut() -> None:
    table = table_of(cut_from=("x" * 101 + ":CD3D", "CD3D" + "y" * 97))
    finding = only(told(table=table), "GENE_NAMES_CUT")
    assert finding.details == {"example": "x" * 100, "part": "CD3D" + "y" * 96}
    assert f"in var/_index: of '{'x' * 100}' the part 'CD3D{'y' * 96}'" in finding.message


def test_names_that_nobody_knows_are_shown_beside_those_that_were_expected() -> None:
    found = found_of(GeneSpace("_index", GeneIds.UNKNOWN, Species.UNKNOWN))
    findings = told(found, table_of("probe_1", "", "probe_2", "probe_3"))
    assert codes(findings) == ["GENE_IDS_UNKNOWN", "SPECIES_UNKNOWN"]
    assert findings[0].details == {"examples": ["probe_1", "probe_2"]}
    assert "'probe_1', 'probe_2', 'probe_3'; expected names such as 'CD3D'" in findings[0].message


def test_columns_that_name_different_genes_are_told_with_what_is_used() -> None:
    apart = Disagreement(("symbol", "gene_ids"), ("CD3D", "ENSG1", "LYZ"), n_compared=1000, n_agreeing=12)
    finding = only(told(found_of(disagreement=apart)), "GENES_DISAGREE")
    assert finding.details == {"n_compared": 1000, "n_agreeing": 12}
    assert "var/symbol and var/gene_ids name different genes: of 1,000 rows 12 agree" in finding.message
    assert "'CD3D' stands beside 'ENSG1', which is 'LYZ'; _index is used" in finding.message


def test_what_is_said_is_of_the_column_that_is_used() -> None:
    columns = (GeneColumn("_index", ("g1", "g2")), GeneColumn("symbol", ("p1", "p2")))
    column = b"symbol".decode()  # Read again from a record: an equal name, not the same one.
    found = found_of(GeneSpace(column, GeneIds.UNKNOWN, Species.HUMAN))
    assert only(told(found, GeneTable("var", columns)), "GENE_IDS_UNKNOWN").details == {"examples": ["p1", "p2"]}


def test_genes_that_are_found_by_translating_are_counted() -> None:
    finding = only(told(found_of(matching=Matching([], n_translated=1))), "GENES_TRANSLATED")
    assert finding.details == {"n_translated": 1}
    assert "GENCODE" in finding.message


# --- Species ------------------------------------------------------------------------------------------------------

MOUSE_SYMBOLS = tuple(symbol.capitalize() for symbol in SYMBOLS)


def test_of_two_species_both_are_counted_and_nothing_else_is_said() -> None:
    unknown = found_of(GeneSpace("_index", GeneIds.SYMBOL, Species.UNKNOWN))
    finding = only(told(unknown, table_of(*SYMBOLS, *MOUSE_SYMBOLS[:8])), "MIXED_SPECIES")
    assert finding.details == {"homo_sapiens": 10, "mus_musculus": 8}
    assert "10 human and 8 mouse names" in finding.message


@pytest.mark.parametrize(
    ("species", "word"), [(Species.HUMAN, "human"), (Species.MOUSE, "mouse"), (Species.UNKNOWN, "another species'")]
)
def test_names_of_another_species_beside_those_that_are_used_are_told(species: Species, word: str) -> None:
    foreign = GeneSpace("mouse_gene", GeneIds.SYMBOL, species)
    finding = only(told(found_of(foreign=foreign)), "ORTHOLOGUES_USED")
    assert f"var/mouse_gene names {word} genes; the names in _index are used" in finding.message


@pytest.mark.parametrize(("n_of_mouse", "said"), [(11, True), (10, False)])
def test_mouse_symbols_in_capitals_are_told_if_they_are_more_than_chance(n_of_mouse: int, *, said: bool) -> None:
    findings = told(table=table_of(*SYMBOLS, *(f"GM{n}" for n in range(n_of_mouse))))
    assert codes(findings) == (["ORTHOLOGUES_USED"] if said else [])
    if said:
        assert "'GM0', 'GM1', 'GM2'" in findings[0].message


def test_a_species_that_nothing_tells_is_said_once() -> None:
    finding = only(told(found_of(replace(HUMAN, species=Species.UNKNOWN))), "SPECIES_UNKNOWN")
    assert "var/_index do not tell the species, such as 'CD3D', 'MS4A1', 'LYZ'" in finding.message


# --- Genes that every cell has ------------------------------------------------------------------------------------


def household(bare: float = 0.0, seen: float = 1.0, named: float = 0.0, n_genes: int = 20_000) -> list[Finding]:
    groups = (("ribosomal genes", seen), ("MALAT1", 1.0))
    return told(chosen=replace(matrix("X", counts(), n_genes), household=Household(groups, bare, named)))


@pytest.mark.parametrize(
    ("bare", "named", "code"),
    [
        (0.8, 0.8, "GENES_DISAGREE"),
        (1.0, 1.0, "GENES_DISAGREE"),
        (0.79, 0.8, "SUBSET_OF_GENES"),  # Then the cells have selected genes.
        (0.8, 0.79, "SUBSET_OF_GENES"),
        (0.02, 0.0, "SUBSET_OF_GENES"),
        (0.019, 0.0, None),
    ],
)
def test_cells_without_the_genes_that_every_cell_has_are_told(bare: float, named: float, code: str | None) -> None:
    findings = household(bare, named=named)
    assert codes(findings) == ([code] if code else [])
    if code:
        assert findings[0].details == {"share": bare}
        assert f"{bare:.0%} of the sampled cells" in findings[0].message


@pytest.mark.parametrize(
    ("seen", "n_genes", "said"),
    [(0.84, 5_000, True), (0.85, 5_000, False), (0.0, 20_000, True), (0.84, 4_999, False), (0.0, 300, False)],
)
def test_loud_genes_that_a_whole_transcriptome_lacks_are_named(seen: float, n_genes: int, *, said: bool) -> None:
    findings = household(seen=seen, n_genes=n_genes)
    assert codes(findings) == (["SUBSET_OF_GENES"] if said else [])
    if said:
        assert f"every cell has plenty: ribosomal genes ({seen:.0%} of them found); without" in findings[0].message


def test_one_thing_is_said_of_them_and_the_gravest() -> None:
    assert [len(household(bare, seen=0.1, named=1.0)) for bare in (0.9, 0.5, 0.0)] == [1, 1, 1]
    assert codes(household(0.9, seen=0.1, named=1.0)) == ["GENES_DISAGREE"]
    assert "lacks genes" in household(0.5, seen=0.1)[0].message
    assert "have selected genes only" in household(0.5, seen=0.1, n_genes=300)[0].message


# --- Features that no annotation knows ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loud", "share", "told_share"),
    [
        pytest.param([0.05], 0.06, 0.05, id="one that is loud"),
        pytest.param([0.03, 0.02], 0.06, 0.05, id="two that are loud together"),
        pytest.param([0.049], 0.079, None, id="neither"),
        pytest.param([0.049], 0.08, 0.08, id="many that are quiet"),
        pytest.param([], 0.2, 0.2, id="very many"),
        pytest.param([], 0.0, None, id="none"),
    ],
)
def test_features_that_no_annotation_knows_are_told_from_a_share_of_the_counts_on(
    loud: list[float], share: float, told_share: float | None
) -> None:
    strangers = Strangers(tuple((f"HTO-{n}", one) for n, one in enumerate(loud)), share)
    chosen = replace(matrix("X", counts()), strangers=strangers)
    findings = told(chosen=chosen)
    assert codes(findings) == (["UNKNOWN_FEATURES"] if told_share else [])
    if told_share:
        assert findings[0].details == {"share": told_share}
        assert f"about {told_share:.0%} of the values of X" in findings[0].message
        assert ("HTO-0" in findings[0].message) is (sum(loud) >= 0.05)
    unknown = found_of(replace(HUMAN, species=Species.UNKNOWN))
    assert codes(told(unknown, chosen=chosen)) == ["SPECIES_UNKNOWN"]  # No annotation to know them.


# --- A model ------------------------------------------------------------------------------------------------------

TEN = Features(symbol=SYMBOLS)


def model(min_overlap: float = 0.3, species: Species = Species.HUMAN, features: Features = TEN) -> ModelNeeds:
    return ModelNeeds(features, species, min_overlap, "blood@1")


def on(n_matched: int, needs: ModelNeeds, *ids: str, space: GeneSpace = HUMAN) -> list[Finding]:
    found = found_of(space, n_matched)
    overlap = overlap_of(found, needs)
    assert overlap == Overlap(needs.n_features, n_matched)
    return list(on_model(found, overlap, needs, table_of(*ids), CellFacts(100, "index")))


@pytest.mark.parametrize(
    ("n_matched", "min_overlap", "code"),
    [
        (2, 0.3, "GENES_DO_NOT_MATCH"),
        (3, 0.3, "LOW_OVERLAP"),
        (4, 0.3, "LOW_OVERLAP"),
        (5, 0.3, None),
        (10, 1.0, None),
        (9, 1.0, "GENES_DO_NOT_MATCH"),
        (0, 0.0, "GENES_DO_NOT_MATCH"),
        (1, 0.0, "LOW_OVERLAP"),
    ],
)
def test_what_share_of_a_models_genes_the_file_has_decides(
    n_matched: int, min_overlap: float, code: str | None
) -> None:
    findings = on(n_matched, model(min_overlap))
    assert codes(findings) == ([code] if code else [])
    if code:
        assert findings[0].details == {"n_model": 10, "n_matched": n_matched}
        assert f"{n_matched} of the 10 genes of blood@1 are in the file" in findings[0].message


@pytest.mark.parametrize(("min_overlap", "least"), [(0.0, 1), (0.04, 1), (0.3, 3), (1.0, 10)])
def test_how_many_genes_were_expected_is_told_and_how_they_are_called(min_overlap: float, least: int) -> None:
    (finding,) = on(0, model(min_overlap), "TP53", "KRAS")
    assert finding.severity is Severity.REFUSAL
    assert f"at least {least}, named like 'CD3D', 'MS4A1', 'LYZ'" in finding.message
    assert "few of which are the model's: 'TP53', 'KRAS'" in finding.message
    assert "var/_index" in finding.message


MOUSE = GeneSpace("_index", GeneIds.SYMBOL, Species.MOUSE)


@pytest.mark.parametrize(
    ("theirs", "models", "refused"),
    [
        (Species.MOUSE, Species.HUMAN, True),
        (Species.HUMAN, Species.MOUSE, True),
        (Species.HUMAN, Species.HUMAN, False),
        (Species.UNKNOWN, Species.HUMAN, False),
        (Species.MOUSE, Species.UNKNOWN, False),
    ],
)
def test_cells_of_another_species_than_the_models_are_refused(
    theirs: Species, models: Species, *, refused: bool
) -> None:
    findings = on(10, model(species=models), space=replace(HUMAN, species=theirs))
    assert codes(findings) == (["WRONG_SPECIES"] if refused else [])
    if refused:
        assert findings[0].details == {"species": str(theirs), "model_species": str(models)}
        assert ("str.upper()" in findings[0].hint) is (theirs is Species.MOUSE)


def test_genes_of_another_species_are_no_spelling() -> None:
    species, genes = on(0, model(), *MOUSE_SYMBOLS, space=MOUSE)
    assert (species.code, genes.code) == ("WRONG_SPECIES", "GENES_DO_NOT_MATCH")
    assert "are of another species" in genes.message
    assert "orthologues=on" in species.hint
    assert genes.hint == "Do as said for WRONG_SPECIES.", "what to do is said once"


# --- In words -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["CD3D", "", "CD3D", "LYZ", "GNLY", "ACTB"], "'CD3D', 'LYZ', 'GNLY'"),
        (["", ""], "nothing"),
        (["x" * 41], f"'{'x' * 40}'"),
        (["a\tb", "ä"], r"'a\tb', '\xe4'"),
        ([*[""] * 1999, "LAST", "LATER"], "'LAST'"),
    ],
)
def test_names_are_shown_as_they_stand_and_few_of_them(names: list[str], words: str) -> None:
    assert shown(names) == words


def test_well_known_features_of_a_model_are_shown_first_and_ids_to_a_file_of_ids() -> None:
    both = Features(symbol=("A1BG", "NKG7", "CD3D", None), ensembl=("ENSG1", None, "ENSG3", "ENSG4"))
    assert some_features(both, GeneIds.SYMBOL) == "'CD3D', 'NKG7', 'A1BG'"
    assert some_features(both, GeneIds.ENSEMBL) == "'ENSG1', 'ENSG3', 'ENSG4'"
    assert some_features(Features(symbol=("A1BG",)), GeneIds.ENSEMBL) == "'A1BG'"
    assert some_features(Features(ensembl=("ENSG1",)), GeneIds.SYMBOL) == "'ENSG1'"


UNKNOWN = GeneSpace("_index", GeneIds.UNKNOWN, Species.UNKNOWN)
IDS = GeneSpace("_index", GeneIds.ENSEMBL, Species.MOUSE)


def ensembl(*prefixes: str) -> list[str]:
    return [f"{prefix}{n:011d}" for n, prefix in enumerate(prefixes)]


@pytest.mark.parametrize(
    ("ids", "space", "words"),
    [
        pytest.param(MOUSE_SYMBOLS, HUMAN, "differ from the model's in capitals", id="capitals"),
        pytest.param([s.lower() for s in SYMBOLS], HUMAN, "are in lower case", id="lower case"),
        pytest.param([*(s.lower() for s in SYMBOLS), "Xist"], HUMAN, "are in lower case", id="nearly all lower"),
        pytest.param([*(s.lower() for s in SYMBOLS[:9]), "Xist"], HUMAN, "in capitals", id="nine of ten lower"),
        pytest.param([*(s.lower() for s in SYMBOLS), *"1234"], HUMAN, "are in lower case", id="lower, and numbers"),
        pytest.param(["cd3d", "lyz", "tp53"], HUMAN, "are in lower case", id="two that would match"),
        pytest.param(["cd3d", "TP53", "KRAS"], HUMAN, "few of which are the model's", id="one that would match"),
        pytest.param([f"{s}-1" for s in SYMBOLS], HUMAN, "end in -1", id="second copies"),
        pytest.param([f"{s}.12" for s in SYMBOLS], HUMAN, "end in -1", id="numbered"),
        pytest.param([f"{s}-123" for s in SYMBOLS], HUMAN, "few of which", id="numbers too large for copies"),
        pytest.param(ensembl("ENSMUSG", "ENSG", "ENSG"), IDS, "are Ensembl ids (ENSG, ENSMUSG…)", id="ids"),
        pytest.param(
            [*ensembl("ENSDARG", "ENSRNOG", "ENSMUSG", "ENSG"), "GFP"],
            IDS,
            "are Ensembl ids (ENSDARG, ENSG, ENSMUSG…)",
            id="ids of many species",
        ),
        pytest.param(["", ""], UNKNOWN, "are missing", id="none"),
        pytest.param(["1", "22", "x"], UNKNOWN, "are numbers", id="numbers"),
        pytest.param(["1.0", "22.0", "", "", "x"], UNKNOWN, "are numbers", id="decimal numbers"),
        pytest.param(["1.0.0", "2.1.1"], UNKNOWN, "look like neither", id="versions"),
        pytest.param(["1", "x"], UNKNOWN, "look like neither gene symbols nor Ensembl ids", id="half numbers"),
        pytest.param(["TP53", "KRAS"], HUMAN, "look like gene symbols", id="other symbols"),
    ],
)
def test_how_names_differ_from_the_models_is_told(ids: list[str], space: GeneSpace, words: str) -> None:
    found = difference(ids, space, TEN)
    assert words in found.words
    assert found.hint


def test_of_a_large_model_a_tenth_must_match_before_a_spelling_is_blamed() -> None:
    large = Features(symbol=tuple(f"GENE{n}X" for n in range(100)))
    assert "lower case" in difference([f"gene{n}x" for n in range(10)], HUMAN, large).words
    assert "lower case" not in difference([f"gene{n}x" for n in range(9)], HUMAN, large).words


def test_a_transposed_file_is_known_by_cells_that_are_named_like_genes() -> None:
    found = difference(["ACGT-1"], UNKNOWN, TEN, cells=("CD3D", "LYZ"))
    assert "the cells are named like genes ('CD3D', 'LYZ')" in found.words
    assert "adata.T" in found.hint
    assert "transposed" not in difference([s.lower() for s in SYMBOLS], HUMAN, TEN, cells=("CD3D",)).hint
