"""Which harm came to which submission, and when: each attempt that it lost must have a cause of its own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from shared.domain.submission import State, Submission

EVERYBODY = ""
AT_WORK = frozenset({State.DISPATCHING, State.RUNNING, State.FINALIZING})
EXHAUSTED = "ATTEMPTS_EXHAUSTED"


@dataclass(frozen=True, slots=True)
class Blow:
    """A fault that may have cost a submission its execution.

    Attributes:
        work: It struck a task, its machine or its parts. What strikes elsewhere may interrupt, but costs no attempt.
    """

    at_s: float
    work: bool


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a submission may lose before it fails."""

    attempts: int
    epochs: int
    finalizers: int


class Harm:
    """The blows that each submission took, and the executions that it lost."""

    def __init__(self) -> None:
        self._blows: dict[str, list[Blow]] = defaultdict(list)
        self._lost_epochs_s: dict[str, list[float]] = defaultdict(list)
        self._lost_finalizers_s: dict[str, list[float]] = defaultdict(list)

    def strike(self, submission_id: str, at_s: float, *, work: bool) -> None:
        """Note a blow; ``EVERYBODY`` takes it where no submission is named."""
        self._blows[submission_id].append(Blow(at_s, work))

    def record_written(self, old: Submission, new: Submission, at_s: float) -> None:
        """Note what a write says was lost."""
        if old.state.final:
            return
        failed = new.failure is not None and new.failure.code == EXHAUSTED
        refused = new.refusals > old.refusals
        if old.state in AT_WORK and (failed or (new.state is State.QUEUED and not refused)):
            self._lost_epochs_s[new.id].append(at_s)
        finalizers_s = self._lost_finalizers_s[new.id]
        if failed or new.finalize_attempts > len(finalizers_s):
            finalizers_s.append(at_s)
        else:  # A new epoch, or a finalizer that was taken for lost and was only slow.
            del finalizers_s[new.finalize_attempts :]

    def exhausts(self, submission_id: str, bounds: Bounds) -> bool:
        """Whether a submission that failed for lack of attempts had really lost them all to harm."""
        epochs_s = self._lost_epochs_s[submission_id]
        finalizers_s = self._lost_finalizers_s[submission_id]
        began_s = max((at_s for at_s in epochs_s[:-1] if at_s < finalizers_s[0]), default=0.0)
        return self._epochs_exhausted(submission_id, epochs_s, bounds) or (
            len(finalizers_s) > bounds.finalizers and self._all_struck(submission_id, [began_s, *finalizers_s])
        )

    def _epochs_exhausted(self, submission_id: str, epochs_s: Sequence[float], bounds: Bounds) -> bool:
        edges_s = [0.0, *epochs_s]
        charged = sum(self._struck(submission_id, *span_s, work=True) for span_s in pairwise(edges_s))
        enough = charged >= bounds.attempts or len(epochs_s) >= bounds.epochs
        return enough and self._all_struck(submission_id, edges_s)

    def _all_struck(self, submission_id: str, edges_s: Sequence[float]) -> bool:
        return all(self._struck(submission_id, *span_s, work=False) for span_s in pairwise(edges_s))

    def _struck(self, submission_id: str, after_s: float, until_s: float, *, work: bool) -> bool:
        """Whether it took a blow between two losses; of those that count as an attempt's own failure where asked."""
        blows = (*self._blows[submission_id], *self._blows[EVERYBODY])
        return any(after_s < blow.at_s <= until_s and (blow.work or not work) for blow in blows)
