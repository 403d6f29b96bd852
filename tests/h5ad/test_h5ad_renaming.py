"""Genes that a file calls by earlier symbols, aliases or dates: found where it is beyond doubt, and named where not."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.bundles.card import Features
from shared.domain.verdict import Finding, Species, Verdict
from shared.h5ad.names.gene_table import names_of
from shared.h5ad.names.matching import GeneNames, match_genes
from shared.h5ad.names.previous_names import aliases, previous_symbols
from tests.h5ad.gene_files import IDS, NEEDS, SYMBOLS, file_of, matched

SEPTIN2 = "ENSG00000168385"
MORE = ("SEPTIN2", "DELEC1", "MARCHF1", "MTARC1", "SELENOF", "INTS11", "MARCHF3")
WANTED = replace(NEEDS, features=Features(symbol=(*SYMBOLS, *MORE)))


def _earlier() -> list[tuple[str, str]]:
    """Some earlier symbols of one gene each, with today's."""
    table = names_of("ENSG")
    assert table is not None
    once = {old: numbers[0] for old, numbers in previous_symbols("ENSG").items() if len(numbers) == 1}
    today = {number: symbol for symbol, number in table.number.items()}
    pairs = {
        number: (old, today[number]) for old, number in once.items() if number in today and old not in table.number
    }
    return list(pairs.values())[:2000:10]


EARLIER = _earlier()


def found(*names: str, model: Features, species: Species = Species.HUMAN) -> list[int]:
    return match_genes(GeneNames(names), model, species).feature_of_gene


def said(verdict: Verdict) -> Finding:
    (finding,) = (one for one in verdict.findings if one.code == "GENES_RENAMED")
    return finding


# --- Names --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("SEPT2", "SEPTIN2"),  # The previous symbol of one gene outweighs an alias of another, SEPTIN6.
        ("SEPTIN2", "SEPT2"),
        ("CPSF3L", "INTS11"),
        ("C1orf86", "FAAP20"),
        ("DEC1", "DELEC1"),
        ("SEP15", "SELENOF"),
        ("RP11-678G14.5", "ENSG00000271182"),
        ("ENSG00000168385", "SEPT2"),
        ("SEPT2", "ENSG00000168385"),
        ("hg19_SEPT2", "SEPTIN2"),
    ],
)
def test_a_gene_is_found_whichever_of_its_names_file_and_model_have(theirs: str, ours: str) -> None:
    model = Features(ensembl=(*IDS, ours)) if ours.startswith("ENSG") else Features(symbol=(*SYMBOLS, ours))
    assert found(*SYMBOLS, theirs, model=model) == list(range(len(SYMBOLS) + 1))


@pytest.mark.parametrize(("n_earlier", "used"), [(20, False), (60, True)])
def test_an_imported_model_sees_what_its_program_would_unless_many_genes_lack(n_earlier: int, *, used: bool) -> None:
    pairs = [(old, new) for old, new in EARLIER if old not in SYMBOLS and new not in SYMBOLS][:n_earlier]
    model = Features(symbol=(*SYMBOLS, *(new for _, new in pairs)))
    names = GeneNames([*SYMBOLS, *(old for old, _ in pairs)])
    own, every = len(SYMBOLS), len(SYMBOLS) + n_earlier
    assert len(match_genes(names, model, Species.HUMAN).matched) == every
    assert len(match_genes(names, model, Species.HUMAN, imported=True).matched) == (every if used else own)


def test_mouse_genes_are_found_by_earlier_symbols_too() -> None:
    mice = ("Cd3d", "Actb", "Gapdh", "Ms4a1", "Septin2", "Or2ag2")
    file = ("Cd3d", "Actb", "Gapdh", "Ms4a1", "Sept2", "Olfr706")
    assert found(*file, model=Features(symbol=mice), species=Species.MOUSE) == list(range(6))


def test_a_name_of_today_is_never_read_as_an_earlier_one_of_another_gene() -> None:
    table = names_of("ENSG")
    assert table is not None
    assert not table.number.keys() & (previous_symbols("ENSG").keys() | aliases("ENSG").keys())


@pytest.mark.parametrize("name", ["SEPTIN2", SEPTIN2])
def test_a_gene_that_the_file_has_under_its_own_name_has_no_second_column(name: str) -> None:
    model = Features(symbol=(*SYMBOLS, "SEPTIN2"), ensembl=(*IDS, SEPTIN2))
    assert found("SEPT2", *SYMBOLS, name, model=model)[0] == -1


