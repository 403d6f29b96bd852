"""How long a submission has waited to be started. Only time in which starts were tried counts."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from shared.domain.submission import NotStarted, State, Submission

MOST_BETWEEN_S = 900.0
"""The most that counts of the time between two refusals. After a clock jump, a machine's sleep or a message that came a
day late, the platform was not asked in between."""


def refused(record: Submission, why: NotStarted, now: datetime) -> Submission:
    """Count one more refusal, with the time waited for its obstacle."""
    if record.not_started is not None and record.not_started.obstacle is not why.obstacle:
        record = _turned(record)
    waited_s = _counted_s(record, now)
    return replace(
        record, waiting_since=record.waiting_since or now, refused_at=now, waited_s=waited_s, not_started=why
    )


def started(record: Submission) -> Submission:
    """Reset the count after a successful start."""
    return replace(record, waiting_since=None, refused_at=None, waited_s=0.0, waited_otherwise_s=0.0, not_started=None)


def is_past(record: Submission, now: datetime, deadline: timedelta) -> bool:
    """Whether it has waited longer than the deadline."""
    return _counted_s(record, now) > deadline.total_seconds()


def pause(record: Submission, now: datetime, shortest: timedelta, longest: timedelta) -> timedelta:
    """The pause before the next try: as long as the wait so far, so that the total doubles."""
    return min(max(timedelta(seconds=_counted_s(record, now)), shortest), longest)


def _turned(record: Submission) -> Submission:
    """Switch to the count of the other obstacle. Time before an execution was accepted counts for neither."""
    times = [at for at in (record.refused_at, record.changed_at if record.executions else None) if at is not None]
    return replace(
        record,
        refused_at=max(times, default=None),
        waited_s=record.waited_otherwise_s,
        waited_otherwise_s=record.waited_s,
    )


def _counted_s(record: Submission, now: datetime) -> float:
    since = record.refused_at or (record.changed_at if record.state is State.DISPATCHING else None)
    if since is None:
        return record.waited_s
    return record.waited_s + min(max((now - since).total_seconds(), 0.0), MOST_BETWEEN_S)
