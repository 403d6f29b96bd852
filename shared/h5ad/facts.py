"""What a file says of itself, as plain values that cross a process boundary as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from shared.domain.verdict import MatrixEncoding, Transform

MANY_GENES, SMALL_MOST = 300, 12
"""Of so many genes that a cell expresses one has more counts than this, be it a ribosomal one or MALAT1."""


class RowKind(StrEnum):
    """What a cell's values look like at first sight."""

    WHOLE = "whole"
    """Whole numbers, nearly all of them."""
    LARGE = "large"
    """Fractions, and values too large for a logarithm."""
    SMALL = "small"
    """Fractions no larger than a logarithm could be."""


@dataclass(frozen=True, slots=True)
class Undone:
    """What the sampled rows look like with one transformation undone.

    Attributes:
        sums: Sum of each of ``Evidence.rows``.
        units: Smallest value of each of them: what one count became, where any gene has one.
        multiples: Share of a row's values that are whole multiples of its smallest, in the mean of the
            sampled rows without the worst tenth.
        whole_fraction: Share of values that are whole numbers, but for rounding.
    """

    transform: Transform
    sums: tuple[float, ...] = ()
    units: tuple[float, ...] = ()
    multiples: float = 0.0
    whole_fraction: float = 0.0


TRANSPOSED = "genes x cells: transposed"
"""In the reason of a matrix that cannot be used since its rows are the genes."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Numbers of a sample of one matrix; stored values other than 0 only, since zeros say nothing.

    Attributes:
        n_values: Values sampled.
        n_rows: Whole rows among the sample that have a value; 0 where only loose values could be had.
        n_empty: Rows that were looked at and have none.
        minimum: Of the finite values; 0 when there are none. ``maximum`` likewise.
        kinds: How many sampled rows are of each kind; what follows is of those of the most frequent kind alone.
        whole_fraction: Share of values that are whole numbers, but for rounding.
        all_whole: Share of these rows in which every value is.
        rows: Up to 64 of these rows, the same ones for every matrix where they can be.
        undone: What they look like with each transformation undone.
        ones: Share of values that are 1: half and more of counts, few of bins.
        ranked: Share of these rows whose values are (multiples of) ranks, of those with twelve different values.
        tied: The same, of ranks in which tied values leave a gap.
        uneven: Share of these rows in which a small whole number is rarer than both its neighbours, of those with a
            hundred values; 0 if they are few.
        near_limit: Values in a row, on average, just below the largest number of an integer type, if none is above it.
        same_most: Share of these rows with one and the same largest value, ``usual_most``: their median.
        hollow: Share of these rows that have hundreds of values and no large one, as no row of counts has.
        near_whole: Share of values within 0.15 of a whole number from 1 on; of logarithms it is a third.
        totals_column: The obs column of total counts, if there is one.
        totals: What it says of each of ``rows``; 0 where nothing.
    """

    n_values: int = 0
    n_rows: int = 0
    n_empty: int = 0
    minimum: float = 0.0
    maximum: float = 0.0
    n_nan: int = 0
    n_infinite: int = 0
    n_negative: int = 0
    kinds: Mapping[RowKind, int] = field(default_factory=dict)
    whole_fraction: float = 0.0
    all_whole: float = 0.0
    rows: tuple[int, ...] = ()
    undone: tuple[Undone, ...] = ()
    ones: float = 0.0
    ranked: float = 0.0
    tied: float = 0.0
    uneven: float = 0.0
    near_limit: float = 0.0
    same_most: float = 0.0
    usual_most: float = 0.0
    hollow: float = 0.0
    near_whole: float = 0.0
    totals_column: str | None = None
    totals: tuple[float, ...] = ()

    @property
    def main(self) -> RowKind | None:
        """The kind of most rows; None where there are none."""
        return max(self.kinds, key=lambda kind: self.kinds[kind], default=None)

    @property
    def n_bad(self) -> int:
        """Values that are no finite numbers."""
        return self.n_nan + self.n_infinite

    def of(self, transform: Transform) -> Undone:
        """The rows with a transformation undone; empty where the values cannot come from it."""
        return next((found for found in self.undone if found.transform is transform), Undone(transform))


@dataclass(frozen=True, slots=True)
class Strangers:
    """Features whose names no annotation knows.

    Attributes:
        loud: Those with much of the sampled counts, and their shares, largest first.
        share: Of all of them together.
    """

    loud: tuple[tuple[str, float], ...] = ()
    share: float = 0.0


