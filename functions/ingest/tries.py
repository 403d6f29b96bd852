"""Finds events whose deliveries are killed, because memory or the platform's time ran out: they raise nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

from shared.domain.admission import Request, event_key
from shared.domain.errors import CelldropError, UnavailableError
from shared.ports.status import StatusStore

SPAN = timedelta(minutes=30)
"""Longer than a delivery may take, and than the pause between two deliveries."""
_BEGUN, _FAILED = "begun", "failed"


@dataclass(frozen=True, slots=True)
class Tries:
    """Marks of an event's deliveries, by half-hours since it was sent. A first delivery needs none.

    A delivery that raises an error marks its half-hour as failed. One that is killed leaves only the mark that it has
    begun.
    """

    store: StatusStore

    @contextmanager
    def marked(self, event: str, request: Request, waited: timedelta) -> Iterator[None]:
        """Mark that a delivery has begun, and whether it ends with an error."""
        self.store.resolve(event_key(_BEGUN, event, waited // SPAN), request)
        try:
            yield
        except Exception:
            with suppress(CelldropError):
                self.store.resolve(event_key(_FAILED, event, waited // SPAN), request)
            raise

    def were_killed(self, event: str, waited: timedelta) -> bool:
        """Whether a delivery of the last half-hour but one was killed, and none has ended with an error since.

        Deliveries of that half-hour are over by now, whether or not they were killed.
        """
        now = waited // SPAN
        return (
            now >= 2
            and self._is_marked(_BEGUN, event, now - 2)
            and not self._is_marked(_FAILED, event, now - 2)
            and not self._is_marked(_FAILED, event, now - 1)
        )

    def _is_marked(self, what: str, event: str, span: int) -> bool:
        return self.store.resolved(event_key(what, event, span)) is not None


def killed_error() -> UnavailableError:
    """What to record of such an event."""
    return UnavailableError(
        "the inspection of the file was killed at every delivery for an hour",
        hint="Most likely memory ran out: give the ingest function more of it, then send the request again.",
    )
