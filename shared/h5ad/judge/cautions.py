"""The codes of warnings: what the reader of the results should know, though the file can be annotated."""

from __future__ import annotations

from enum import StrEnum


class WarningCode(StrEnum):
    """Stable; documented in docs/reference/warnings.md."""

    DUPLICATE_GENES = "DUPLICATE_GENES"
    """Identifiers that occur more than once: columns of one gene are added up, of different genes the first is used."""
    LOW_OVERLAP = "LOW_OVERLAP"
    """Fewer than half of the model's genes are in the file."""
    LOG_NORMALISED_INPUT = "LOG_NORMALISED_INPUT"
    """Logarithms of counts are read: log1p of counts per 10,000 as they are, others undone first."""
    NORMALISED_INPUT = "NORMALISED_INPUT"
    """Fractions in proportion to counts are read: scaled by each cell's own total and logarithmised."""
    OTHER_TARGET_SUM = "OTHER_TARGET_SUM"
    """The values were scaled to a total other than 10,000, or to none; that is undone exactly."""
    UNKNOWN_TARGET_SUM = "UNKNOWN_TARGET_SUM"
    """What the values were scaled to cannot be proved; they are read in the likeliest way, and labels may change."""
    OTHER_LOG_BASE = "OTHER_LOG_BASE"
    """The logarithm is provably of base 2 or 10; that is undone exactly."""
    OTHER_TRANSFORM = "OTHER_TRANSFORM"
    """Provably a root, an arcsinh, a logarithm taken twice or scaled afterwards; that is undone exactly."""
    MIXED_VALUES = "MIXED_VALUES"
    """Some cells hold values of another kind than the rest; what is provable is converted, and the cells are marked."""
    CELLS_WITHOUT_GENES = "CELLS_WITHOUT_GENES"
    """Cells in which no gene of the model has a value: they are Unassigned, whatever the threshold."""
    UNFAMILIAR_CELLS = "UNFAMILIAR_CELLS"
    """One cell in ten, or three in ten of a label, express genes that hardly any of the model's training cells do."""
    LOW_SCORES = "LOW_SCORES"
    """Half of the cells have a score below 0.5, or scores say little of the cells before they are corrected to the
    shares of the labels in the file: for most of them, no label stands out."""
    WEAK_MODEL = "WEAK_MODEL"
    """On cells held out of its training, the model got few labels right: not a quarter of the way from guessing to
    all."""
    MISSING_GENES = "MISSING_GENES"
    """The file lacks genes with more than a tenth of what the model tells labels apart by, or has them with zeros only,
    in all cells or in a stretch of its rows. A model with thresholds calls no label reliable; labels of another may
    differ from those by all genes."""
    SHALLOW_CELLS = "SHALLOW_CELLS"
    """Half of the cells have less than half of the counts of the model's training cells: more labels are wrong."""
    OWN_LABELS_DIFFER = "OWN_LABELS_DIFFER"
    """Most labels or lineages that can be compared with those that the file has already are not the same."""
    PART_OF_COUNTS = "PART_OF_COUNTS"
    """The matrix holds a part of each cell's molecules only, such as the spliced ones, and there is no better one."""
    SUBSET_OF_GENES = "SUBSET_OF_GENES"
    """Genes were left out after each cell's total was computed, or there are too few for a whole transcriptome."""
    NOT_WHOLE_COUNTS = "NOT_WHOLE_COUNTS"
    """Nearly all values are whole numbers, but not quite all: they are used as estimated counts."""
    NO_SINGLE_COUNT = "NO_SINGLE_COUNT"
    """A cell's values are not multiples of one count: estimated, corrected, over gene lengths (TPM), or scaled logs."""
    UNLIKELY_COUNTS = "UNLIKELY_COUNTS"
    """Whole numbers, but not like counts: none is large (rounded logarithms?), some cells hold ranks, large ones were
    cut off or began again from 0, or cells have nearly one total (sampled down, pooled, or scaled and rounded?)."""
    SPECIES_UNKNOWN = "SPECIES_UNKNOWN"
    """The gene identifiers do not tell the species."""
    MIXED_SPECIES = "MIXED_SPECIES"
    """Genes of two species. Those of the second are part of each cell's total, and labels of its cells mean nothing."""
    GENE_IDS_UNKNOWN = "GENE_IDS_UNKNOWN"
    """The gene identifiers look like neither Ensembl ids nor symbols."""
    GENE_NAMES_CUT = "GENE_NAMES_CUT"
    """The genes' names stand within longer ones, such as CD3D:NM_000732; the part that names genes is read."""
    GENES_DISAGREE = "GENES_DISAGREE"
    """Symbols and Ensembl ids in the same rows are of different genes, or names do not fit the columns of the matrix:
    one was moved without the other."""
    UNKNOWN_FEATURES = "UNKNOWN_FEATURES"
    """Features that no annotation knows hold much of the counts, and weigh in each cell's total."""
    OTHER_FEATURES = "OTHER_FEATURES"
    """Features that are not genes (antibodies, hashtags, peaks, guides, introns) are left out, of totals too."""
    GENES_TRANSLATED = "GENES_TRANSLATED"
    """Genes of the model are found by translating symbols and Ensembl ids into each other, with a table of GENCODE."""
    GENES_RENAMED = "GENES_RENAMED"
    """Genes of the model are found by an earlier symbol, an alias, or a date that a spreadsheet made of a symbol; names
    that may be several genes are not used."""
    ORTHOLOGUES_USED = "ORTHOLOGUES_USED"
    """The genes are another species', used by the names of their counterparts; labels carry over in part."""
    OLD_LAYOUT = "OLD_LAYOUT"
    """A layout older than AnnData 0.7; annotated.h5ad gets a rewritten obs."""
    TENX_LAYOUT = "TENX_LAYOUT"
    """Cell Ranger's own .h5: it has no obs, so that no annotated.h5ad is made."""
    CELLS_NOT_ALL_CHECKED = "CELLS_NOT_ALL_CHECKED"
    """There are too many cells to check all ids now; the run checks them before it writes results."""
    MATRIX_SKIPPED = "MATRIX_SKIPPED"
    """A layer or matrix could not be understood and was left out."""
    FEW_GENES = "FEW_GENES"
    """Fewer than 200 genes: too few for most models."""
    COLUMN_RENAMED = "COLUMN_RENAMED"
    """The index of obs has the name of a column that is added; it stays, and the column gets another name."""
    EARLIER_RESULTS = "EARLIER_RESULTS"
    """The file has columns or the embedding of an earlier run of celldrop: annotated.h5ad has the new ones instead."""
    TRAINED_WITHOUT_COUNTS = "TRAINED_WITHOUT_COUNTS"
    """A file has labels but no counts: a model is trained on its normalised values, without the cells thinned to make
    it ready for shallower data."""
    TRAINED_ON_THIS_FILE = "TRAINED_ON_THIS_FILE"
    """A model is evaluated on the file that it was trained on: the figures are too good."""


LABELS_IN_DOUBT = frozenset(
    {WarningCode.UNFAMILIAR_CELLS, WarningCode.LOW_SCORES, WarningCode.WEAK_MODEL, WarningCode.MISSING_GENES}
)
"""Warnings that say whether the labels mean anything: they stand above the labels, and are said of a further model even
if they hold for the model itself, too."""
