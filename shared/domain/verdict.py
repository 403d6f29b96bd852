"""The verdict of validation as data: the chosen matrix, the genes, the overlap with the model, and all findings."""

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
    """The state of a matrix's values, judged from the values themselves."""

    COUNTS = "counts"
    """Non-negative whole numbers (stored as any type)."""
    LOG1P_CP10K = "log1p_cp10k"
    """log1p of counts scaled to 10,000 per cell: expm1 of each row sums to 10,000, unless genes were removed later."""
    LOG_NORMALISED = "log_normalised"
    """A logarithm or root of counts with any scaling; it is undone while reading."""
    NORMALISED = "normalised"
    """Non-negative fractions, proportional to counts within each cell: scaled, estimated or corrected counts."""
    RANKED = "ranked"
    """Whole numbers that are ranks, bins or binary: the expression levels cannot be recovered."""
    SCALED = "scaled"
    """Negative values: centred or z-scored. The zeros are lost and cannot be recovered."""
    UNKNOWN = "unknown"
    """The values match none of these."""


class Transform(StrEnum):
    """The transformation applied to the values before they were stored; before it, they were proportional to counts."""

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
    """log1p, then each cell scaled to a total: two preprocessing steps in the wrong order."""
    PREPROCESSED_TWICE = "preprocessed_twice"
    """Scaled, log1p, scaled again, log1p again: preprocessing run twice by mistake."""


class CellNote(IntEnum):
    """A note on a cell whose values differ from the rest of its matrix."""

    NONE = 0
    CONVERTED = 1
    """The cell's own values show their state, so they were converted."""
    UNCLEAR = 2
    """The values do not show their state. They were read like the rest, so the label is unreliable."""
    SILENT = 3
    """No gene of the model has a value in the cell. It is Unassigned, as its scores would not depend on its data."""


MOSTLY_UNFAMILIAR = 0.5
"""If more of the cells that can be judged are unlike the model's training cells, their labels mean little."""


class MatrixEncoding(StrEnum):
    """The storage layout of a matrix."""

    CSR = "csr"
    CSC = "csc"
    DENSE = "dense"


class GeneIds(StrEnum):
    """The kind of identifiers in a column of genes."""

    ENSEMBL = "ensembl"
    SYMBOL = "symbol"
    UNKNOWN = "unknown"


class Species(StrEnum):
    """The species that the gene identifiers belong to."""

    HUMAN = "homo_sapiens"
    MOUSE = "mus_musculus"
    UNKNOWN = "unknown"


NOTHING_TO_DO = "Nothing to do"
"""The hint of a finding that asks for nothing begins so."""


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

    @property
    def is_calm(self) -> bool:
        """Whether nothing is to be done about it."""
        return self.hint.startswith(NOTHING_TO_DO)


@dataclass(frozen=True, slots=True)
class MatrixChoice:
    """The matrix that will be read.

    Attributes:
        path: The path of the matrix in the file: ``X``, ``raw/X``, ``layers/counts``, ``matrix`` (10x).
        why: The reason for the choice, in one sentence for a biologist.
        nnz: The number of stored values; for a dense matrix, cells x genes.
        genes_path: The group with the genes of this matrix: ``var`` or ``raw/var`` (old layouts: a compound dataset).
        transform: The transformation that is undone while reading; None in records of older versions.
        target_sum: The total that cells were scaled to before genes were removed, so that their values no longer sum to
            it. None: each cell is divided by its own total.
        counted: Whether a cell's values, with the transformation undone, are whole multiples of one count. Then a cell
            where they are not is noticed.
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
        """The transformation that is undone while reading."""
        if self.transform is not None:
            return self.transform
        logarithms = {MatrixState.LOG1P_CP10K, MatrixState.LOG_NORMALISED}
        return Transform.LOG1P if self.state in logarithms else Transform.NONE

    @property
    def as_it_is(self) -> bool:
        """Whether the values are already log1p of counts per 10,000, which models expect."""
        return self.state is MatrixState.LOG1P_CP10K


@dataclass(frozen=True, slots=True)
class GeneSpace:
    """The identifiers used to find the model's genes.

    Attributes:
        column: Name of the var column, or ``_index`` for the index.
        kind: The kind of identifiers in the column.
        versioned: Whether some Ensembl ids have a version (``.12``), which is removed.
        n_duplicates: Genes whose identifier appears earlier in the column. Copies of one gene are summed; of different
            genes with the same name, the first is used.
        apart: The column of Ensembl ids that distinguishes genes with the same name; None if there is none.
        orthologues: Whether the model is of another species, and its genes are the one-to-one orthologues of these.
    """

    column: str
    kind: GeneIds
    species: Species
    versioned: bool = False
    n_duplicates: int = 0
    apart: str | None = None
    orthologues: bool = False

    @property
    def foreign(self) -> Species | None:
        """The species of the file, if its genes are matched as orthologues."""
        return self.species if self.orthologues else None


@dataclass(frozen=True, slots=True)
class Overlap:
    """How many of the model's features the file has.

    Attributes:
        n_model: The number of the model's features.
        n_matched: The number of these that are found in the file.
    """

    n_model: int
    n_matched: int

    @property
    def fraction(self) -> float:
        """The share of the model's features that are found, 0 to 1."""
        return self.n_matched / self.n_model if self.n_model else 0.0


