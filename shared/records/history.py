"""The history entry that a write adds to a submission, with its note."""

from __future__ import annotations

from datetime import datetime

from shared.domain.submission import State, Submission
from shared.ports.status import HistoryEntry

_BACKWARD = {State.QUEUED, State.WAITING_CAPACITY}


def history_entry(before: Submission | None, after: Submission, *, n: int, at: datetime) -> HistoryEntry | None:
    """The history entry for a change of state or epoch; None if neither changed.

    Args:
        before: None at the first write.
        n: The number of the next entry.
    """
    if before is not None and (before.state, before.epoch) == (after.state, after.epoch):
        return None
    return HistoryEntry(n, at, after.state, after.epoch, _note(before, after))


def _note(before: Submission | None, after: Submission) -> str:
    if after.failure is not None:
        return after.failure.message
    if before is None or before.state is State.WAITING_CAPACITY:
        return ""
    # The record keeps its last problem even when it is solved; it is only the reason of a step back.
    back = after.state in _BACKWARD or (before.state is State.FINALIZING and after.state is State.RUNNING)
    return after.last_problem if back else ""
