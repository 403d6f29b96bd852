"""The labelled file that a training or an evaluation starts from, as it is named on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Origin:
    """The labelled cells that a training or an evaluation starts from.

    Attributes:
        column: The obs column of labels.
        ids_from: The obs column of Cell Ontology ids.
        lineages: ``blood``, or a file that gives each label its lineage.
        features_from: A file whose genes are the only ones used.
        matrix: The one to use; None lets the evidence choose.
    """

    file: Path
    column: str
    ids_from: str | None = None
    lineages: str | None = None
    features_from: Path | None = None
    matrix: str | None = None


def missing_words(missing: Mapping[str, int]) -> str:
    """How many cells have no label, and what stands there instead."""
    total = sum(missing.values())
    texts = ", ".join(f"{count:,} {text!r}" for text, count in missing.items() if text)
    words = (
        f"{total:,} {'cell has' if total == 1 else 'cells have'} no label and {'is' if total == 1 else 'are'} left out"
    )
    return f"{words}; of these {texts}" if texts else words
