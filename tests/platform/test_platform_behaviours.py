"""The table of platform behaviours is on its page, and every row has a test that shows it."""

from __future__ import annotations

import ast
import os
from collections import Counter
from pathlib import Path

import pytest

from tests.platform.behaviour import Behaviour
from tests.platform.behaviours import BEHAVIOURS, TITLE, section
from tests.platform.observed import rows_of

TESTS = Path(__file__).resolve().parents[1]
PAGE = TESTS.parent / "docs" / "reference" / "faults.md"


@pytest.mark.parametrize("row", BEHAVIOURS, ids=lambda row: row.platform[:50])
def test_every_behaviour_is_shown_by_a_test_that_is_there(row: Behaviour) -> None:
    file, _, name = row.proof.partition("::")
    tree = ast.parse((TESTS / file).read_text())
    (test,) = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == name]
    assert name.startswith("test_")
    compares = any(isinstance(node, ast.Name) and node.id == "row_says" for node in ast.walk(test))
    assert compares is bool(row.outcome), "a row's codes are what its test observes: row_says(...)"


def test_a_row_that_promises_another_outcome_is_noticed() -> None:
    name = BEHAVIOURS[0].proof_name
    rows_of(name)("REJECTED", "OBJECT_REFUSED")
    for observed in (("FAILED", "OBJECT_REFUSED"), ("REJECTED",), ()):
        with pytest.raises(AssertionError):
            rows_of(name)(*observed)


def test_no_behaviour_is_told_twice() -> None:
    assert [what for what, n in Counter(row.platform for row in BEHAVIOURS).items() if n > 1] == []


def test_no_word_of_a_row_breaks_the_table() -> None:
    assert not any("|" in f"{row.platform}{row.source}{row.product}{row.proof}" for row in BEHAVIOURS)


def test_the_page_tells_every_behaviour() -> None:
    before, _, told = PAGE.read_text().partition(TITLE)
    if os.environ.get("CELLDROP_WRITE_DOCS"):
        told = section().partition(TITLE)[2]
        PAGE.write_text(f"{before.rstrip()}\n\n{TITLE}{told}")
    assert TITLE + told == section().lstrip()
