"""Every row of the protocol's behaviours names a test that is there."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.platform.behaviours_protocol import PROTOCOL_BEHAVIOURS

TESTS = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("proof", sorted({row.proof for row in PROTOCOL_BEHAVIOURS}))
def test_a_row_is_proved_by_a_test_that_is_there(proof: str) -> None:
    file, _, name = proof.partition("::")
    found = {node.name for node in ast.walk(ast.parse((TESTS / file).read_text())) if isinstance(node, ast.FunctionDef)}
    assert name in found
