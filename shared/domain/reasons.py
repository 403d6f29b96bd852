"""The failures with which the state machine itself ends a submission."""

from __future__ import annotations

from datetime import timedelta
from typing import assert_never

from shared.domain.errors import AttemptsExhaustedError, CapacityDeadlineError
from shared.domain.submission import Failure, NotStarted, Obstacle

ASK_AGAIN = "upload or submit the file again; a request needs a new `rerun`."
"""How to have a file annotated after all."""


def exhausted(reason: str) -> Failure:
    """Every allowed attempt was lost."""
    hint = f"Check the task's log. Once the cause is fixed: {ASK_AGAIN}"
    return Failure.of(AttemptsExhaustedError(reason, hint=hint))


def never_started(why: NotStarted, waited: timedelta) -> Failure:
    """The platform has not started the work until the deadline. The failure quotes the platform's message."""
    match why.obstacle:
        case Obstacle.REFUSED:
            return why.failure
        case Obstacle.NO_ROOM:
            said = why.failure.message.removesuffix(".")
            found = f"no capacity in {waited.total_seconds() / 3600:g} h ({said})"
            return Failure.of(CapacityDeadlineError(found, hint="Use another region, or a model that runs on a CPU."))
        case _:
            assert_never(why.obstacle)
