"""The faults stand for rows of the page of faults, and what they find is compared as it is said."""

from __future__ import annotations

import re

import pytest

from tests.prove.fault import Fault, ended
from tests.prove.faults import FAULTS
from tests.prove.options import ROOT

ROWS = [
    line.split("|")[1].strip() for line in (ROOT / "docs/reference/faults.md").read_text().splitlines() if "|" in line
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_the_rows_that_a_fault_stands_for_are_on_the_page(fault: Fault) -> None:
    assert [start for start in fault.rows if not any(row.startswith(start) for row in ROWS)] == []


def test_every_fault_has_a_name_of_its_own() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)


def test_the_codes_that_are_expected_are_ones_of_ours() -> None:
    codes = set(re.findall(r"^\| `([A-Z0-9_]+)`", (ROOT / "docs/reference/errors.md").read_text(), re.MULTILINE))
    states = {"REJECTED", "SUCCEEDED"}
    expected = {word for fault in FAULTS for word in re.findall(r"`([A-Z0-9_]+)`", fault.expected)}
    assert expected <= codes | states
    assert len(expected) > 6


REFUSED = {"state": "REJECTED", "code": "OBJECT_REFUSED", "message": "locked", "hint": "unlock it"}


@pytest.mark.parametrize(
    ("state", "code", "agrees"),
    [
        ("REJECTED", "OBJECT_REFUSED", True),
        ("REJECTED", None, True),
        ("REJECTED", "INTERNAL", False),
        ("FAILED", "OBJECT_REFUSED", False),
    ],
)
def test_an_outcome_agrees_by_state_and_code(state: str, code: str | None, agrees: bool) -> None:
    found = ended(REFUSED, state, code)
    assert found.agrees is agrees
    assert (found.words, found.facts["hint"]) == ("REJECTED OBJECT_REFUSED", "unlock it")