@dataclass(frozen=True, slots=True)
class Household:
    """What of the genes that every cell has was seen in a sample.

    Attributes:
        seen: Groups of such genes, each with the share of it that has a value somewhere.
        bare: Share of the cells that have hardly one of them.
        named: Share of them that are among the names; looked at where most cells are bare.
    """

    seen: tuple[tuple[str, float], ...]
    bare: float
    named: float = 0.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A matrix that could be read.

    Attributes:
        path: Its group or dataset in the file.
        n_genes: Columns that are genes; other features (antibodies, peaks) are left out by the reader.
        nnz: Stored values; cells x genes when dense.
        chunk_bytes: Raw size of the largest chunk of its datasets; 0 when contiguous.
        n_other: Columns that are no genes.
        strangers: Names that no annotation knows.
        household: None where the sample or the names tell too little.
    """

    path: str
    encoding: MatrixEncoding
    dtype: str
    n_cells: int
    n_genes: int
    nnz: int
    genes_path: str
    evidence: Evidence
    chunk_bytes: int = 0
    n_other: int = 0
    strangers: Strangers = Strangers()
    household: Household | None = None


@dataclass(frozen=True, slots=True)
class GeneColumn:
    """Identifiers of the genes, one for each column of the matrix, in its order; empty where missing.

    Attributes:
        cut_from: If they are parts of longer names, one of those and the part that is read; else None.
    """

    name: str
    ids: tuple[str, ...]
    cut_from: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class GeneTable:
    """The genes of one or more matrices.

    Attributes:
        path: ``var``, ``raw/var``, ``matrix/features`` …
        columns: The index first, then columns that look like identifiers.
        n_other: Features that are not genes and are left out.
        other_types: What they are.
        other_examples: Some of their names.
    """

    path: str
    columns: tuple[GeneColumn, ...]
    n_other: int = 0
    other_types: tuple[str, ...] = ()
    other_examples: tuple[str, ...] = ()

    @property
    def n_genes(self) -> int:
        """Features that are genes."""
        return len(self.columns[0].ids) if self.columns else 0


@dataclass(frozen=True, slots=True)
class CellFacts:
    """What obs says.

    Attributes:
        ids_checked: How many cell ids were compared; all of them only in small files.
        duplicates: Examples of ids that occur more than once.
        genes: Some of the ids, if many different ones are names of genes; else empty.
        takes_columns: Whether new obs columns can be added in place.
    """

    n_cells: int
    index: str
    ids_checked: int = 0
    n_duplicates: int = 0
    duplicates: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    genes: tuple[str, ...] = ()
    takes_columns: bool = False


@dataclass(frozen=True, slots=True)
class Embedding:
    """A stored embedding of the cells, such as ``X_umap``."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class GroupingFacts:
    """An obs column that was read as groups of cells.

    Attributes:
        problem: Why it does not group the cells; empty if it does.
        ids: The column of Cell Ontology ids beside it, if there is one that can be read.
        recognised: Whether it was looked for by its name; else it was asked for.
    """

    column: str
    problem: str = ""
    ids: str | None = None
    recognised: bool = False


@dataclass(frozen=True, slots=True)
class FileFacts:
    """Everything that ingest needs to know of a file.

    Attributes:
        layout: ``anndata 0.1.0``, ``anndata 0.7``, ``anndata <0.7``, ``10x v3`` or ``10x v2``.
        old_layout: Whether new columns need a rewritten obs.
        tenx: Whether it is Cell Ranger's own .h5, which has no obs at all.
        unusable: Matrices that cannot be used, with the reason.
        groupings: Columns that were read as groups of cells: those that were named, then those recognised.
    """

    layout: str
    size_bytes: int
    cells: CellFacts
    candidates: tuple[Candidate, ...]
    genes: tuple[GeneTable, ...]
    embeddings: tuple[Embedding, ...] = ()
    old_layout: bool = False
    tenx: bool = False
    unusable: tuple[tuple[str, str], ...] = ()
    groupings: tuple[GroupingFacts, ...] = ()

    @property
    def n_cells(self) -> int:
        """Cells in the file."""
        return self.cells.n_cells

    @property
    def n_genes(self) -> int:
        """Genes of the matrix that has most, or of the gene table that has most where there is no matrix."""
        lists = self.candidates or self.genes
        return max((genes.n_genes for genes in lists), default=0)

    def genes_of(self, path: str) -> GeneTable | None:
        """The gene table at ``path``."""
        return next((table for table in self.genes if table.path == path), None)
