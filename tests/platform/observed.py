"""What a test observed, held against every row of the table of platform behaviours that names the test as its proof."""

from __future__ import annotations

from typing import Protocol

from tests.platform.behaviours import BEHAVIOURS


class RowSays(Protocol):
    """The fixture ``row_says``."""

    def __call__(self, *observed: object) -> None: ...


def rows_of(test_name: str) -> RowSays:
    """Asserts that all rows that a test proves promise the outcome that it observed.

    Raises:
        AssertionError: A row promises something else, or no row names the test.
    """
    rows = [row for row in BEHAVIOURS if row.proof_name == test_name]

    def row_says(*observed: object) -> None:
        assert {row.outcome for row in rows} == {tuple(map(str, observed))}

    return row_says
