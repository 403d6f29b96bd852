"""The limits of the state machine: leases, deadlines and numbers of attempts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import assert_never

from shared.domain.submission import Obstacle

LONGEST_BACKOFF = 20


@dataclass(frozen=True, slots=True)
class Limits:
    """How long and how often to try before giving up.

    Attributes:
        max_attempts: The most dispatches that fail by themselves. Interrupted ones do not count.
        max_epochs: The most dispatches that were started, interrupted ones included.
        dispatch_lease: The longest time from the claim to the first task's own write.
        finalize_lease: The longest time without a renewal by the finalizer.
        heartbeat: How long all tasks may be silent. After that, an execution that is not running counts as dead.
        capacity: How long to wait for capacity.
        refused: How long to retry a start that the platform refuses for another reason.
        backoff: The pause before the third start. It doubles with each further start, up to LONGEST_BACKOFF times this.
    """

    max_attempts: int = 3
    max_epochs: int = 50
    max_finalize_attempts: int = 8
    dispatch_lease: timedelta = timedelta(minutes=10)
    finalize_lease: timedelta = timedelta(minutes=5)
    heartbeat: timedelta = timedelta(minutes=2)
    capacity: timedelta = timedelta(hours=6)
    refused: timedelta = timedelta(hours=2)
    backoff: timedelta = timedelta(seconds=30)

    def deadline(self, obstacle: Obstacle) -> timedelta:
        """How long to retry a start that meets this obstacle."""
        match obstacle:
            case Obstacle.NO_ROOM:
                return self.capacity
            case Obstacle.REFUSED:
                return self.refused
            case _:
                assert_never(obstacle)
