"""What validation found, as data: the matrix chosen and why, the genes, the overlap with the model, the problems."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from shared.domain.plan import Forecast


class Severity(StrEnum):
    """How much a finding matters."""

    WARNING = "warning"
    REFUSAL = "refusal"


class MatrixState(StrEnum):
    """What the numbers of a matrix are, judged by the numbers themselves."""

    COUNTS = "counts"
    """Non-negative whole numbers (stored as any type)."""
    LOG1P_CP10K = "log1p_cp10k"
    """log1p of counts scaled to 10,000 a cell: expm1 of each full row sums to 10,000."""
    LOG_NORMALISED = "log_normalised"
    """Non-negative, fractional, small: a logarithm with another target sum, or of a subset of the genes."""
    NORMALISED = "normalised"
    """Non-negative, fractional, large: scaled to a total, and not yet logarithmised."""
    SCALED = "scaled"
    """Negative values: centred or z-scored; the zeros are gone and cannot be had back."""
    UNKNOWN = "unknown"
    """None of these by evidence."""


class MatrixEncoding(StrEnum):
    """How a matrix lies in the file."""

    CSR = "csr"
    CSC = "csc"
    DENSE = "dense"


class GeneIds(StrEnum):
    """Which identifiers a column of genes holds."""

    ENSEMBL = "ensembl"
    SYMBOL = "symbol"
    UNKNOWN = "unknown"


class Species(StrEnum):
    """The species that gene identifiers speak for."""

    HUMAN = "homo_sapiens"
    MOUSE = "mus_musculus"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """One warning or refusal.

    Attributes:
        code: Stable; documented in docs/reference/findings.md (warnings) or errors.md (refusals).
        message: What was found, what was expected, where.
        hint: What to do about it.
        details: Numbers and names for programs.
    """

    code: str
    severity: Severity
    message: str
    hint: str = ""
    details: Mapping[str, str | int | float | bool | list[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MatrixChoice:
    """The matrix that will be read.

    Attributes:
        path: Where it lies in the file: ``X``, ``raw/X``, ``layers/counts``, ``matrix`` (10x).
        why: One sentence a biologist understands.
        nnz: Stored values; for a dense matrix, cells x genes.
        genes_path: The group with the genes of this matrix: ``var`` or ``raw/var`` (old layouts: a compound dataset).
    """

    path: str
    state: MatrixState
    why: str
    encoding: MatrixEncoding
    dtype: str
    n_cells: int
    n_genes: int
    nnz: int
    genes_path: str


@dataclass(frozen=True, slots=True)
class GeneSpace:
    """The identifiers used to find the model's genes.

    Attributes:
        column: Name of the var column, or ``_index`` for the index.
        kind: What the column holds.
        versioned: Whether some Ensembl ids carry a ``.12`` that is cut off.
        n_duplicates: Genes whose identifier occurs before them in the column; copies of one gene are summed, and of
            different genes with one name the first is used.
        apart: The column of Ensembl ids that tells genes of one name apart; None where there is none.
    """

    column: str
    kind: GeneIds
    species: Species
    versioned: bool = False
    n_duplicates: int = 0
    apart: str | None = None


@dataclass(frozen=True, slots=True)
class Overlap:
    """How much of the model the file can feed.

    Attributes:
        n_model: Features of the model.
        n_matched: Those found in the file.
        weight_fraction: Share of the model's absolute weight that the matched features carry; None if unknown.
    """

    n_model: int
    n_matched: int
    weight_fraction: float | None = None

    @property
    def fraction(self) -> float:
        """Matched share of the model's features, 0 to 1."""
        return self.n_matched / self.n_model if self.n_model else 0.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Everything validation can say of one file and one model.

    Attributes:
        layout: ``anndata 0.1.0``, ``anndata <0.7``, ``10x v3`` …, as found.
        considered: Every matrix looked at with its state, in order of preference.
        matrix: The choice; None when refused before one was made.
        forecast: What computing it will take, before anything is spent; None when refused, and in old records.
    """

    n_cells: int = 0
    n_genes: int = 0
    size_bytes: int = 0
    layout: str = ""
    matrix: MatrixChoice | None = None
    considered: tuple[tuple[str, MatrixState], ...] = ()
    genes: GeneSpace | None = None
    overlap: Overlap | None = None
    findings: tuple[Finding, ...] = ()
    forecast: Forecast | None = None

    @property
    def refusals(self) -> tuple[Finding, ...]:
        """What stands in the way; empty when the file can be annotated."""
        return tuple(finding for finding in self.findings if finding.severity is Severity.REFUSAL)

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """What the reader of the results should know."""
        return tuple(finding for finding in self.findings if finding.severity is Severity.WARNING)

    @property
    def accepted(self) -> bool:
        """Whether the file can be annotated."""
        return not self.refusals and self.matrix is not None
