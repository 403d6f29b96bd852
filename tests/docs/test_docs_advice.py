"""A message names only options, commands, settings, codes and calls that exist."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.advice import PAGES, strings, wrong, wrong_codes


def test_every_string_of_the_code_names_only_what_exists() -> None:
    found = [(where, names) for where, text in strings() if (names := wrong(text))]
    assert not found


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_page_of_the_reference_names_only_what_exists(page: Path) -> None:
    lines = page.read_text().splitlines()
    assert not [names for line in lines if (names := wrong(line))]
    assert not wrong_codes(page.read_text())


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Name a matrix with counts, for example --matrices raw.", "--matrices"),
        ("Give --set matrx=raw.", "matrx=raw"),
        ("Give --set tasks=zero.", "tasks=zero"),
        ("See `celldrop convert FILE`.", "celldrop convert"),
        ("See `celldrop models fetch`.", "celldrop models fetch"),
        ("Run `celldrop validate FILE --rerun`.", "celldrop validate --rerun"),
        ("Raise CELLDROP_MAX_SIZE.", "CELLDROP_MAX_SIZE"),
        ("Correct CELLDROP_{}_JOBS.", "CELLDROP_{}_JOBS"),
        ("Then adata.make_unique().", "adata.make_unique"),
        ("Use scanpy.read_h5mu(FILE).", "scanpy.read_h5mu"),
        ("Then adata.write_h5ad(zipped=True).", "adata.write_h5ad(zipped=)"),
    ],
)
def test_what_does_not_exist_is_found(text: str, name: str) -> None:
    assert name in wrong(text)


@pytest.mark.parametrize(
    "text",
    [
        "Name a matrix, for example --set matrix=raw or --set matrix=layers/counts.",
        "Run `celldrop models import FILE --name NAME --version 1`.",
        'adata.layers["counts"] = adata.X.copy()',
        "Correct CELLDROP_{}_TOPIC.",
        'adata.write_h5ad(compression="gzip")',
        "scanpy.pp.log1p(adata)",
    ],
)
def test_what_exists_is_let_be(text: str) -> None:
    assert not wrong(text)


def test_a_code_that_nobody_gives_is_found() -> None:
    assert wrong_codes("`NOT_HDF5`, `LOW_OVERLAP`, `NOT_H5AD`") == ["NOT_H5AD"]
