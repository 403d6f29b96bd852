"""Why the state machine ends a submission by itself."""

from __future__ import annotations

from datetime import timedelta

from shared.domain.errors import AttemptsExhaustedError, CapacityDeadlineError
from shared.domain.submission import Failure


def exhausted(reason: str) -> Failure:
    """Every permitted attempt was lost."""
    hint = "Look at the task's log; run it again with a rerun token once mended."
    return Failure.of(AttemptsExhaustedError(reason, hint=hint))


def no_capacity(waited: timedelta, last_problem: str) -> Failure:
    """The platform had no room for so long; with its own words, where it gave any."""
    hours = waited.total_seconds() / 3600
    said = f" ({last_problem})" if ": " in last_problem else ""
    return Failure.of(
        CapacityDeadlineError(f"no capacity in {hours:g} h{said}", hint="Try another region, or the CPU.")
    )
