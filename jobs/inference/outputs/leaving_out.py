"""Results that a submission can do without: if one cannot be made, the manifest says why, and the rest is written."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from jobs.inference.outputs.manifest import MissingFile
from shared.domain.outputs import Output
from shared.domain.words import shortened

log = logging.getLogger(__name__)

Made = TypeVar("Made")

_LETTERS = 300
"""Limit on the text of an error, which may quote a file."""


def made_or_missing(output: Output, make: Callable[[], Made]) -> Made | MissingFile:
    """What ``make`` returns, or why the file is missing if it fails.

    Only for what is made in memory: an error of the store or of a part must reach the finalizer, which tries again.
    """
    try:
        return make()
    except Exception as error:
        log.exception("%s left out", output.name)
        found = shortened(f"{type(error).__name__}: {error}", _LETTERS)
        return MissingFile(name=output.name, reason=f"This file could not be made ({found}).")
