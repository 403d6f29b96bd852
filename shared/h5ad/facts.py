"""What a file says of itself, as plain values that cross a process boundary as JSON."""

from __future__ import annotations

from dataclasses import dataclass

from shared.domain.verdict import MatrixEncoding


@dataclass(frozen=True, slots=True)
class Evidence:
    """Numbers of a sample of one matrix; stored values only, since zeros say nothing.

    Attributes:
        n_values: Stored values sampled.
        n_rows: Whole rows among the sample; 0 where only loose values could be had.
        minimum: Of the finite values; 0 when there are none. ``maximum`` likewise.
        whole_fraction: Share of the finite values that are whole numbers.
        row_sums: Sum of each sampled row.
        expm1_row_sums: Sum of exp(value) - 1 over each sampled row.
        log_multiples: Share of rows' values whose exp(value) - 1 is a whole multiple of the row's smallest.
        log2_multiples: The same with 2^value - 1.
        linear_multiples: The same with the values themselves.
        totals_column: The obs column of total counts that the next two were computed with.
        totals_whole_fraction: Share of values whose (exp(value) - 1) x total / 10,000 is a whole number.
        totals_ratio: Median of row sum over the cell's total; below 1 where genes were cut away.
    """

    n_values: int = 0
    n_rows: int = 0
    minimum: float = 0.0
    maximum: float = 0.0
    whole_fraction: float = 0.0
    n_nan: int = 0
    n_infinite: int = 0
    n_negative: int = 0
    row_sums: tuple[float, ...] = ()
    expm1_row_sums: tuple[float, ...] = ()
    log_multiples: float = 0.0
    log2_multiples: float = 0.0
    linear_multiples: float = 0.0
    totals_column: str | None = None
    totals_whole_fraction: float | None = None
    totals_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A matrix that could be read.

    Attributes:
        path: Its group or dataset in the file.
        n_genes: Columns that are genes; other features (antibodies, peaks) are left out by the reader.
        nnz: Stored values; cells x genes when dense.
        chunk_bytes: Raw size of the largest chunk of its datasets; 0 when contiguous.
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


@dataclass(frozen=True, slots=True)
class GeneColumn:
    """Identifiers of the genes, one for each column of the matrix, in its order; empty where missing."""

    name: str
    ids: tuple[str, ...]


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
        takes_columns: Whether new obs columns can be added in place.
    """

    n_cells: int
    index: str
    ids_checked: int = 0
    n_duplicates: int = 0
    duplicates: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    takes_columns: bool = False


@dataclass(frozen=True, slots=True)
class Embedding:
    """A stored embedding of the cells, such as ``X_umap``."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class FileFacts:
    """Everything that ingest needs to know of a file.

    Attributes:
        layout: ``anndata 0.1.0``, ``anndata 0.7``, ``anndata <0.7``, ``10x v3`` or ``10x v2``.
        old_layout: Whether new columns need a rewritten obs.
        tenx: Whether it is Cell Ranger's own .h5, which has no obs at all.
        unusable: Matrices that cannot be used, with the reason.
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
