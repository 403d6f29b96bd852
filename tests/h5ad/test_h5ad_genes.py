"""Which genes a file has, and where a model's features are among them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.bundles.card import Features
from shared.domain.verdict import GeneIds, Species
from shared.h5ad.facts import GeneColumn
from shared.h5ad.names.genes import bare_ids, describe_column, find_gene_space, map_genes, species_counts

HUMAN = tuple(f"ENSG{i:011d}" for i in range(50))
MOUSE = tuple(f"ENSMUSG{i:011d}" for i in range(50))
RAT = tuple(f"ENSRNOG{i:011d}" for i in range(50))
SYMBOLS = ("ACTB", "GAPDH", "MS4A1", "CD3D", "HLA-DRA", "C1orf112", "RP11-34P13.7", "MT-CO1", "AC012345.1", "LYZ")
MICE = ("Actb", "Gapdh", "Ms4a1", "Cd3d", "H2-Aa", "Gm1234", "mt-Co1", "Lyz2", "2010300C02Rik", "B2m")


def column(*ids: str, name: str = "_index") -> GeneColumn:
    return GeneColumn(name, ids)


@pytest.mark.parametrize(
    ("ids", "kind", "species"),
    [
        (HUMAN, GeneIds.ENSEMBL, Species.HUMAN),
        (MOUSE, GeneIds.ENSEMBL, Species.MOUSE),
        (RAT, GeneIds.ENSEMBL, Species.UNKNOWN),
        (HUMAN[:25] + MOUSE[:25], GeneIds.ENSEMBL, Species.UNKNOWN),
        (("ERCC-00002", *HUMAN), GeneIds.ENSEMBL, Species.HUMAN),
        (SYMBOLS, GeneIds.SYMBOL, Species.HUMAN),
        (MICE, GeneIds.SYMBOL, Species.MOUSE),
        (tuple(f"Gene{i:03d}" for i in range(100)), GeneIds.UNKNOWN, Species.UNKNOWN),
        (tuple(map(str, range(100))), GeneIds.UNKNOWN, Species.UNKNOWN),
        (("",) * 9, GeneIds.UNKNOWN, Species.UNKNOWN),
        ((), GeneIds.UNKNOWN, Species.UNKNOWN),
    ],
)
def test_identifiers_speak_for_kind_and_species(ids: tuple[str, ...], kind: GeneIds, species: Species) -> None:
    space = describe_column(column(*ids))
    assert (space.kind, space.species) == (kind, species)


def test_versions_are_noticed_and_cut_off() -> None:
    ids = [f"{name}.{place}" for place, name in enumerate(HUMAN)] + ["ENSG00000000007.3_PAR_Y"]
    space = describe_column(column(*ids))
    assert space.versioned
    assert bare_ids(ids, versioned=True) == [*HUMAN, HUMAN[7]]
    assert space.n_duplicates == 1
    assert bare_ids(["AC012345.1"], versioned=False) == ["AC012345.1"]


def test_the_column_with_most_of_the_models_features_is_taken() -> None:
    columns = [
        column(*(f"g{i}" for i in range(50))),
        column(*(f"X{name}" for name in HUMAN), name="other"),
        column(*HUMAN, name="gene_ids"),
    ]
    model = Features(symbol=("ACTB",) * 50, ensembl=HUMAN)
    found = find_gene_space(columns, model)
    assert found is not None
    assert (found.space.column, len(found.matched)) == ("gene_ids", 50)


def test_symbols_beat_ensembl_for_a_model_that_knows_only_symbols() -> None:
    columns = [column(*HUMAN[:10]), column(*SYMBOLS, name="gene_name")]
    found = find_gene_space(columns, Features(symbol=("MS4A1", "LYZ", None)))
    assert found is not None
    assert (found.space.column, found.matched) == ("gene_name", frozenset({0, 1}))


def test_without_a_model_the_column_that_says_most_is_taken() -> None:
    found = find_gene_space([column(*(f"g{i}" for i in range(50))), column(*HUMAN, name="gene_ids")], None)
    assert found is not None
    assert found.space.column == "gene_ids"
    assert find_gene_space([], None) is None


def test_case_is_never_changed_to_make_a_match() -> None:
    assert map_genes(["Actb", "actb"], ["ACTB"]) == [-1, -1]


def test_the_first_of_equal_identifiers_counts() -> None:
    assert map_genes(["A", "B", "A", "", "C"], ["C", None, "A", "A"]) == [2, -1, -1, -1, 0]


names = st.lists(st.sampled_from(["A", "B", "C", "D", ""]), max_size=12)


@given(names, names)
def test_each_feature_is_fed_by_at_most_one_gene_of_its_name(ids: list[str], features: list[str]) -> None:
    positions = map_genes(ids, features)
    used = [position for position in positions if position >= 0]
    assert len(positions) == len(ids)
    assert len(used) == len(set(used)) == len((set(ids) & set(features)) - {""})
    assert all(features[position] == ids[place] for place, position in enumerate(positions) if position >= 0)


def test_two_species_in_one_column_are_noticed() -> None:
    assert species_counts([column(*HUMAN, *MOUSE)]) == {Species.HUMAN: 50, Species.MOUSE: 50}
    assert not species_counts([column(*HUMAN, MOUSE[0])])
    assert not species_counts([column()])
