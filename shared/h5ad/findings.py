"""Findings of a verdict from the code and words of a warning, or from an error."""

from __future__ import annotations

from collections.abc import Mapping

from shared.domain.errors import CelldropError
from shared.domain.verdict import Finding, Severity
from shared.domain.words import shortened
from shared.h5ad.cautions import WarningCode

MOST_WORDS = 600
Details = Mapping[str, str | int | float | bool | list[str]]


def warning(code: WarningCode, message: str, hint: str, details: Details | None = None) -> Finding:
    """What the reader of the results should know; the message without its full stop."""
    return Finding(str(code), Severity.WARNING, f"{shortened(message, MOST_WORDS)}.", hint, details or {})


def refusal(error: CelldropError, details: Details | None = None) -> Finding:
    """What stands in the way."""
    return Finding(error.code, Severity.REFUSAL, error.message, error.hint, details or {})
