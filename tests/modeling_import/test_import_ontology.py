from __future__ import annotations

import gzip
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


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_a_file_of_any_encoding_is_read(encoding: str, packed: bool, tmp_path: Path) -> None:
    path = tmp_path / "cl.obo"
    stored = "[Term]\r\nid: CL:0000001\r\nname: M\u00fcller cell\r\n".encode(encoding)
    path.write_bytes(gzip.compress(stored) if packed else stored)
    assert read_ontology(path).names == {"CL:0000001": "M\u00fcller cell"}


def test_a_json_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = tmp_path / "cl.json"
    path.write_text('{"CL:0000001": {"label": "pericyte"}}', "utf-8-sig")
    assert read_ontology(path).names == {"CL:0000001": "pericyte"}


def test_only_ends_of_lines_end_a_name(tmp_path: Path) -> None:
    path = tmp_path / "cl.obo"
    path.write_text("[Term]\nid: CL:0000001\nname: T\u2028cell\n", "utf-8")
    assert read_ontology(path).names == {"CL:0000001": "T\u2028cell"}


@pytest.mark.parametrize(
    ("about", "place"),
    [
        ('"T cell"', "CL:0000001"),
        ("{}", "label"),
        ('{"label": null}', "label"),
        ('{"label": "T", "ancestors": ["CL:0000000"]}', "ancestors"),
        ('{"label": "T", "synonyms": "abc"}', "synonyms"),
    ],
)
def test_a_term_of_another_form_is_named_in_our_words(about: str, place: str, tmp_path: Path) -> None:
    path = tmp_path / "cl.json"
    path.write_text(f'{{"CL:0000001": {about}}}', "utf-8")
    with pytest.raises(
        InvalidOptionError, match=rf"the term CL:0000001 has another form: .*\b{place}|{place} has"
    ) as no:
        read_ontology(path)
    assert "pydantic" not in no.value.message
    assert "\n" not in no.value.message


def test_a_term_without_a_name_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "cl.json"
    path.write_text('{"CL:0000001": {"label": " "}, "CL:0000002": {"label": "T cell"}}', "utf-8")
    assert read_ontology(path).names == {"CL:0000002": "T cell"}


def test_a_file_that_inflates_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.modeling.ontology._MAX_BYTES", 1000)
    path = tmp_path / "cl.obo.gz"
    path.write_bytes(gzip.compress(b"\n" * 5000))
    with pytest.raises(InvalidOptionError, match="more than 1,000 bytes"):
        read_ontology(path)
