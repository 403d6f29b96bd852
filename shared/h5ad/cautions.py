"""The codes of warnings: what the reader of the results should know, though the file can be annotated."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from shared.domain.errors import CelldropError
from shared.domain.verdict import Finding, Severity
from shared.domain.words import shortened

_MOST_WORDS = 600
Details = Mapping[str, str | int | float | bool | list[str]]


class WarningCode(StrEnum):
    """Stable; documented in docs/reference/findings.md."""

    DUPLICATE_GENES = "DUPLICATE_GENES"
    """Some gene identifiers occur more than once; the first occurrence of each is used."""
    LOW_OVERLAP = "LOW_OVERLAP"
    """Fewer than half of the model's genes are in the file."""
    LOG_NORMALISED_INPUT = "LOG_NORMALISED_INPUT"
    """There are no counts; values that are already log1p of counts per 10,000 are used as they are."""
    NORMALISED_INPUT = "NORMALISED_INPUT"
    """There are no counts; fractions in proportion to counts are scaled by each cell's own total and logarithmised."""
    OTHER_TARGET_SUM = "OTHER_TARGET_SUM"
    """The values were scaled to a total other than 10,000, or to none; that is undone exactly."""
    UNKNOWN_TARGET_SUM = "UNKNOWN_TARGET_SUM"
    """What the values were scaled to cannot be proved; they are read in the likeliest way, and labels may change."""
    OTHER_LOG_BASE = "OTHER_LOG_BASE"
    """The logarithm is provably of base 2 or 10; that is undone exactly."""
    OTHER_TRANSFORM = "OTHER_TRANSFORM"
    """The values are provably a root, an arcsinh or a logarithm taken twice; that is undone exactly."""
    MIXED_VALUES = "MIXED_VALUES"
    """Some cells hold values of another kind than the rest; what is provable is converted, and the cells are marked."""
    PART_OF_COUNTS = "PART_OF_COUNTS"
    """The matrix holds a part of each cell's molecules only, such as the spliced ones, and there is no better one."""
    SUBSET_OF_GENES = "SUBSET_OF_GENES"
    """Genes were cut away after each cell's total was computed."""
    NOT_WHOLE_COUNTS = "NOT_WHOLE_COUNTS"
    """Nearly all values are whole numbers, but not quite all: they are used as estimated counts."""
    SPECIES_UNKNOWN = "SPECIES_UNKNOWN"
    """The gene identifiers do not tell the species."""
    MIXED_SPECIES = "MIXED_SPECIES"
    """Genes of two species in one file; only those of the model's species are used."""
    GENE_IDS_UNKNOWN = "GENE_IDS_UNKNOWN"
    """The gene identifiers look like neither Ensembl ids nor symbols."""
    OTHER_FEATURES = "OTHER_FEATURES"
    """Features that are not genes (antibodies, peaks, guides) are left out."""
    OLD_LAYOUT = "OLD_LAYOUT"
    """A layout older than AnnData 0.7; annotated.h5ad gets a rewritten obs."""
    TENX_LAYOUT = "TENX_LAYOUT"
    """Cell Ranger's own .h5: it has no obs, so that no annotated.h5ad is made."""
    CELLS_NOT_ALL_CHECKED = "CELLS_NOT_ALL_CHECKED"
    """Too many cells to compare all ids now; the run does before it writes anything."""
    MATRIX_SKIPPED = "MATRIX_SKIPPED"
    """A layer or matrix could not be understood and was left out."""
    FEW_GENES = "FEW_GENES"
    """Fewer than 200 genes: too few for most models."""
    COLUMN_RENAMED = "COLUMN_RENAMED"
    """The index of obs has the name of a column that is added; it stays, and the column gets another name."""
    TRAINED_WITHOUT_COUNTS = "TRAINED_WITHOUT_COUNTS"
    """A file has labels but no counts: a model is trained on its normalised values, without the cells thinned to make
    it ready for shallower data."""


def warning(code: WarningCode, message: str, hint: str, details: Details | None = None) -> Finding:
    """A warning as a finding; the message without its full stop."""
    return Finding(str(code), Severity.WARNING, f"{shortened(message, _MOST_WORDS)}.", hint, details or {})


def refusal(error: CelldropError, details: Details | None = None) -> Finding:
    """An error as a finding."""
    return Finding(error.code, Severity.REFUSAL, error.message, error.hint, details or {})
