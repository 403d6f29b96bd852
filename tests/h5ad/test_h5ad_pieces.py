"""Names with certain pieces in them, found in one text of all names."""

from __future__ import annotations

import re

from hypothesis import example, given
from hypothesis import strategies as st

from shared.h5ad.names.pieces import with_pieces

NAMES = st.lists(st.text("aBcC1-_é", max_size=6), max_size=8)
PIECES = ["bc", "c-", "\nab", "é1\n", "\nc\n"]
NUMBERS = re.compile(r"\d[-_]\d$", re.MULTILINE)


def has_piece(name: str) -> bool:
    """The same of one name, by what each piece means."""
    low = name.lower()
    fits = ["bc" in low, "c-" in low, low.startswith("ab"), low.endswith("é1"), low == "c"]
    return any(fits) or re.search(r"\d[-_]\d$", low) is not None


@given(NAMES)
@example([])
@example(["", "c", ""])
@example(["cc", "c", "1-1"])
def test_the_names_are_those_that_a_look_at_each_finds(names: list[str]) -> None:
    expected = [place for place, name in enumerate(names) if has_piece(name)]
    assert with_pieces(names, PIECES, [NUMBERS]) == expected


def test_a_name_with_a_line_break_has_all_looked_at() -> None:
    assert with_pieces(["a", "x\nb", "c"], ["q"]) == [0, 1, 2]
