"""How long one pass over many outboxes goes on, and which services it leaves alone because they do not answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import assert_never

from shared.domain.errors import CelldropError, SettingsError, UnavailableError
from shared.domain.submission import EntryKind, OutboxEntry

MOST_IN_A_ROW = 3
"""Failures in a row after which a service is left alone. Each may take as long as the time limit of a request."""


class Service(StrEnum):
    """What an outbox entry is paid at."""

    JOBS_TOPIC = "jobs topic"
    EVENTS_TOPIC = "events topic"
    BUCKETS = "buckets"
    JOBS = "job runner"


def service_of(kind: EntryKind) -> Service:
    """The service that an entry of this kind is paid at."""
    match kind:
        case EntryKind.JOB | EntryKind.FINALIZE:
            return Service.JOBS_TOPIC
        case EntryKind.ACCEPTED | EntryKind.OUTCOME:
            return Service.EVENTS_TOPIC
        case EntryKind.MANIFEST | EntryKind.SWEEP:
            return Service.BUCKETS
        case EntryKind.STOP:
            return Service.JOBS
        case _:
            assert_never(kind)


@dataclass(slots=True)
class PassBudget:
    """The budget of one pass, so that a service that does not answer costs seconds and not the whole pass.

    Entries that are not tried stay as they are: they are neither counted nor postponed.

    Attributes:
        seconds: The clock.
        until_s: When the pass, or its present part, is over by this clock.
    """

    seconds: Callable[[], float]
    until_s: float
    _in_a_row: Counter[Service] = field(default_factory=Counter)
    _failed: set[str] = field(default_factory=set)

    @property
    def is_over(self) -> bool:
        """Whether the time is up."""
        return self.seconds() >= self.until_s

    def allows(self, entry: OutboxEntry) -> bool:
        """Whether to try an entry: not one that failed in this pass, nor one of a service that does not answer."""
        return entry.id not in self._failed and self._in_a_row[service_of(entry.kind)] < MOST_IN_A_ROW

    def note(self, entry: OutboxEntry, error: CelldropError | None) -> None:
        """Note how a try went. Only a service that is down, or not set up, counts: other errors are about one entry."""
        service = service_of(entry.kind)
        if error is not None:
            self._failed.add(entry.id)
        self._in_a_row[service] = self._in_a_row[service] + 1 if _is_the_service(error) else 0


def _is_the_service(error: CelldropError | None) -> bool:
    return isinstance(error, UnavailableError | SettingsError)
