"""Remembers how the deliveries of an event went, so that one that is refused after a long time really was tried."""

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
_LOOK_BACK = 8
"""Spans before the current one that count."""
_MOST_KILLED = 3
"""Spans with a killed delivery after which an event is given up. A restart, or a database that goes away between the
two marks, looks like a kill too, so that one or two prove nothing."""
_BEGUN, _FAILED = "begun", "failed"


@dataclass(frozen=True, slots=True)
class Tries:
    """Marks of an event's deliveries, by spans of time since it was sent.

    A delivery after the first marks that it has begun, and every one that raises an error marks that. One that is
    killed leaves only the first mark.
    """

    store: StatusStore
    span: timedelta = SPAN

    @contextmanager
    def marked(self, event: str, request: Request, waited: timedelta) -> Iterator[None]:
        """Mark that a delivery has begun, and whether it ends with an error."""
        self.store.resolve(event_key(_BEGUN, event, waited // self.span), request)
        try:
            yield
        except Exception:
            self.note_failure(event, request, waited)
            raise

    def note_failure(self, event: str, request: Request, waited: timedelta) -> None:
        """Mark that a delivery raised an error, if the store takes the mark."""
        with suppress(CelldropError):
            self.store.resolve(event_key(_FAILED, event, waited // self.span), request)

    def have_failed(self, event: str, waited: timedelta) -> bool:
        """Whether a delivery of an earlier span has raised an error.

        An event that arrives late, as the function could not be reached, has not been tried for as long as it waited.
        """
        now = waited // self.span
        return any(self._is_marked(_FAILED, event, span) for span in _before(now))

    def were_killed(self, event: str, waited: timedelta) -> bool:
        """Whether deliveries of several spans were killed, and none has ended with an error since the first of them.

        Only spans count whose deliveries are over by now, whether or not they were killed.
        """
        now, n_killed = waited // self.span, 0
        for span in _before(now):
            if self._is_marked(_FAILED, event, span):
                return False
            n_killed += span < now - 1 and self._is_marked(_BEGUN, event, span)
            if n_killed == _MOST_KILLED:
                return True
        return False

    def _is_marked(self, what: str, event: str, span: int) -> bool:
        return self.store.resolved(event_key(what, event, span)) is not None


def _before(now: int) -> range:
    """The spans before the current one, latest first."""
    return range(now - 1, max(-1, now - 1 - _LOOK_BACK), -1)


def killed_error() -> UnavailableError:
    """What to record of such an event."""
    return UnavailableError(
        "the inspection of the file was killed at one delivery after another",
        hint="Most likely memory ran out: give the ingest function more of it, then send the request again.",
    )
