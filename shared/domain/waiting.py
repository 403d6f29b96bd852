"""How long a submission has waited to be started, counted in time in which a start was really tried."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from shared.domain.submission import NotStarted, State, Submission

MOST_BETWEEN_S = 900.0
"""Of the time between two refusals, what counts at most: a clock that jumped, a machine that slept or a message that
came a day late offered the platform nothing to refuse."""


def refused(record: Submission, why: NotStarted, now: datetime) -> Submission:
    """Count one more refusal, for the obstacle that it met."""
    if record.not_started is not None and record.not_started.obstacle is not why.obstacle:
        record = _turned(record)
    waited_s = _counted_s(record, now)
    return replace(
        record, waiting_since=record.waiting_since or now, refused_at=now, waited_s=waited_s, not_started=why
    )


def started(record: Submission) -> Submission:
    """A start went well: whatever is refused from now on is counted from the beginning."""
    return replace(record, waiting_since=None, refused_at=None, waited_s=0.0, waited_otherwise_s=0.0, not_started=None)


def is_past(record: Submission, now: datetime, deadline: timedelta) -> bool:
    """Whether it has waited for longer than that."""
    return _counted_s(record, now) > deadline.total_seconds()


def pause(record: Submission, now: datetime, shortest: timedelta, longest: timedelta) -> timedelta:
    """How long to wait before the next try: as long as it has taken so far, so that it doubles."""
    return min(max(timedelta(seconds=_counted_s(record, now)), shortest), longest)


def _turned(record: Submission) -> Submission:
    """Go on with the count of the other obstacle; what went before an execution was taken on counts for neither."""
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
