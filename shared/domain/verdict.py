"""What validation found, as data: the matrix chosen and why, the genes, the overlap with the model, the problems."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum

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
    """log1p of counts scaled to 10,000 a cell: expm1 of each row sums to 10,000, unless genes were left out later."""
    LOG_NORMALISED = "log_normalised"
    """A logarithm or a root of counts, whatever they were scaled to before: it is undone."""
    NORMALISED = "normalised"
    """Non-negative fractions that are proportional to counts in each cell: scaled, estimated or corrected counts."""
    RANKED = "ranked"
    """Whole numbers that are ranks, bins or yes and no: how much was expressed cannot be had back."""
    SCALED = "scaled"
    """Negative values: centred or z-scored; the zeros are gone and cannot be had back."""
    UNKNOWN = "unknown"
    """None of these by evidence."""


class Transform(StrEnum):
    """What was done to values that were proportional to counts in each cell, before they were stored."""

    NONE = "none"
    LOG1P = "log1p"
    """log(x + 1), the natural logarithm."""
    LOG2 = "log2"
    """log2(x + 1)."""
    LOG10 = "log10"
    """log10(x + 1)."""
    SQRT = "sqrt"
    """The square root."""
    ARCSINH = "arcsinh"
    """The inverse hyperbolic sine."""
    LOG1P_TWICE = "log1p_twice"
    """log1p of log1p: a logarithm that was taken twice by mistake."""
    SCALED_LOG1P = "scaled_log1p"
    """log1p, and then each cell scaled to a total: two steps of preprocessing in the wrong order."""
    PREPROCESSED_TWICE = "preprocessed_twice"
    """Scaled, log1p, scaled again, log1p again: preprocessing that was run twice by mistake."""


class CellNote(IntEnum):
    """What is to be known of a cell that is not like the rest of its matrix."""

    NONE = 0
    CONVERTED = 1
    """Its own values prove what they are: they were converted."""
    UNCLEAR = 2
    """They prove nothing: they were read like the rest, and its label means little."""
    SILENT = 3
    """No gene of the model has a value in it: it is Unassigned, since its scores would be the model's alone."""


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
        code: Stable; documented in docs/reference/warnings.md (warnings) or errors.md (refusals).
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
        transform: What is undone while reading; None in records of before it was known.
        target_sum: The total that a cell was scaled to, where genes were left out afterwards, so that its values no
            longer have it; None: each cell's own total is divided by.
        counted: Whether a cell's values are whole multiples of one count, once that is undone: then those of any other
            cell that are not are noticed.
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
    transform: Transform | None = None
    target_sum: float | None = None
    counted: bool = False

    @property
    def undone(self) -> Transform:
        """What is undone while reading."""
        if self.transform is not None:
            return self.transform
        logarithms = {MatrixState.LOG1P_CP10K, MatrixState.LOG_NORMALISED}
        return Transform.LOG1P if self.state in logarithms else Transform.NONE

    @property
    def as_it_is(self) -> bool:
        """Whether the values are log1p of counts per 10,000 already, which is what models are made for."""
        return self.state is MatrixState.LOG1P_CP10K


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
    """

    n_model: int
    n_matched: int

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

    def amended(self, findings: tuple[Finding, ...], looked_for: tuple[str, ...]) -> Verdict:
        """With what was found while every cell was read in place of what a sample said under the codes looked for."""
        return replace(self, findings=(*(one for one in self.findings if one.code not in looked_for), *findings))

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
