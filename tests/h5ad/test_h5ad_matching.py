"""A model's features among a file's genes, whatever their names carry; ingest and the task agree on each file."""

from __future__ import annotations

import io
import random
from dataclasses import replace
from functools import partial

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.bundles.card import Features
from shared.bundles.instead import naming_models
from shared.domain.verdict import GeneIds, Species
from shared.h5ad.judge.judging import ModelNeeds, validate
from shared.h5ad.names.gene_table import names_of
from shared.h5ad.names.matching import GeneNames, match_genes
from shared.h5ad.names.wrapped import unwrapped
from shared.h5ad.source import BytesSource
from shared.ports.blobs import ByteRange
from tests.engine.cards import make_card
from tests.h5ad.gene_files import IDS, NEEDS, SYMBOLS, codes, file_of, matched

ALL = list(range(len(SYMBOLS)))
BY_SYMBOL = replace(NEEDS, features=Features(symbol=tuple(SYMBOLS)))
BY_ID = replace(NEEDS, features=Features(ensembl=tuple(IDS)))


@pytest.mark.parametrize(
    "form",
    [
        "{symbol}\r",
        " {symbol} ",
        '"{symbol}"',
        "b'{symbol}'",
        "\ufeff{symbol}",
        "GRCh38_{symbol}",
        "GRCh38______{symbol}",
        "hg19_{symbol}",
        "GRCh38premrna-{symbol}",
        "GRCh38-2020-A_{symbol}",
        "human:{symbol}",
        "gene:{id}",
        "GRCh38_{id}.12",
        "{id}_{symbol}",
        "{symbol}|{id}.3",
    ],
)
def test_names_are_found_whatever_stands_around_them(form: str) -> None:
    names = [form.format(symbol=symbol, id=gene) for symbol, gene in zip(SYMBOLS, IDS, strict=True)]
    verdict, positions = matched(file_of(names))
    assert positions == ALL
    assert verdict.genes is not None
    assert verdict.genes.species is Species.HUMAN


LEARNED = {
    "BD Rhapsody": "{symbol}|NM_000732|Reference_end",
    "transcripts of GENCODE": "ENST00000456328.2|{id}.5|OTTHUMG00000002860.3|-|{symbol}-202|{symbol}|1657|lncRNA|",
    "symbol, id and type": "{symbol}|{id}|protein_coding",
    "a prefix of somebody's own": "g_{symbol}",
    "a registry before": "HGNC:{symbol}",
    "a species before": "Hs_{symbol}",
    "a species in brackets": "{symbol} (human)",
    "an assay behind": "{symbol}-RNA",
    "a list's end": "{symbol};",
    "a chromosome before": "chr1:1000-2000:{symbol}",
    "isoforms": "{symbol}-201",
    "an id of others": "7157/{symbol}",
    "R's make.names": "{symbol}.NM_000732.Reference_end",
    "an Entrez id in brackets": "{symbol} (916)",
    "angle brackets": "<{symbol}>",
    "a plus": "{symbol}+NM_1",
    "attributes of GFF": "ID=gene1;Name={symbol};biotype=protein_coding",
    "attributes of GTF": 'gene_id "X1"; gene_name "{symbol}"; level 2',
    "FASTA of NCBI": "NM_000732.6 Homo sapiens CD3 molecule ({symbol}), transcript variant 1, mRNA",
    "FASTA of UniProt": "sp|P04234|X_HUMAN protein OS=Homo sapiens OX=9606 GN={symbol} PE=1 SV=1",
    "FASTA of Ensembl": "ENST00000300692.9 cdna chromosome:GRCh38 gene_biotype:protein_coding gene_symbol:{symbol}",
    "a bracket before": "[{symbol}] protein coding",
}


