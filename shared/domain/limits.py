"""How long and how often the state machine tries before it gives something up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import assert_never

from shared.domain.submission import Obstacle

LONGEST_BACKOFF = 20


@dataclass(frozen=True, slots=True)
class Limits:
    """How long and how often before something is given up.

    Attributes:
        max_attempts: Dispatches that were lost by their own doing.
        max_epochs: Dispatches that were started, interrupted ones included.
        dispatch_lease: From the claim to the first task's own record.
        finalize_lease: Without renewal by the finalizer.
        heartbeat: Silence of all tasks after which an execution that does not run is dead.
        capacity: How long to wait for the platform to have room.
        refused: How long to go on asking a platform that refuses the start for another reason.
        backoff: Before the third start; doubles with each further one, up to LONGEST_BACKOFF times this.
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
        """How long to go on asking for a start that meets it."""
        match obstacle:
            case Obstacle.NO_ROOM:
                return self.capacity
            case Obstacle.REFUSED:
                return self.refused
            case _:
                assert_never(obstacle)
