"""Makes foreign text fit for a message: on one line, printable, and of limited length; counts and shares in words."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

CUT = "\u2026"

_DIRECTIONS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def cut(text: str, length: int) -> str:
    """Foreign text on one line, at most ``length`` characters."""
    plain = "".join(sign if sign.isprintable() else " " for sign in text[: 4 * length])
    return shortened(" ".join(plain.split()), length)


def shortened(text: str, length: int) -> str:
    """Shorten text to ``length`` by leaving out its middle, since both ends identify a path."""
    if len(text) <= length:
        return text
    tail = length // 3
    return f"{text[: length - tail - 1]}{CUT}{text[-tail:]}"


def listed(names: Sequence[str], most: int = 3, length: int = 60) -> str:
    """Join a few names with commas, and say how many more there are."""
    shown = ", ".join(cut(name, length) for name in names[:most])
    return f"{shown} and {len(names) - most:,} more" if len(names) > most else shown


def plural(number: int, one: str, many: str = "") -> str:
    """``1 cell``, ``2,700 cells``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def percent(share: float) -> str:
    """A share in per cent: 43%, 2.4%. Only exactly 0 or 1 is shown as 0% or 100%."""
    if 0 < share < 0.001:
        return "<0.1%"
    if 0.999 < share < 1:
        return ">99.9%"
    digits = 1 if 0 < share < 0.0995 or 0.995 <= share < 1 else 0
    return f"{share * 100:.{digits}f}%"


def has_effect(sign: str) -> bool:
    """Whether a character does something in a terminal other than being shown.

    That is true of control characters, lone surrogates, line separators and marks of text direction.
    """
    return unicodedata.category(sign) in {"Cc", "Cs", "Zl", "Zp"} or sign in _DIRECTIONS


def spelt_out(text: str, *, but: str = "") -> str:
    """Escape the characters of a text that have an effect on a terminal.

    Args:
        but: Characters to keep as they are.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escape(sign) if has_effect(sign) and sign not in but else sign for sign in text)


def _escape(sign: str) -> str:
    return sign.encode("unicode_escape").decode()