@pytest.mark.parametrize("form", LEARNED)
def test_names_are_read_out_of_any_longer_ones_and_that_is_said(form: str) -> None:
    pairs = list(zip(SYMBOLS, IDS, strict=True))
    names = [LEARNED[form].format(symbol=symbol, id=gene) for symbol, gene in pairs]
    unknown_ids = [LEARNED[form].format(symbol=symbol, id=f"ENSG9{gene[5:]}") for symbol, gene in pairs]
    assert matched(file_of(unknown_ids), BY_SYMBOL)[1] == ALL
    verdict, positions = matched(file_of(names))
    assert positions == ALL
    assert verdict.genes is not None
    assert verdict.genes.species is Species.HUMAN
    (said,) = [finding for finding in verdict.warnings if finding.code == "GENE_NAMES_CUT"]
    assert ascii(names[0]) in said.message
    assert ascii(SYMBOLS[0]) in said.message


@pytest.mark.parametrize(
    "form",
    [
        "{symbol}_ACGTTGCAGTCAGGTTACGT",
        "{symbol}_+_{place}.23-P1P2",
        "chr1-{place}-{place}99",
        "Mmul_{place}",
        "{symbol}",
        "{id}.4",
        "hg19_{symbol}",
    ],
)
def test_guides_positions_and_names_that_are_read_as_they_stand_are_left_alone(form: str) -> None:
    pairs = zip(SYMBOLS, IDS, strict=True)
    names = [form.format(symbol=symbol, id=gene, place=100 * place) for place, (symbol, gene) in enumerate(pairs)]
    assert unwrapped(names).ids == tuple(names)
    assert "GENE_NAMES_CUT" not in codes(validate(file_of(names), NEEDS))


@pytest.mark.parametrize("form", ["{symbol}_{n}", "{symbol}_sg{n}", "{symbol}-g{n}"])
def test_several_guides_of_a_gene_are_not_that_gene(form: str) -> None:
    names = [form.format(symbol=symbol, n=n) for symbol in SYMBOLS for n in range(1, 5)]
    assert unwrapped(names).example is None
    assert "GENES_DO_NOT_MATCH" in codes(validate(file_of(names), NEEDS))


def test_isoforms_of_a_gene_are_that_gene() -> None:
    names = [f"{symbol}-{n}" for symbol in SYMBOLS for n in range(201, 204)]
    verdict, positions = matched(file_of(names))
    assert positions == [position for position in ALL for _ in range(3)]
    assert "DUPLICATE_GENES" in codes(verdict)


def test_names_beside_the_others_are_read_as_they_stand() -> None:
    names = [symbol if place % 20 == 7 else f"HGNC:{symbol}" for place, symbol in enumerate(SYMBOLS)]
    assert matched(file_of(names))[1] == ALL
    behind = [f"{symbol}-201" if "-" not in symbol else symbol for symbol in SYMBOLS]
    assert unwrapped(behind).ids == tuple(SYMBOLS)
    assert unwrapped(["MT-CO1", *behind, "none of these"]).ids == ("MT-CO1", *SYMBOLS, "none of these")


def test_parts_are_read_beside_features_that_are_no_genes_and_in_the_column_that_tells_genes_apart() -> None:
    names = [*(f"{symbol}|NM_1" for symbol in SYMBOLS), *(f"CD3:SK{n}|CD3E|AHS{n:04d}|pAbO" for n in range(30))]
    apart = [*(f"id={gene}" for gene in IDS), *(f"AHS{n:04d}" for n in range(30))]
    verdict, positions = matched(file_of(names, {"gene": apart}))
    assert positions == ALL
    assert "OTHER_FEATURES" in codes(verdict)


@pytest.mark.parametrize("names_in", ["column", "index"])
def test_a_column_called_as_verdicts_call_the_index_is_not_the_index(names_in: str) -> None:
    """SeuratDisk writes the genes' names into a column ``_index`` beside an index of numbers."""
    numbers = [str(place) for place in range(len(SYMBOLS))]
    column, index = (SYMBOLS, numbers) if names_in == "column" else (numbers, SYMBOLS)
    buffer = io.BytesIO(file_of(column, {"index": index}).read(ByteRange(0, 10**9)))
    with h5py.File(buffer, "r+") as file:
        file["var"].attrs["_index"] = "index"
        file["var"].attrs["column-order"] = np.array(["_index"], dtype=h5py.string_dtype())
    assert matched(BytesSource(buffer.getvalue()))[1] == ALL


