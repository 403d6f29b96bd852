"""Findings of a verdict from the code and words of a warning, or from an error."""

from __future__ import annotations

from collections.abc import Mapping

from shared.domain.errors import CelldropError
from shared.domain.verdict import Finding, Severity
from shared.h5ad.cautions import WarningCode

Details = Mapping[str, str | int | float | bool | list[str]]


def warning(code: WarningCode, message: str, hint: str, details: Details | None = None) -> Finding:
    """What the reader of the results should know."""
    return Finding(str(code), Severity.WARNING, f"{message}.", hint, details or {})


def refusal(error: CelldropError, details: Details | None = None) -> Finding:
    """What stands in the way."""
    return Finding(error.code, Severity.REFUSAL, error.message, error.hint, details or {})
