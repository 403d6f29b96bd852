"""What a file or a service says, made fit for a message: on one line, printable, and of bounded length."""

from __future__ import annotations

from collections.abc import Sequence

CUT = "\u2026"


def cut(text: str, length: int) -> str:
    """Foreign words on one line, at most ``length`` characters."""
    plain = "".join(sign if sign.isprintable() else " " for sign in text[: 4 * length])
    return shortened(" ".join(plain.split()), length)


def shortened(text: str, length: int) -> str:
    """``text``, without its middle where it is longer than ``length``: a path is known by both ends."""
    if len(text) <= length:
        return text
    tail = length // 3
    return f"{text[: length - tail - 1]}{CUT}{text[-tail:]}"


def listed(names: Sequence[str], most: int = 3, length: int = 60) -> str:
    """A few names by comma, and how many more there are."""
    shown = ", ".join(cut(name, length) for name in names[:most])
    return f"{shown} and {len(names) - most:,} more" if len(names) > most else shown
