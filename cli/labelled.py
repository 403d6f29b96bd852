"""The labelled files for training, as given on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Origin:
    """Files of labelled cells, and how to read them.

    Attributes:
        column: The obs column of labels, the same in all files.
        ids_from: The obs column of Cell Ontology ids.
        lineages: ``blood``, or a file that gives each label its lineage.
        features_from: Use only genes that are also in this file.
        matrix: The matrix to use; None chooses it by its values.
        aligned_with: Another labelled file of the same tissue, for training.
        aligned_column: Its obs column of labels; None: the same name.
        min_cells: Leave out labels with fewer cells, for training; None refuses them.
        batches: The obs column of batches, for training.
        names: ``blood``, or a file that gives each label its readable name, for training.
        ontology: A file of the Cell Ontology, for training: the labels' tree and terms are made from it.
    """

    files: tuple[Path, ...]
    column: str
    ids_from: str | None = None
    lineages: str | None = None
    features_from: Path | None = None
    matrix: str | None = None
    aligned_with: Path | None = None
    aligned_column: str | None = None
    min_cells: int | None = None
    batches: str = ""
    names: str | None = None
    ontology: Path | None = None


def missing_words(missing: Mapping[str, int]) -> str:
    """Say how many cells have no label, and what texts stand in its place (``nan``, say)."""
    total = sum(missing.values())
    texts = ", ".join(f"{count:,} {text!r}" for text, count in missing.items() if text)
    words = (
        f"{total:,} {'cell has' if total == 1 else 'cells have'} no label and {'is' if total == 1 else 'are'} left out"
    )
    return f"{words}; of these {texts}" if texts else words