def test_a_gene_of_which_the_file_has_two_earlier_names_is_not_guessed() -> None:
    verdict, positions = matched(file_of([*SYMBOLS, "SEPT2", "NEDD5", "hg19_SEPT2"]), WANTED)
    assert positions[-3:] == [-1, -1, -1]
    assert said(verdict).details["ambiguous"] == ["NEDD5", "SEPT2", "hg19_SEPT2"]
    assert "'NEDD5' (SEPTIN2)" in said(verdict).message


def test_an_earlier_symbol_is_used_before_an_alias() -> None:
    table = names_of("ENSG")
    assert table is not None
    earlier = {numbers[0]: name for name, numbers in previous_symbols("ENSG").items() if len(numbers) == 1}
    alone = ((name, numbers[0]) for name, numbers in aliases("ENSG").items() if len(numbers) == 1)
    alias, number = next((name, number) for name, number in alone if number in earlier)
    model = Features(symbol=(table.symbol[number],))
    assert found(alias, model=model) == [0]
    assert found(alias, earlier[number], model=model) == [-1, 0]


def test_a_name_of_several_genes_is_named_with_them() -> None:
    table, (name, numbers) = names_of("ENSG"), next(_of_several())
    assert table is not None
    symbols = sorted(table.symbol[number] for number in numbers)
    needs = replace(NEEDS, features=Features(symbol=(*SYMBOLS, symbols[0])))
    verdict, positions = matched(file_of([*SYMBOLS, name]), needs)
    assert positions[-1] == -1
    assert f"'{name}' ({' or '.join(symbols)})" in said(verdict).message
    assert said(verdict).hint.startswith("Put Ensembl ids into a column of adata.var")


def test_a_column_of_ids_that_has_none_for_an_ambiguous_name_is_to_be_completed() -> None:
    table, (name, numbers) = names_of("ENSG"), next(_of_several())
    assert table is not None
    needs = replace(NEEDS, features=Features(symbol=(*SYMBOLS, table.symbol[numbers[0]])))
    verdict, positions = matched(file_of([*SYMBOLS, name], {"gene_ids": [*IDS, ""]}), needs)
    assert positions[-1] == -1
    assert said(verdict).hint.startswith("var/gene_ids has no Ensembl id that decides for these names")


def _of_several() -> Iterator[tuple[str, tuple[int, ...]]]:
    table = names_of("ENSG")
    assert table is not None
    several = sorted((name, numbers) for name, numbers in previous_symbols("ENSG").items() if len(numbers) > 1)
    return (one for one in several if all(number in table.symbol for number in one[1]))


def test_the_column_of_ids_says_which_gene_an_ambiguous_name_is() -> None:
    name, numbers = next(_of_several())
    ids = [*IDS, f"ENSG{numbers[0]:011d}"]
    table = names_of("ENSG")
    assert table is not None
    needs = replace(NEEDS, features=Features(symbol=(*SYMBOLS, table.symbol[numbers[0]])))
    _, positions = matched(file_of([*SYMBOLS, name], {"gene_ids": ids}), needs)
    assert positions[-1] == len(SYMBOLS)


def test_the_verdict_tells_how_many_genes_were_found_so() -> None:
    verdict, positions = matched(file_of([*SYMBOLS, "SEPT2", "CPSF3L", "UNHEARD-OF"]), WANTED)
    assert positions[-3:] == [len(SYMBOLS), len(SYMBOLS) + 5, -1]
    assert said(verdict).details["n_renamed"] == 2
    assert said(verdict).details["examples"] == ["CPSF3L > INTS11", "SEPT2 > SEPTIN2"]
    assert said(verdict).is_calm


def test_of_names_of_today_nothing_is_said_and_no_table_of_others_is_read() -> None:
    previous_symbols.cache_clear()
    aliases.cache_clear()
    verdict, _ = matched(file_of(SYMBOLS[:150]))
    assert "GENES_RENAMED" not in {finding.code for finding in verdict.findings}
    assert previous_symbols.cache_info().currsize == aliases.cache_info().currsize == 0


# --- Dates --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("date", "symbol"),
    [
        ("2-Sep", "SEPTIN2"),
        ("02-Sep", "SEPTIN2"),
        ("Sep-02", "SEPTIN2"),
        ("2-Sep-20", "SEPTIN2"),
        ("X2.Sep", "SEPTIN2"),
        ("2019-09-02 00:00:00", "SEPTIN2"),
        ("2019-09-02", "SEPTIN2"),
        ("2001-12-01 00:00:00", "DELEC1"),
        ("1-Dec", "DELEC1"),
        ("15-Sep", "SELENOF"),
        ("3-Mar", "MARCHF3"),
        ("43893", "MARCHF3"),  # 3 March 2020
        ("43893.0", "MARCHF3"),
    ],
)
def test_a_date_that_was_one_symbol_is_that_gene(date: str, symbol: str) -> None:
    _, positions = matched(file_of([*SYMBOLS, date]), WANTED)
    assert positions[-1] == len(SYMBOLS) + MORE.index(symbol)


