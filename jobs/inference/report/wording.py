"""Formats numbers and lists for readers."""

from __future__ import annotations

from collections.abc import Sequence

_UNITS = ("bytes", "kB", "MB", "GB", "TB")


def whole(number: float) -> str:
    """A whole number with thousands separators: 12,345."""
    return f"{round(number):,}"


def number(value: float, digits: int) -> str:
    """A number with so many digits after the point, and a minus sign instead of a hyphen: \u22120.25. Zero has none."""
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text.replace("-", "\u2212")


def size(size_bytes: int) -> str:
    """Bytes in decimal units: 1.2 MB."""
    amount, unit = float(size_bytes), 0
    while amount >= 999.5 and unit < len(_UNITS) - 1:
        amount, unit = amount / 1000, unit + 1
    return f"{amount:.0f} {_UNITS[unit]}" if unit == 0 or amount >= 99.5 else f"{amount:.1f} {_UNITS[unit]}"


def listing(items: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    if len(items) <= 1:
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"


def some(items: Sequence[str], most: int) -> str:
    """A listing of the first items, and how many more there are."""
    return listing([*items[:most], f"{len(items) - most} more"] if len(items) > most else items)


def sentence(message: str) -> str:
    """A message with a capital first letter, unless it begins with a name such as raw.X."""
    first = message.split(" ", 1)[0]
    return message[:1].upper() + message[1:] if first.isalpha() else message
