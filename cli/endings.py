"""Says on the console of `celldrop serve` how submissions ended, as their events arrive in the event log."""

from __future__ import annotations

import json
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from cli.console import Output
from cli.embedded import Embedded, link_result, result_folder
from shared.domain.errors import CelldropError, SubmissionNotFoundError, UnreadableRecordError
from shared.domain.submission import State, Submission
from shared.ports.status import Stored
from shared.records.messages import outcome_type

_MOST_BYTES = 1 << 20
"""Read from the log in one go; an event is never as long."""
_ENDS = tuple(map(outcome_type, (State.SUCCEEDED, State.FAILED, State.CANCELLED)))
"""Types of events. Rejections are not among them: ingest says them at once."""


@dataclass(slots=True)
class EventTail:
    """The events added to a log since this was made. What was in it before is history, and not told again.

    Attributes:
        path: The log, which need not exist yet.
    """

    path: Path
    _offset: int = field(init=False)

    def __post_init__(self) -> None:
        self._offset = _size(self.path)

    def new_ends(self) -> list[str]:
        """The ids of submissions that ended since the last call, in order."""
        if _size(self.path) < self._offset:  # Somebody emptied the log.
            self._offset = 0
        try:
            with self.path.open("rb") as log:
                log.seek(self._offset)
                whole, newline, _ = log.read(_MOST_BYTES).rpartition(b"\n")
        except FileNotFoundError:
            return []
        self._offset += len(whole) + len(newline)
        return [submission_id for line in whole.splitlines() if (submission_id := _ended(line))]


@dataclass(slots=True)
class Endings:
    """The ends that are still to be said.

    Attributes:
        tail: Where they come from. An event that names further requesters of the same submission is not said.
    """

    embedded: Embedded
    output: Output
    tail: EventTail
    _waiting: deque[str] = field(default_factory=deque)
    _said: set[str] = field(default_factory=set)

    def say(self) -> None:
        """Say each new end on one line, with the report's path or the reason.

        Raises:
            UnavailableError: The store does not answer; what was not said is said at the next call.
        """
        self._waiting.extend(self.tail.new_ends())
        while self._waiting:
            submission_id = self._waiting[0]
            if submission_id not in self._said:
                # The record may be gone, or of a later version.
                with suppress(SubmissionNotFoundError, UnreadableRecordError):
                    self._say(self.embedded.local.ports.store.get(submission_id))
                self._said.add(submission_id)
            self._waiting.popleft()

    def _say(self, stored: Stored[Submission]) -> None:
        record = stored.value
        name, failure = Path(record.source.name).name, record.failure
        if failure is not None:
            reason = "" if failure.code == record.state else f" ({failure.code}: {failure.message})"
            self.output.say(f"{name}: {record.state} {record.id}{reason}", style="red")
            return
        self.output.say(f"{name}: {record.state} {record.id}: {self._where(record)}", style="green")

    def _where(self, record: Submission) -> Path | str:
        try:
            folder = result_folder(self.embedded.layout, record)
        except CelldropError as error:
            return error.message
        return link_result(self.embedded, record, folder) / "report.html" if folder else "no result"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _ended(line: bytes) -> str:
    """The id of the submission whose end the event tells; empty for any other line."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(event, dict) or event.get("type") not in _ENDS:
        return ""
    return str(event.get("subject", ""))
