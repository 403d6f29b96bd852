"""Findings of a verdict from the code and words of a warning, or from an error."""

from __future__ import annotations

from collections.abc import Mapping

from shared.domain.errors import CelldropError
from shared.domain.verdict import Finding, Severity
from shared.domain.words import shortened
from shared.h5ad.judge.cautions import WarningCode

MOST_WORDS = 600
_MOST_ITEMS, _MOST_LETTERS = 20, 200
"""Of a list of the file's own words, and of each word, in what a program is told."""
Details = Mapping[str, str | int | float | bool | list[str]]


def warning(code: WarningCode, message: str, hint: str, details: Details | None = None) -> Finding:
    """What the reader of the results should know; the message without its full stop."""
    words, hint = f"{shortened(message, MOST_WORDS)}.", shortened(hint, MOST_WORDS)
    return Finding(str(code), Severity.WARNING, words, hint, _bounded(details or {}))


def refusal(error: CelldropError, details: Details | None = None) -> Finding:
    """What stands in the way."""
    return Finding(error.code, Severity.REFUSAL, error.message, error.hint, _bounded(details or {}))


def _bounded(details: Details) -> Details:
    return {name: _short(value) for name, value in details.items()}


def _short(value: str | float | list[str]) -> str | float | list[str]:
    if isinstance(value, list):
        return [shortened(word, _MOST_LETTERS) for word in value[:_MOST_ITEMS]]
    return shortened(value, _MOST_LETTERS) if isinstance(value, str) else value
