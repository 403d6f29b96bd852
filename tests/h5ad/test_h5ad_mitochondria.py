"""Mitochondrial genes are found by symbol and by Ensembl id, in human and mouse, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.h5ad.names.gene_table import names_of, symbols
from shared.h5ad.names.mitochondria import is_coding, mitochondrial

HUMAN = sorted(symbol for symbol in symbols() if symbol.startswith("MT-"))
MOUSE = sorted(symbol for symbol in symbols() if symbol.startswith("mt-"))


def ids_of(prefix: str, named: list[str]) -> list[str]:
    table = names_of(prefix)
    assert table is not None
    return [found for symbol in named for found in [table.id_of(symbol)] if found]


@pytest.mark.parametrize(("prefix", "named"), [("ENSG", HUMAN), ("ENSMUSG", MOUSE)])
def test_the_table_s_37_genes_are_found_by_symbol_and_by_id(prefix: str, named: list[str]) -> None:
    others = ["CD3D", "MTOR", "MT1X", "MT-", "MTND1P23", "ENSG00000167286"]
    assert len(named) == 37
    for names in (named, ids_of(prefix, named), [f"{name}.2" for name in ids_of(prefix, named)]):
        assert mitochondrial([*others, *names, *others]) == list(range(len(others), len(others) + 37))
    assert sum(is_coding(symbol.upper()) for symbol in named) == 13


@pytest.mark.parametrize("prefix", ["GRCh38_", "hg19_", "hg38-"])
def test_a_genome_before_the_names_does_not_matter(prefix: str) -> None:
    assert len(mitochondrial([prefix + name for name in HUMAN])) == 37


def test_dots_for_hyphens_as_r_writes_them_do_not_matter() -> None:
    assert len(mitochondrial([name.replace("-", ".") for name in HUMAN])) == 37


@pytest.mark.parametrize(("n_coding", "found"), [(9, 0), (10, 10), (13, 13)])
def test_of_too_few_genes_of_proteins_nothing_is_said(n_coding: int, found: int) -> None:
    coding = [symbol for symbol in HUMAN if is_coding(symbol)]
    rna = [symbol for symbol in HUMAN if not is_coding(symbol)]
    assert len(mitochondrial(coding[:n_coding])) == found
    assert len(mitochondrial([*coding[:n_coding], *rna])) == (found + len(rna) if found else 0)


@given(st.lists(st.sampled_from(sorted(symbols())), max_size=60))
def test_no_other_gene_is_mitochondrial(names: list[str]) -> None:
    found = mitochondrial([*names, *HUMAN])
    assert [place for place in found if place < len(names)] == [
        place for place, name in enumerate(names) if name.upper().startswith("MT-")
    ]