@pytest.mark.parametrize("date", ["1-Mar", "Mar-01", "2001-03-01 00:00:00", "43891", "2003-03-01 00:00:00"])
def test_a_date_that_was_one_of_several_symbols_is_named(date: str) -> None:
    verdict, positions = matched(file_of([*SYMBOLS, date]), WANTED)
    assert positions[-1] == -1
    assert said(verdict).details["ambiguous"] == [date]
    assert "MARCHF1 or " in said(verdict).message


def test_a_date_is_the_gene_that_the_file_has_under_no_other_name() -> None:
    _, positions = matched(file_of([*SYMBOLS, "1-Mar", "MARC1"]), WANTED)
    assert positions[-2:] == [len(SYMBOLS) + MORE.index("MARCHF1"), len(SYMBOLS) + MORE.index("MTARC1")]


@pytest.mark.parametrize(
    "name", ["1-Jan", "99-Sep", "2-September-times", "20190902", "Sep-", "1", "2023-09-02 13:37:00"]
)
def test_what_is_no_symbols_date_is_no_gene(name: str) -> None:
    verdict, positions = matched(file_of([*SYMBOLS, name]), WANTED)
    assert positions[-1] == -1
    assert "GENES_RENAMED" not in {finding.code for finding in verdict.findings}


def test_numbers_by_the_thousand_are_no_dates() -> None:
    numbers = [str(number) for number in range(43_000, 45_000)]
    verdict, positions = matched(file_of([*SYMBOLS, *numbers]), WANTED)
    assert set(positions[len(SYMBOLS) :]) == {-1}
    assert "GENES_RENAMED" not in {finding.code for finding in verdict.findings}


# --- Any file and any model ---------------------------------------------------------------------------------------


def _called() -> dict[str, list[str]]:
    """The names of some genes, by id; some names are of two genes."""
    table = names_of("ENSG")
    assert table is not None
    several = [numbers for _, numbers in _of_several()]
    genes = {168385, 127054, 183291, 125354, 173077, *several[0], *several[1], *several[2]}
    names: dict[str, list[str]] = defaultdict(list)
    for number in genes:
        identifier = f"ENSG{number:011d}"
        names[identifier] += [identifier, table.symbol[number]]
        names[identifier] += [n for n, meant in previous_symbols("ENSG").items() if number in meant][:3]
        names[identifier] += [n for n, meant in aliases("ENSG").items() if number in meant][:2]
    return names


CALLED = _called()
MEANT = {name: {gene for gene, names in CALLED.items() if name in names} for names in CALLED.values() for name in names}
NAMES = sorted(MEANT)


@given(
    columns=st.lists(st.sampled_from(NAMES), unique=True, min_size=1),
    features=st.lists(st.sampled_from(NAMES), unique=True, min_size=1),
    seed=st.integers(0, 9),
)
def test_one_column_a_feature_of_the_same_gene_in_whatever_order(
    columns: list[str], features: list[str], seed: int
) -> None:
    model = Features(symbol=tuple(features))
    mapped = match_genes(GeneNames(columns), model, Species.HUMAN)
    pairs = {name: features[place] for name, place in zip(columns, mapped.feature_of_gene, strict=True) if place >= 0}
    for theirs, ours in mapped.renamed:
        assert MEANT[theirs] == MEANT[ours]
        assert len(MEANT[theirs]) == 1
    used = Counter(next(iter(MEANT[name])) for name, _ in mapped.renamed)
    assert set(used.values()) <= {1}
    shared = [name for name in columns if name in features]
    assert all(pairs.get(name) == name for name in shared)
    shuffled = random.Random(seed).sample(columns, len(columns))
    again = match_genes(GeneNames(shuffled), model, Species.HUMAN)
    assert again.renamed == mapped.renamed
    assert {name: features[p] for name, p in zip(shuffled, again.feature_of_gene, strict=True) if p >= 0} == pairs
    assert again.ambiguous == mapped.ambiguous


@given(st.text(max_size=40))
def test_no_name_is_too_odd(name: str) -> None:
    assert len(found(name, "SEPT2", model=Features(symbol=("SEPTIN2", "MARCHF1")))) == 2
