"""What a training run says: while it runs, and of what it found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jobs.modeling.evaluation import EvaluationReport


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is; told at every evaluation of the loss, a fraction of a second for 10,000 cells.

    Attributes:
        stage: For people: ``fold 1 of 3``, ``without the held-out cells``, ``all cells``.
        done: Out of ``total``; never less than before.
    """

    stage: str
    done: int
    total: int


@dataclass(slots=True)
class Reporter:
    """Turns evaluations of the loss into progress.

    Attributes:
        total: Evaluations expected, as if every fit took all its iterations.
    """

    tell: Callable[[Progress], None]
    total: int
    _stage: str = ""
    _done: int = 0
    _end: int = 0

    def begin(self, stage: str, share: int) -> None:
        """A stage in which ``share`` of the total is expected; what the one before saved counts as done."""
        self._stage, self._done, self._end = stage, self._end, self._end + share
        self.tell(Progress(stage, self._done, self.total))

    def step(self) -> None:
        """One evaluation."""
        self._done = min(self._done + 1, self._end)
        self.tell(Progress(self._stage, self._done, self.total))

    def finish(self) -> None:
        """The end."""
        self.tell(Progress("done", self.total, self.total))


@dataclass(frozen=True, slots=True)
class CandidateResult:
    """Accuracy of one candidate over the folds: mean and standard deviation (n - 1)."""

    candidate: float
    accuracy_mean: float
    accuracy_sd: float


@dataclass(frozen=True, slots=True)
class Choice:
    """What cross-validation chose.

    Attributes:
        candidate: A penalty, a number of components: what the kind is chosen by.
        results: Every candidate tried, the simplest first.
        temperature: Fitted to the scores of cells outside their fold, as was ``min_score``.
    """

    candidate: float
    results: tuple[CandidateResult, ...]
    temperature: float
    min_score: float | None

    @property
    def best(self) -> CandidateResult:
        """The result of the candidate that was chosen."""
        return next(result for result in self.results if result.candidate == self.candidate)


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """What is known of a trained model.

    Attributes:
        held_out: Of weights fitted without the held-out cells, on those cells.
        error_before: Expected calibration error on the held-out cells without the temperature;
            ``held_out.calibration_error`` is with it.
        n_trained: Cells that the final weights were fitted to.
        n_unlabelled: Cells of the file without a label.
    """

    choice: Choice
    held_out: EvaluationReport
    error_before: float
    n_trained: int
    n_held_out: int
    n_unlabelled: int