def test_names_of_two_genes_each_are_neither() -> None:
    names = [f"{symbol}_{other}" for symbol, other in zip(SYMBOLS, [*SYMBOLS[1:], SYMBOLS[0]], strict=True)]
    assert unwrapped(names).example is None


def test_a_second_of_a_name_in_brackets_is_that_gene() -> None:
    names = [f"{symbol} (1)" if place % 50 == 3 else symbol for place, symbol in enumerate(SYMBOLS)]
    assert matched(file_of(names))[1] == ALL


@pytest.mark.parametrize("form", ["{symbol} (mouse)", "{symbol}|Mus musculus", "{symbol}_mmu"])
def test_a_species_that_a_name_says_is_believed(form: str) -> None:
    verdict = validate(file_of([form.format(symbol=symbol) for symbol in SYMBOLS]), NEEDS)
    assert "WRONG_SPECIES" in codes(verdict)


@pytest.mark.parametrize("capitals", [True, False])
def test_parts_of_names_of_both_species_are_told_apart(capitals: bool) -> None:
    mouse = SYMBOLS if capitals else [symbol.capitalize() for symbol in SYMBOLS]
    names = [f"{symbol} (human)" for symbol in SYMBOLS] + [f"{symbol} (mouse)" for symbol in mouse]
    verdict, positions = matched(file_of(names))
    assert positions == [*ALL, *([-1] * len(mouse))]
    assert "MIXED_SPECIES" in codes(verdict)


@given(st.sampled_from("|;,:=/ ~"), st.integers(0, 3), st.integers(0, 3), st.integers(0, 10_000))
def test_a_gene_is_found_in_any_field_whatever_the_others_are(sign: str, before: int, behind: int, seed: int) -> None:
    rng = random.Random(seed)

    def words(n: int) -> list[str]:
        return ["".join(rng.choices("abcdefgh0123456789", k=rng.randint(1, 8))) for _ in range(n)]

    names = [sign.join([*words(before), symbol, *words(behind)]) for symbol in SYMBOLS]
    assert unwrapped(names).ids == tuple(SYMBOLS)


def test_versions_are_cut_wherever_they_stand() -> None:
    names = [gene if place % 5 else f"{gene}.{place}" for place, gene in enumerate(IDS)]
    assert matched(file_of(names), BY_ID)[1] == ALL


def test_an_empty_twin_on_the_y_chromosome_is_added_to_its_gene() -> None:
    verdict, positions = matched(file_of([f"{IDS[3]}.4_PAR_Y", *(f"{gene}.4" for gene in IDS)]), BY_ID)
    assert positions == [3, *ALL]
    assert "DUPLICATE_GENES" in codes(verdict)


def test_a_model_that_mixes_symbols_and_ids_finds_both() -> None:
    features = Features(
        symbol=tuple(symbol if place % 3 else None for place, symbol in enumerate(SYMBOLS)),
        ensembl=tuple(None if place % 3 else gene for place, gene in enumerate(IDS)),
    )
    names = [symbol if place % 3 else gene for place, (symbol, gene) in enumerate(zip(SYMBOLS, IDS, strict=True))]
    verdict, positions = matched(file_of(names), replace(NEEDS, features=features))
    assert positions == ALL
    assert "GENES_TRANSLATED" not in codes(verdict)


@pytest.mark.parametrize(("names", "needs"), [(IDS, BY_SYMBOL), (SYMBOLS, BY_ID)], ids=["ids", "symbols"])
def test_ids_and_symbols_are_translated_where_a_model_knows_only_the_others(
    names: list[str], needs: ModelNeeds
) -> None:
    verdict, positions = matched(file_of(names), needs)
    assert positions == ALL
    assert "GENES_TRANSLATED" in codes(verdict)


