"""What pydantic found fault with first, in the words of a message."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

_LETTERS = 80
_OWN = "Value error, "
"""What pydantic puts before the reason of a check of ours."""
_BITS = 256


@dataclass(frozen=True, slots=True)
class Fault:
    """One value that a schema does not take.

    Attributes:
        place: The names of the fields that lead to it, with dots between; empty for the whole.
        found: The value where it is a text or a number, at most 80 characters of it; else empty.
        reason: Why it is not taken.
    """

    place: str
    found: str
    reason: str

    def __str__(self) -> str:
        return f"{self.place or 'data'}: {self.reason}"


def first_fault(error: ValidationError) -> Fault:
    """Where pydantic found fault first, and with what."""
    first = error.errors(include_url=False)[0]
    return Fault(".".join(str(part) for part in first["loc"]), _short(first["input"]), first["msg"].removeprefix(_OWN))


def _short(value: object) -> str:
    if isinstance(value, int) and value.bit_length() > _BITS:  # Python prints no number of thousands of digits.
        return ""
    return str(value)[:_LETTERS] if isinstance(value, str | int | float) else ""
