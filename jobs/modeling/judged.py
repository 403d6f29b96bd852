"""The verdict on a labelled file, by the door that every submission goes through; what it refuses is raised."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shared.domain.errors import BadValuesError, DuplicateCellsError, InputError, all_errors
from shared.domain.geometry import Rows
from shared.domain.verdict import Finding, MatrixChoice, Severity, Species, Verdict
from shared.h5ad.facts import FileFacts
from shared.h5ad.inspect.inspection import inspect
from shared.h5ad.judge.cautions import WarningCode
from shared.h5ad.judge.judging import ModelNeeds, judge
from shared.h5ad.read.rows import open_matrix
from shared.h5ad.source import RangeSource

_ELSEWHERE = frozenset({WarningCode.CELLS_NOT_ALL_CHECKED})
"""What matters only where results are joined to the cells by their ids."""


@dataclass(frozen=True, slots=True)
class JudgedFile:
    """A file that can be used.

    Attributes:
        verdict: As ``celldrop run`` has it.
        matrix: The choice.
        warnings: What the reader of a model's figures should know.
    """

    facts: FileFacts
    verdict: Verdict
    matrix: MatrixChoice
    warnings: tuple[Finding, ...]

    @property
    def species(self) -> Species:
        """By the genes."""
        return self.verdict.genes.species if self.verdict.genes else Species.UNKNOWN


def judged(
    source: RangeSource, path: Path, model: ModelNeeds | None = None, *, matrix: str | None = None
) -> JudgedFile:
    """Inspect a file in the sandbox and judge it, for a model where there is one.

    Cell ids that occur twice are a warning here: nothing is joined by them.

    Raises:
        InputError: What ``celldrop run`` refuses, with the same code.
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
    """Raise with the first cell that has one: of a sample it is known only that there are some.

    Raises:
        BadValuesError: In which cell and gene column.
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
        "All are used. If they are the same cells twice, held-out figures are too good: take the copies out.",
        finding.details,
    )