_ABOUT_MODELS = {"LOW_OVERLAP", "LOW_SCORES", "MISSING_GENES", "SHALLOW_CELLS", "UNFAMILIAR_CELLS", "WEAK_MODEL"}
"""The codes of warnings that are about a model, even if two models' are in the same words."""


@dataclass(frozen=True, slots=True)
class OtherModel:
    """How a file suits a further model of a consensus, which reads the same matrix.

    Attributes:
        model: ``NAME@VERSION``.
        genes: The identifiers used to find its genes.
        findings: All warnings that the file gives cause for with this model.
    """

    model: str
    genes: GeneSpace | None = None
    overlap: Overlap | None = None
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of validating one file for one model.

    Attributes:
        layout: The layout found: ``anndata 0.1.0``, ``anndata <0.7``, ``10x v3`` ….
        considered: Every matrix that was examined, with its state, in order of preference.
        matrix: The chosen matrix; None if the file was refused before one was chosen.
        forecast: The estimated time and cost; None if the file is refused, and in old records.
        others: The further models of a consensus, in their order; empty if the file is refused.
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
    others: tuple[OtherModel, ...] = ()

    def of_other(self, place: int) -> Verdict:
        """The verdict on the same file for a further model of the consensus."""
        other = self.others[place]
        return replace(self, genes=other.genes, overlap=other.overlap, findings=other.findings, others=())

    @property
    def other_warnings(self) -> tuple[tuple[str, Finding], ...]:
        """Warnings of further models, each behind ``NAME@VERSION: ``, or "" if its words name the model already.

        What is about the file, and the model itself says in the same words, is left out.
        """
        known = {(finding.code, finding.message) for finding in self.findings if finding.code not in _ABOUT_MODELS}
        return tuple(
            ("" if other.model in one.message else f"{other.model}: ", one)
            for other in self.others
            for one in other.findings
            if (one.code, one.message) not in known
        )

    def amended(
        self,
        findings: tuple[Finding, ...],
        looked_for: tuple[str, ...],
        of_others: tuple[tuple[Finding, ...], ...] = (),
    ) -> Verdict:
        """Replace findings from sampled rows, those with the codes in ``looked_for``, by findings from all rows.

        Args:
            of_others: Those of each further model.
        """

        def without(before: tuple[Finding, ...]) -> tuple[Finding, ...]:
            return tuple(one for one in before if one.code not in looked_for)

        found = dict(enumerate(of_others))
        others = (
            replace(other, findings=(*without(other.findings), *found.get(place, ())))
            for place, other in enumerate(self.others)
        )
        return replace(self, findings=(*without(self.findings), *findings), others=tuple(others))

    @property
    def refusals(self) -> tuple[Finding, ...]:
        """The reasons why the file cannot be annotated; empty if it can."""
        return tuple(finding for finding in self.findings if finding.severity is Severity.REFUSAL)

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """The warnings for users of the results."""
        return tuple(finding for finding in self.findings if finding.severity is Severity.WARNING)

    def warns_of(self, *codes: str) -> bool:
        """Whether there is a warning with one of these codes."""
        return any(finding.code in codes for finding in self.warnings)

    @property
    def accepted(self) -> bool:
        """Whether the file can be annotated."""
        return not self.refusals and self.matrix is not None
