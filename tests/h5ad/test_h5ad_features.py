"""Which features are genes: told by a column of types, whatever it is called, or by their names."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from shared.h5ad.judge.judging import validate
from shared.h5ad.names.antibodies import bare_antibodies
from shared.h5ad.names.gene_table import names_of, symbol_of, symbols, unknown
from shared.h5ad.read.columns import open_frame
from shared.h5ad.read.features import kinds_by_name
from shared.h5ad.read.rows import read_gene_names
from shared.h5ad.source import BytesSource
from tests.h5ad.gene_files import IDS, NEEDS, SYMBOLS, codes, file_of, matched
from tests.h5ad.h5ad_files import Recipe, random_counts, write_file

ODD = [f"odd{place}" for place in range(30)]


@pytest.mark.parametrize(
    ("column", "gene", "other"),
    [
        ("feature_types", "Gene Expression", "Antibody Capture"),
        ("feature_types", "gene expression", "antibody capture"),
        ("feature_types", "GEX", "ADT"),
        ("feature_types", "GEX", "ATAC"),
        ("modality", "RNA", "Protein"),
        ("assay", "rna", "Peaks"),
        ("whatever", "Gene_Expression", "CRISPR Guide Capture"),
        ("feature_type", "Gene Expression", "Multiplexing Capture"),
        ("type", "GEX", "HTO"),
        ("type", "RNA", "cell hashing"),
        ("feature_types", "Gene Expression", "Custom"),
        ("feature_types", "", "Antibody Capture"),
    ],
)
def test_a_column_of_types_is_known_by_its_words(column: str, gene: str, other: str) -> None:
    source = file_of([*SYMBOLS, *ODD], {column: [gene] * len(SYMBOLS) + [other] * len(ODD)})
    verdict, positions = matched(source)
    assert verdict.n_genes == len(SYMBOLS)
    assert list(read_gene_names(source, verdict).ids) == SYMBOLS
    assert positions == list(range(len(SYMBOLS)))
    said = next(finding for finding in verdict.warnings if finding.code == "OTHER_FEATURES")
    assert "'odd0'" in said.message


@pytest.mark.parametrize(
    "columns",
    [
        {"feature_type": ["protein_coding"] * 200 + ["lncRNA"] * 50},
        {"biotype": ["protein_coding"] * 200 + ["RNA"] * 50},
        {"feature_types": ["Gene Expression"] * 250, "class": ["protein"] * 250},
    ],
    ids=["biotypes", "RNA", "protein beside gene expression"],
)
def test_biotypes_say_nothing(columns: dict[str, list[str]]) -> None:
    verdict, _ = matched(file_of(SYMBOLS, columns))
    assert verdict.n_genes == 250
    assert "OTHER_FEATURES" not in codes(verdict)


def test_what_has_a_genes_id_is_a_gene_whatever_a_column_calls_it() -> None:
    verdict, _ = matched(file_of(IDS, {"kind": ["protein"] * 200 + ["RNA"] * 50}))
    assert verdict.n_genes == 250


@pytest.mark.parametrize(
    "name",
    [
        "CD{}_TotalSeqB", "CD{}-prot", "AB_CD{}", "ADT_CD{}", "CD{}:UCHT1|CD3E|AHS0231|pAbO", "prot_CD{}", "anti-CD{}",
        "Hu.CD{}", "Isotype_IgG{}", "ERCC-0000{}", "ERCC_0000{}",
        "Hashtag{}", "HTO-{}", "HTO_{}", "CD{}_ADT", "chr1:{}-500", "chr1-{}-500", "CMO30{}", "NegControlProbe_0004{}",
    ],
)  # fmt: skip
def test_features_without_types_are_known_by_their_names(name: str) -> None:
    verdict, positions = matched(file_of([*SYMBOLS, *(name.format(place) for place in range(1, 9))]))
    assert verdict.n_genes == len(SYMBOLS) == len(positions)
    assert "OTHER_FEATURES" in codes(verdict)


LETTERS = (name for name in sorted(symbols()) if name.isalpha() and name.isupper() and not name.startswith("CD"))
MANY = list(dict.fromkeys([*SYMBOLS, *LETTERS]))[:1500]
PANEL = ["CD3", "CD4", "CD8a", "CD14", "CD16", "CD19", "CD45RA", "CD56", "HLA-DR", "IgG1", "TIGIT"]


@pytest.mark.parametrize(
    ("names", "antibodies"),
    [
        ([*MANY, *PANEL], PANEL[:10]),
        ([*PANEL, *MANY], PANEL[:10]),
        ([*MANY, *PANEL[:3], "CD14-1", *PANEL[4:5], "CD19-1", *PANEL[6:]], [*PANEL[:3], "CD14-1", *PANEL[4:5]]),
        (sorted([*MANY, *PANEL]), ["CD16", "CD3", "CD45RA", "CD56", "CD8a"]),
        ([*MANY, "CD97", "CD3"], []),
        (["CD3D", "CD4", "CD16", "CD14", "CD20", "MS4A1", "CD19", "CD56", "NCAM1"], ["CD16", "CD20", "CD56"]),
    ],
    ids=["behind", "before", "made unique", "in alphabetical order", "names of old annotations", "by hand"],
)
def test_bare_antibodies_are_known_by_their_company(names: list[str], antibodies: list[str]) -> None:
    found = [names[place] for place in bare_antibodies(names, unknown(names))]
    assert found[: len(antibodies)] == antibodies
    assert len(found) == 0 or bool(antibodies)


def test_no_gene_of_an_old_annotation_is_taken_for_an_antibody(data_dir: Path) -> None:
    with h5py.File(data_dir / "h5ad/pbmc3k_raw_labelled.h5ad") as file:
        names = open_frame(file, "var").strings("_index", 0, 40_000)
        assert bare_antibodies(names, unknown(names)) == []


@pytest.mark.parametrize(
    "columns",
    [
        {"is_gene": [True] * len(SYMBOLS) + [False] * len(ODD)},
        {"is_adt": [False] * len(SYMBOLS) + [True] * len(ODD)},
        {"feature_types": ["Gene Expression"] * len(SYMBOLS) + [""] * len(ODD)},
        {"feature_types": ["Gene Expression"] * len(SYMBOLS) + ["nan"] * len(ODD)},
    ],
    ids=["is_gene", "is_adt", "no type", "nan"],
)
def test_flags_and_missing_types_tell_genes_from_others(columns: dict[str, list[str | bool]]) -> None:
    verdict, _ = matched(file_of([*SYMBOLS, *ODD], columns))
    assert verdict.n_genes == len(SYMBOLS)
    assert "OTHER_FEATURES" in codes(verdict)


@pytest.mark.parametrize("column", ["protein", "is_protein", "is_mRNA", "peak", "surface_protein"])
def test_a_flag_on_genes_takes_none_out(column: str) -> None:
    verdict, _ = matched(file_of(SYMBOLS, {column: [True] * 100 + [False] * 150}))
    assert verdict.n_genes == 250


def test_genes_of_a_barnyard_are_no_antibodies() -> None:
    assert not any(kinds_by_name([*(f"hu.{name}" for name in SYMBOLS), *(f"Ms.{name}" for name in SYMBOLS)]))


def test_genes_without_a_type_stay_genes() -> None:
    verdict, _ = matched(file_of(SYMBOLS, {"feature_types": ["Gene Expression"] * 200 + [""] * 50}))
    assert verdict.n_genes == 250


@pytest.mark.parametrize("kind", ["csr", "csc", "dense"])
@pytest.mark.parametrize("logged", [False, True])
def test_features_that_no_annotation_knows_are_said_where_they_are_loud(kind: str, *, logged: bool) -> None:
    counts = random_counts(20, len(SYMBOLS) + 3, density=0.5).tolil()
    counts[:, -3:] = 30 + np.arange(60).reshape(20, 3)
    values = counts.tocsr().log1p() if logged else counts.tocsr()
    names = [*SYMBOLS, "EBV", "construct", "summed"]
    verdict = validate(BytesSource(write_file(values, Recipe(kind=kind, genes=names))), NEEDS)
    said = next(finding for finding in verdict.warnings if finding.code == "UNKNOWN_FEATURES")
    assert "'EBV'" in said.message
    share = said.details["share"]
    assert isinstance(share, float)
    assert abs(share - counts[:, -3:].sum() / counts.sum()) < 1e-3


@pytest.mark.parametrize("n_unknown", [3, 60])
def test_features_that_no_annotation_knows_are_said_where_together_they_are_much(n_unknown: int) -> None:
    counts = random_counts(40, len(SYMBOLS) + n_unknown, density=0.5)
    names = [*SYMBOLS, *(f"VIRUS_{number}" for number in range(n_unknown))]
    verdict = validate(BytesSource(write_file(counts, Recipe(genes=names))), NEEDS)
    told = [finding.message for finding in verdict.warnings if finding.code == "UNKNOWN_FEATURES"]
    assert len(told) == (n_unknown == 60)


@pytest.mark.parametrize("prefix", ["ENSG", "ENSMUSG"])
def test_no_gene_of_gencode_is_taken_for_anything_else(prefix: str) -> None:
    table = names_of(prefix)
    assert table is not None
    assert len(table.number) > 40_000
    assert not any(kinds_by_name(list(table.number)))
    # Nor is one that the table does not have, of another release: the same names, as the table does not spell them.
    unlisted = [name.swapcase() for name in table.number]
    assert len(unknown(unlisted)) > 0.9 * len(unlisted)
    assert not any(kinds_by_name(unlisted))


@pytest.mark.parametrize("ending", ["__I", "-I", "_intron", "-unspliced"])
def test_introns_beside_exons_are_left_out_and_said(ending: str) -> None:
    verdict, positions = matched(file_of([*SYMBOLS, *(f"{symbol}{ending}" for symbol in SYMBOLS)]))
    assert len(positions) == len(SYMBOLS)
    said = next(finding for finding in verdict.warnings if finding.code == "OTHER_FEATURES")
    assert "introns" in said.message


@pytest.mark.parametrize(
    ("index", "columns"),
    [
        ([f"chr1:{place}00-{place}50" for place in range(250)], {"nearest_gene": SYMBOLS}),
        ([f"p{place}" for place in range(250)], {"feature_types": ["Peaks"] * 250, "gene": SYMBOLS}),
        (SYMBOLS, {"feature_types": ["Antibody Capture"] * 250}),
        ([f"CD{place}_TotalSeqA" for place in range(250)], {}),
    ],
    ids=["peaks by name", "peaks by type", "antibodies by type", "antibodies by name"],
)
def test_a_file_without_a_gene_is_refused_as_what_it_is(index: list[str], columns: dict[str, list[str]]) -> None:
    verdict = validate(file_of(index, columns), NEEDS)
    assert [finding.code for finding in verdict.refusals] == ["NOT_GENE_EXPRESSION"]
    assert index[0] in verdict.refusals[0].message


def test_the_table_of_genes_knows_both_species() -> None:
    assert symbol_of("ENSG00000167286") == "CD3D"
    assert symbol_of("ENSMUSG00000032094") == "Cd3d"
    assert symbol_of("ENSRNOG00000000001") is None
    assert symbol_of("CD3D") is None