def test_nothing_is_translated_where_the_files_own_names_find_nearly_all() -> None:
    """So that an imported model sees the genes that CellTypist would give it."""
    names = [*SYMBOLS[:-9], *IDS[-9:]]
    verdict, positions = matched(file_of(names), BY_SYMBOL)
    assert positions == [*ALL[:-9], *[-1] * 9]
    assert "GENES_TRANSLATED" not in codes(verdict)


def test_symbols_are_found_behind_many_other_columns_and_missing_values() -> None:
    n_genes = 20 * len(SYMBOLS)
    columns = {f"name_{letter}": [f"{letter}{place}x" for place in range(n_genes)] for letter in "abcdefgh"}
    columns["whatever"] = [""] * (n_genes - len(SYMBOLS)) + SYMBOLS
    verdict, positions = matched(file_of([f"g{place}" for place in range(n_genes)], columns))
    assert verdict.genes is not None
    assert verdict.genes.column == "whatever"
    assert positions[-len(SYMBOLS) :] == ALL


# --- Genes of one name --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["", "-1", ".1"], ids=["same", "anndata", "R"])
def test_a_list_that_is_repeated_has_each_gene_twice_and_adds_them_up(ending: str) -> None:
    verdict, positions = matched(file_of([*SYMBOLS, *(f"{symbol}{ending}" for symbol in SYMBOLS)]))
    assert positions == [*ALL, *ALL]
    assert "DUPLICATE_GENES" in codes(verdict)


def test_of_different_genes_with_one_name_the_first_is_used() -> None:
    """As CellTypist does: Cell Ranger's lists have some two dozen of them."""
    names = GeneNames(["A", "B", "A"], ["ENSG00000000001", "ENSG00000000002", "ENSG00000000003"])
    others = [f"X{place}" for place in range(200)]
    names = GeneNames([*names.ids, *others], [*names.apart, *(f"ENSG1{place:010d}" for place in range(200))])
    found = match_genes(names, Features(symbol=("A", "B")))
    assert found.feature_of_gene[:3] == [0, 1, -1]
    assert found.n_summed == 0


def test_copies_with_one_ensembl_id_are_one_gene() -> None:
    others = [f"X{place}" for place in range(200)]
    ids = ["ENSG00000000001", "ENSG00000000001.2", *(f"ENSG1{place:010d}" for place in range(200))]
    found = match_genes(GeneNames(["A", "A-1", *others], ids), Features(symbol=("A",)))
    assert found.feature_of_gene[:2] == [0, 0]


def test_a_gene_whose_name_ends_like_a_copy_is_itself() -> None:
    found = match_genes(GeneNames(["NKX2", "NKX2-1", *SYMBOLS]), Features(symbol=("NKX2", "CD3D")))
    assert found.feature_of_gene[:2] == [0, -1]


def test_second_copies_alone_are_used_where_they_are_some_and_not_where_they_are_all() -> None:
    some = [f"{symbol}-1" if place % 4 == 0 else symbol for place, symbol in enumerate(SYMBOLS)]
    assert matched(file_of(some))[1] == ALL


# --- What is said -------------------------------------------------------------------------------------------------


def test_a_transposed_file_is_called_so() -> None:
    rng = random.Random(0)
    barcodes = ["".join(rng.choices("ACGT", k=16)) + "-1" for _ in range(30)]
    verdict = validate(file_of(barcodes, cells=SYMBOLS), NEEDS)
    assert verdict.genes is not None
    assert verdict.genes.kind is GeneIds.UNKNOWN
    refused = next(finding for finding in verdict.refusals if finding.code == "GENES_DO_NOT_MATCH")
    assert "the cells are named like genes ('CD3D'" in refused.message
    assert "adata.T" in refused.hint


