"""The codes of warnings: what the reader of the results should know, though the file can be annotated."""

from __future__ import annotations

from enum import StrEnum


class WarningCode(StrEnum):
    """Stable; documented in docs/reference/findings.md."""

    DUPLICATE_GENES = "DUPLICATE_GENES"
    """Some gene identifiers occur more than once; the first occurrence of each is used."""
    LOW_OVERLAP = "LOW_OVERLAP"
    """Fewer than half of the model's genes are in the file."""
    LOG_NORMALISED_INPUT = "LOG_NORMALISED_INPUT"
    """There are no counts; values that are already log-normalised are used as they are."""
    NORMALISED_INPUT = "NORMALISED_INPUT"
    """There are no counts; scaled or estimated counts with fractions are normalised again and logarithmised."""
    UNKNOWN_TARGET_SUM = "UNKNOWN_TARGET_SUM"
    """Log-normalised to a total other than 10,000, or one that cannot be told; scores may shift."""
    OTHER_LOG_BASE = "OTHER_LOG_BASE"
    """The logarithm is provably of base 2, where models expect the natural one; scores shift."""
    SUBSET_OF_GENES = "SUBSET_OF_GENES"
    """Genes were cut away after each cell's total was computed."""
    NOT_WHOLE_COUNTS = "NOT_WHOLE_COUNTS"
    """Nearly all values are whole numbers, but not quite all."""
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
    TRAINED_WITHOUT_COUNTS = "TRAINED_WITHOUT_COUNTS"
    """A file has labels but no counts: a model is trained on its normalised values, without the cells thinned to make
    it ready for shallower data."""
