"""The progress and the report of a training run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jobs.modeling.evaluation import EvaluationReport


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a run, reported at every step of a fit (a fraction of a second for 10,000 cells).

    Attributes:
        stage: A name for users: ``fold 1 of 3``, ``without the held-out cells``, ``all cells``.
        done: Steps done, out of ``total``; never decreases.
    """

    stage: str
    done: int
    total: int


@dataclass(slots=True)
class Reporter:
    """Counts the steps of the fits and reports progress.

    Attributes:
        tell: Called with every progress.
        total: The largest number of steps of all fits.
    """

    tell: Callable[[Progress], None]
    total: int
    _stage: str = ""
    _done: int = 0
    _end: int = 0

    def begin(self, stage: str, share: int) -> None:
        """Begin a stage of at most ``share`` steps. Unused steps of the previous stage count as done."""
        self._stage, self._done, self._end = stage, self._end, self._end + share
        self.tell(Progress(stage, self._done, self.total))

    def step(self) -> None:
        """Count one step."""
        self._done = min(self._done + 1, self._end)
        self.tell(Progress(self._stage, self._done, self.total))

    def finish(self) -> None:
        """Report the end of the run."""
        self.tell(Progress("done", self.total, self.total))


@dataclass(frozen=True, slots=True)
class CandidateResult:
    """The accuracy of one candidate over the folds: mean and sample standard deviation."""

    candidate: float
    accuracy_mean: float
    accuracy_sd: float


@dataclass(frozen=True, slots=True)
class Choice:
    """The choice by cross-validation.

    Attributes:
        candidate: The chosen number: a ridge penalty or a number of components.
        results: All candidates, the simplest first.
        temperature: Fitted, like ``min_score``, to scores by models that were trained without the cell's fold.
    """

    candidate: float
    results: tuple[CandidateResult, ...]
    temperature: float
    min_score: float | None

    @property
    def best(self) -> CandidateResult:
        """The result of the chosen candidate."""
        return next(result for result in self.results if result.candidate == self.candidate)


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """The figures of a trained model.

    Attributes:
        held_out: Evaluation on the held-out cells, of weights that were fitted without them.
        error_before: Expected calibration error on the held-out cells without the temperature; with it, see
            ``held_out.calibration_error``.
        n_trained: Number of cells that the final weights were fitted to.
        n_unlabelled: Number of cells without a label.
    """

    choice: Choice
    held_out: EvaluationReport
    error_before: float
    n_trained: int
    n_held_out: int
    n_unlabelled: int