def test_cells_that_are_named_by_their_markers_make_no_file_transposed() -> None:
    cells = [f"{marker}_{n}" for n in range(8) for marker in ("CD4", "CD8A", "CD19", "MS4A1", "NKG7")]
    verdict = validate(file_of([symbol.lower() for symbol in SYMBOLS], cells=cells), NEEDS)
    refused = next(finding for finding in verdict.refusals if finding.code == "GENES_DO_NOT_MATCH")
    assert "lower case" in refused.message
    other = validate(file_of([f"probe{n}x" for n in range(250)], cells=cells), NEEDS)
    assert not any("transposed" in finding.hint for finding in other.findings)


@pytest.mark.parametrize("n_others", [0, 100])
def test_names_that_all_end_in_1_are_refused_with_that_reason(n_others: int) -> None:
    names = [f"{symbol}-1" for symbol in SYMBOLS] + [f"LOC{n}" for n in range(n_others)]
    verdict = validate(file_of(names), NEEDS)
    refused = next(finding for finding in verdict.refusals if finding.code == "GENES_DO_NOT_MATCH")
    assert "end in -1" in refused.message
    assert "'CD3D-1'" in refused.message


def test_lower_case_is_refused_with_both_sides_names() -> None:
    verdict = validate(file_of([symbol.lower() for symbol in SYMBOLS]), NEEDS)
    refused = next(finding for finding in verdict.refusals if finding.code == "GENES_DO_NOT_MATCH")
    assert "are in lower case: 'cd3d', 'cd3e', 'ms4a1'" in refused.message
    assert "named like 'CD3D', 'MS4A1', 'LYZ'" in refused.message
    assert ".str.upper()" in refused.hint


def test_mouse_symbols_stay_the_wrong_species() -> None:
    verdict = validate(file_of([symbol.capitalize() for symbol in SYMBOLS]), NEEDS)
    refused = verdict.refusals[0]
    assert refused.code == "WRONG_SPECIES"
    assert "'Cd3d'" in refused.message
    assert "'CD3D'" in refused.message


def test_what_models_there_are_is_added_to_what_to_do_about_another_species() -> None:
    verdict = validate(file_of([symbol.capitalize() for symbol in SYMBOLS]), NEEDS)
    human = make_card(3, 30, name="blood")
    mouse = [make_card(3, 30, name=name, species=Species.MOUSE) for name in ("liver", "lung")]
    plain = verdict.refusals[0].hint
    assert "models search" not in plain
    for installed, added in (
        ([human], "None is installed for mus_musculus: `celldrop models search --species mus_musculus` finds some"),
        ([human, *mouse], "Installed for mus_musculus: liver, lung."),
    ):
        named = naming_models(verdict, partial(list, installed))
        assert named.refusals[0].hint.startswith(f"{plain} {added}")


def test_a_genomes_mark_before_a_name_tells_the_species() -> None:
    verdict = validate(file_of([f"mm10___{symbol.capitalize()}" for symbol in SYMBOLS]), NEEDS)
    assert "WRONG_SPECIES" in codes(verdict)


def test_control_characters_are_shown_escaped() -> None:
    verdict = validate(file_of([f"x{place}q\r" for place in range(100)]), NEEDS)
    refused = next(finding for finding in verdict.refusals if finding.code == "GENES_DO_NOT_MATCH")
    assert r"'x0q\r'" in refused.message


def test_a_mouse_index_beside_human_orthologues_is_said() -> None:
    index = [f"ENSMUSG{place:011d}" for place in ALL]
    verdict, positions = matched(file_of(index, {"human_gene": SYMBOLS}))
    assert positions == ALL
    assert "ORTHOLOGUES_USED" in codes(verdict)


def test_mouse_symbols_in_capitals_are_said() -> None:
    verdict, _ = matched(file_of([*SYMBOLS, *(f"GM{place}" for place in range(1000, 1040)), "0610007P14RIK"]))
    assert "ORTHOLOGUES_USED" in codes(verdict)


