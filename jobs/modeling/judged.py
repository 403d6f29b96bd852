"""Validates a labelled file like any submission, and raises what would be refused."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shared.domain.all_errors import all_errors
from shared.domain.errors import BadValuesError, DuplicateCellsError, InputError
from shared.domain.geometry import Rows
from shared.domain.verdict import Finding, MatrixChoice, Severity, Species, Verdict
from shared.h5ad.facts import FileFacts
from shared.h5ad.inspect.inspection import inspect
from shared.h5ad.judge.cautions import WarningCode
from shared.h5ad.judge.judging import ModelNeeds, judge
from shared.h5ad.read.rows import open_matrix
from shared.h5ad.source import RangeSource

_ELSEWHERE = frozenset({WarningCode.CELLS_NOT_ALL_CHECKED, WarningCode.EARLIER_RESULTS})
"""Warnings that only matter if results are joined to cells."""


@dataclass(frozen=True, slots=True)
class JudgedFile:
    """A labelled file that was accepted.

    Attributes:
        verdict: The same as in ``celldrop run``.
        matrix: The chosen matrix.
        warnings: Those that matter for a model's figures.
    """

    facts: FileFacts
    verdict: Verdict
    matrix: MatrixChoice
    warnings: tuple[Finding, ...]

    @property
    def species(self) -> Species:
        """The species, recognised by the genes."""
        return self.verdict.genes.species if self.verdict.genes else Species.UNKNOWN


def judged(
    source: RangeSource, path: Path, model: ModelNeeds | None = None, *, matrix: str | None = None
) -> JudgedFile:
    """Inspect a file in the sandbox and validate it, for a model if one is given.

    Duplicate cell ids are only a warning here, as nothing is joined by id.

    Raises:
        InputError: The file is refused, with the same code as in ``celldrop run``.
    """
    facts = inspect(source)
    verdict = judge(facts, model, matrix=matrix)
    refusals = [finding for finding in verdict.refusals if finding.code != DuplicateCellsError.code]
    if refusals or verdict.matrix is None:
        if verdict.matrix is not None and refusals[0].code == BadValuesError.code:
            _find_bad_value(source, verdict.matrix)
        raise _refused(refusals[0], path)
    repeated = [_repeated(finding) for finding in verdict.refusals]
    others = [finding for finding in verdict.warnings if finding.code not in _ELSEWHERE]
    return JudgedFile(facts, verdict, verdict.matrix, (*repeated, *others))


def _find_bad_value(source: RangeSource, choice: MatrixChoice) -> None:
    """Read the matrix to name the first bad value: the verdict, from sampled rows, does not say where it is.

    Raises:
        BadValuesError: There is one; the message names its cell and gene column.
    """
    with open_matrix(source, choice) as matrix:
        for _ in matrix.blocks(Rows(0, choice.n_cells)):
            pass


def _refused(finding: Finding, path: Path) -> InputError:
    kinds = [kind for kind in all_errors() if issubclass(kind, InputError) and kind.code == finding.code]
    kind = kinds[0] if kinds else InputError
    return kind(f"{path.name}: {finding.message.rstrip('.')}", hint=finding.hint)


def _repeated(finding: Finding) -> Finding:
    return Finding(
        finding.code,
        Severity.WARNING,
        finding.message.partition("; expected")[0].rstrip(".") + ".",
        "All are used. If the same cells occur twice, the held-out figures are too good: remove the copies.",
        finding.details,
    )
