"""Why the state machine ends a submission by itself."""

from __future__ import annotations

from datetime import timedelta
from typing import assert_never

from shared.domain.errors import AttemptsExhaustedError, CapacityDeadlineError
from shared.domain.submission import Failure, NotStarted, Obstacle


def exhausted(reason: str) -> Failure:
    """Every permitted attempt was lost."""
    hint = "Look at the task's log; run it again with a rerun token once mended."
    return Failure.of(AttemptsExhaustedError(reason, hint=hint))


def never_started(why: NotStarted, waited: timedelta) -> Failure:
    """The platform has not started it for so long; with its own words."""
    match why.obstacle:
        case Obstacle.REFUSED:
            return why.failure
        case Obstacle.NO_ROOM:
            said = why.failure.message.removesuffix(".")
            found = f"no capacity in {waited.total_seconds() / 3600:g} h ({said})"
            return Failure.of(CapacityDeadlineError(found, hint="Try another region, or the CPU."))
        case _:
            assert_never(why.obstacle)