def test_two_species_by_bare_symbols_are_said_with_counts() -> None:
    verdict, positions = matched(file_of([*SYMBOLS, *(symbol.capitalize() for symbol in SYMBOLS)]))
    assert positions[: len(ALL)] == ALL
    said = next(finding for finding in verdict.warnings if finding.code == "MIXED_SPECIES")
    assert "human" in said.message
    assert "mouse" in said.message


def test_a_file_of_ids_is_described_as_one_though_genomes_stand_before_them() -> None:
    verdict, _ = matched(file_of([f"GRCh38_{gene}" for gene in IDS]))
    assert verdict.genes is not None
    assert verdict.genes.kind is GeneIds.ENSEMBL


def test_a_list_of_symbols_joined_with_one_of_ids_has_each_gene_twice_and_adds_them_up() -> None:
    verdict, positions = matched(file_of([*SYMBOLS, *IDS]), BY_SYMBOL)
    assert positions == [*ALL, *ALL]
    assert "DUPLICATE_GENES" in codes(verdict)


@pytest.mark.parametrize("moved", [sorted(SYMBOLS), [*SYMBOLS[1:], SYMBOLS[0]]], ids=["sorted", "shifted"])
def test_symbols_and_ids_of_different_genes_are_said(moved: list[str]) -> None:
    verdict, _ = matched(file_of(moved, {"gene_ids": IDS}))
    said = next(finding for finding in verdict.warnings if finding.code == "GENES_DISAGREE")
    assert f"'{moved[0]}' stands beside '{IDS[0]}', which is '{SYMBOLS[0]}'" in said.message
    assert "GENES_DISAGREE" not in codes(matched(file_of(SYMBOLS, {"gene_ids": IDS}))[0])


def test_capitals_and_orthologues_are_no_disagreement() -> None:
    mouse = names_of("ENSMUSG")
    assert mouse is not None
    names = [name for name in mouse.number if name.isalpha()][:250]
    ids = [mouse.id_of(name) or "" for name in names]
    for index in ([name.upper() for name in names], SYMBOLS):
        assert "GENES_DISAGREE" not in codes(validate(file_of(index, {"mouse": ids})))


SPELT = ("HLA-A", "RP11-34P13.7", "NKX2-1", "MT-CO1", "CD3D", "TRBV20/OR9-2")


@pytest.mark.parametrize("sign", [".", "_", "\u2011", " ", ":"])
def test_a_name_whose_signs_were_changed_is_found(sign: str) -> None:
    changed = [name.replace("-", sign).replace("/", sign) for name in SPELT]
    found = match_genes(GeneNames(changed), Features(symbol=SPELT), Species.HUMAN)
    assert found.feature_of_gene == list(range(len(SPELT)))


def test_two_spellings_of_a_gene_in_a_joined_list_are_summed() -> None:
    found = match_genes(GeneNames([*SPELT, "HLA.A", "RP11.34P13.7"]), Features(symbol=SPELT), Species.HUMAN)
    assert found.feature_of_gene == [*range(len(SPELT)), 0, 1]
    assert found.n_summed == 2


def test_a_spelling_that_could_be_two_genes_or_is_one_of_its_own_is_left_alone() -> None:
    wanted = Features(symbol=("A-B.C", "A.B-C", "HLA-A"))
    assert match_genes(GeneNames(["A.B.C", "A_B_C"]), wanted).feature_of_gene == [-1, -1]
    assert match_genes(GeneNames(["HLA", "HLA-1", "HLA-A"]), wanted).feature_of_gene == [-1, -1, 2]


@pytest.mark.parametrize("name", ["PSMA2.1", "PSMA2-1"])
def test_the_number_of_a_second_copy_is_no_part_of_a_name(name: str) -> None:
    wanted = Features(symbol=("PSMA2_1", "NKX2-1"))
    assert match_genes(GeneNames([name, "NKX2.1"]), wanted).feature_of_gene == [-1, 1]
    assert match_genes(GeneNames(["PSMA2", name, "NKX2.1"]), wanted).feature_of_gene == [-1, -1, 1]
