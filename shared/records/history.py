"""What a write adds to a submission's history, and in which words."""

from __future__ import annotations

from datetime import datetime

from shared.domain.submission import State, Submission
from shared.ports.status import HistoryEntry

_BACKWARD = {State.QUEUED, State.WAITING_CAPACITY}


def history_entry(before: Submission | None, after: Submission, *, n: int, at: datetime) -> HistoryEntry | None:
    """The entry that a change of state or epoch leaves; None where neither changed.

    Args:
        before: None at the first write.
        n: The number the entry would have.
    """
    if before is not None and (before.state, before.epoch) == (after.state, after.epoch):
        return None
    return HistoryEntry(n, at, after.state, after.epoch, _note(before, after))


def _note(before: Submission | None, after: Submission) -> str:
    if after.failure is not None:
        return after.failure.message
    if before is None or before.state is State.WAITING_CAPACITY:
        return ""
    # The last problem stays in the record after it is overcome; it is the reason only of a step back.
    back = after.state in _BACKWARD or (before.state is State.FINALIZING and after.state is State.RUNNING)
    return after.last_problem if back else ""
