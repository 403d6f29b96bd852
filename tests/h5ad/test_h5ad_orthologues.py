"""Files of mouse and models of human, and the other way round: by one-to-one orthologues, and only when asked."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.bundles.card import Features
from shared.domain.verdict import Species, Verdict
from shared.h5ad.judge.judging import ModelNeeds, validate
from shared.h5ad.names.gene_table import symbol_of
from shared.h5ad.names.matching import GeneNames
from shared.h5ad.names.orthologues import match_orthologues, orthologues
from shared.h5ad.read.rows import features_of_genes
from tests.h5ad.gene_files import IDS, NEEDS, SYMBOLS, codes, file_of

TO_MOUSE = orthologues(Species.HUMAN)
PAIRED = [place for place, gene in enumerate(IDS) if gene in TO_MOUSE]
MOUSE_IDS = [TO_MOUSE[IDS[place]] for place in PAIRED]
MICE = [symbol_of(gene) or gene for gene in MOUSE_IDS]
ASKED = replace(NEEDS, orthologues=True)
OF_MOUSE = ModelNeeds(Features(symbol=tuple(MICE)), Species.MOUSE, 0.1, "mouse@1", orthologues=True)


def among(names: list[str], needs: ModelNeeds) -> tuple[Verdict, list[int]]:
    """The verdict, and what a task finds."""
    source = file_of(names)
    verdict = validate(source, needs)
    found = [int(place) for place in features_of_genes(source, verdict, needs)]
    assert verdict.overlap is not None
    assert len({place for place in found if place >= 0}) == verdict.overlap.n_matched
    return verdict, found


def test_most_genes_have_one_orthologue_and_each_is_the_others() -> None:
    back = orthologues(Species.MOUSE)
    assert len(TO_MOUSE) == len(back) > 17_000
    assert all(back[theirs] == ours for ours, theirs in TO_MOUSE.items())
    assert orthologues(Species.UNKNOWN) == {}


@pytest.mark.parametrize(
    ("human", "mouse"),
    [
        ("ENSG00000167286", "ENSMUSG00000032094"),  # CD3D
        ("ENSG00000156738", "ENSMUSG00000024673"),  # MS4A1
        ("ENSG00000172116", None),  # CD8B, of which Ensembl has two in the mouse
        ("ENSG00000203747", None),  # FCGR3A
        ("ENSG00000115523", None),  # GNLY, which mice lack
    ],
)
def test_only_one_to_one_counts(human: str, mouse: str | None) -> None:
    assert TO_MOUSE.get(human) == mouse


@pytest.mark.parametrize("names", [MICE, MOUSE_IDS], ids=["symbols", "ids"])
def test_a_mouse_file_is_read_by_a_human_model_when_asked(names: list[str]) -> None:
    verdict, found = among(names, ASKED)
    assert found == PAIRED
    assert verdict.accepted
    assert verdict.genes is not None
    assert verdict.genes.orthologues
    (said,) = (one for one in verdict.findings if one.code == "ORTHOLOGUES_USED")
    assert said.details["n_orthologues"] == len(PAIRED)
    assert "No label is called reliable" in said.hint


@pytest.mark.parametrize("features", [Features(symbol=tuple(SYMBOLS)), Features(ensembl=tuple(IDS))])
def test_models_by_symbols_and_by_ids_alike(features: Features) -> None:
    assert among(MICE, replace(ASKED, features=features))[1] == PAIRED


def test_a_human_file_is_read_by_a_mouse_model_when_asked() -> None:
    names = [SYMBOLS[place] for place in PAIRED]
    assert among(names, OF_MOUSE)[1] == list(range(len(MICE)))


def test_earlier_symbols_count_here_too() -> None:
    needs = replace(ASKED, features=Features(symbol=(*SYMBOLS, "SEPT9")))
    assert among([*MICE, "Sept9"], needs)[1][-1] == len(SYMBOLS)


def test_without_the_option_the_refusal_names_it() -> None:
    verdict = validate(file_of(MICE), NEEDS)
    refused = next(one for one in verdict.refusals if one.code == "WRONG_SPECIES")
    assert "--set orthologues=on" in refused.hint
    assert verdict.genes is not None
    assert not verdict.genes.orthologues


def test_a_file_of_the_models_species_is_read_as_ever() -> None:
    verdict, found = among(SYMBOLS, ASKED)
    assert found == list(range(len(SYMBOLS)))
    assert verdict == validate(file_of(SYMBOLS), NEEDS)
    assert "ORTHOLOGUES_USED" not in codes(verdict)


def test_names_of_no_species_are_no_orthologues() -> None:
    verdict = validate(file_of([f"gene{place}x" for place in range(100)]), ASKED)
    assert verdict.genes is not None
    assert not verdict.genes.orthologues


@given(st.lists(st.sampled_from([*MICE, *MOUSE_IDS, "Sept2", "Gm1", ""]), min_size=1), st.integers(0, 9))
def test_one_column_a_feature_in_whatever_order(columns: list[str], seed: int) -> None:
    features = Features(symbol=tuple(SYMBOLS))

    def pairs(names: list[str]) -> list[tuple[str, int]]:
        found = match_orthologues(GeneNames(names), features, Species.HUMAN, Species.MOUSE).feature_of_gene
        return sorted((name, place) for name, place in zip(names, found, strict=True) if place >= 0)

    found = pairs(columns)
    assert len({place for _, place in found}) == len(found)
    assert pairs(random.Random(seed).sample(columns, len(columns))) == found
