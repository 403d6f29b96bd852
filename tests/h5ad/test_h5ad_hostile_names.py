"""No name of a gene takes long to read, whatever it is."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.h5ad.facts import GeneColumn
from shared.h5ad.names.genes import find_gene_space
from shared.h5ad.names.tidying import LONGEST, tidied
from shared.h5ad.read.features import kinds_by_name

HOSTILE = [
    "'" + ("p" + "20" * 15) * 8,
    "_" * 20_000,
    "'" + ("p2020" * 19),
    "a-" * 30_000 + "i",
    "GRCh38" + "_2020" * 15 + "!",
]


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_a_crafted_name_is_read_in_no_time(name: str) -> None:
    began = time.process_time()
    tidied(name)
    kinds_by_name([name] * 10)
    find_gene_space([GeneColumn("_index", (name,) * 10)], None)
    assert time.process_time() - began < 5.0  # Of processor time; what was found took a minute and more.


@given(st.text(max_size=LONGEST + 20))
def test_any_name_has_a_meaning(name: str) -> None:
    assert tidied(name).names


def test_only_a_mark_in_front_is_taken_off() -> None:
    assert tidied("GRCh38_transgene:EGFP").names[0] == "transgene:EGFP"
    assert tidied("my pseudogene-1").names[0] == "my pseudogene-1"


@pytest.mark.parametrize(
    "name", ["CD3D_human", "CD3D-hg38", "rna_CD3D", "RNA-CD3D", "GRCh38_CD3D", "gene:CD3D", "CD3D "]
)
def test_marks_around_a_name_are_taken_off(name: str) -> None:
    assert tidied(name).names[0] == "CD3D"


def test_counters_of_a_counting_program_are_no_genes() -> None:
    names = [
        "__no_feature",
        "N_unmapped",
        "nCount_RNA",
        "total_counts",
        "Length",
        "Unnamed: 0",
        "CD3D",
        "NRAS",
        "TOTAL1",
    ]
    assert [bool(kind) for kind in kinds_by_name(names)] == [True] * 6 + [False] * 3
