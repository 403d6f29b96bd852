from __future__ import annotations

from pathlib import Path

import pytest

from jobs.modeling.ontology import Term, ontology_of, parse_terms, read_ontology
from shared.domain.errors import InvalidOptionError

OBO = r"""format-version: 1.2
ontology: cl

[Term]
id: CL:0000236
name: B cell
def: "A lymphocyte \"of B lineage\"." [GOC:add]
synonym: "B lymphocyte" EXACT []
synonym: "B-cell" EXACT OMO:0003000 [GOC:x]
synonym: "bursal \"B\" cell" EXACT []
synonym: "lymphocyte, broadly" BROAD []
is_a: CL:0000945 ! lymphocyte of B lineage

[Term]
id: CL:0000784
name: plasmacytoid dendritic cell
synonym: "DC2" EXACT []

[Term]
id: CL:0000001
name: primary cultured cell
is_obsolete: true

[Term]
id: UBERON:0000178
name: blood

[Typedef]
id: CL:9999999
name: part of
"""


def test_cell_types_are_read_with_their_exact_synonyms() -> None:
    assert list(parse_terms(OBO.splitlines())) == [
        Term("CL:0000236", "B cell", ("B lymphocyte", "B-cell", 'bursal "B" cell'), ("CL:0000945",)),
        Term("CL:0000784", "plasmacytoid dendritic cell", ("DC2",)),
    ]


@pytest.mark.parametrize(
    ("label", "found"),
    [
        ("B cell", "CL:0000236"),
        ("b  Cell", "CL:0000236"),
        ("B lymphocyte", "CL:0000236"),
        ("B-cell", "CL:0000236"),
        ("lymphocyte, broadly", None),
        ("DC2", None),
        ("blood", None),
        ("primary cultured cell", None),
        ("", None),
    ],
)
def test_a_label_is_found_by_name_or_exact_synonym_and_not_guessed(label: str, found: str | None) -> None:
    assert ontology_of(parse_terms(OBO.splitlines())).id_of(label) == found


def test_a_name_goes_before_a_synonym_and_a_shared_synonym_finds_nothing() -> None:
    index = ontology_of(
        [
            Term("CL:0000001", "pericyte", ("mural cell",)),
            Term("CL:0000002", "mural cell", ("common name",)),
            Term("CL:0000003", "another", ("common name",)),
        ]
    )
    assert index.id_of("mural cell") == "CL:0000002"
    assert index.id_of("common name") is None


@pytest.mark.parametrize("content", [b"", b"not an obo", b"\xff\xfe\x00"])
def test_a_file_without_terms_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "cl.obo"
    path.write_bytes(content)
    with pytest.raises(InvalidOptionError, match=r"cl\.obo"):
        read_ontology(path)
    with pytest.raises(InvalidOptionError):
        read_ontology(tmp_path / "missing.obo")
