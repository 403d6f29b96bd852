"""The day's books: how long each submission stood in each state, how it ended, and what the platforms were asked."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from typing_extensions import override

from jobs.inference.task.protocol import Ended, TaskIdentity
from shared.domain.limits import Limits
from shared.domain.submission import State, Submission, TaskRecord, Topic
from shared.ports.blobs import BlobInfo
from shared.ports.events import Message
from shared.ports.jobs import JobRequest
from shared.ports.status import Stored
from tests.simulation.judge import Judge
from tests.simulation.world import World


@dataclass(slots=True)
class Entry:
    """One submission's.

    Attributes:
        dropped_s: When its file came.
        spent_s: In each state.
        over_s: When it was over.
    """

    dropped_s: float
    n_cells: int
    state: State
    since_s: float
    spent_s: dict[State, float] = field(default_factory=lambda: defaultdict(float))
    over_s: float | None = None
    record: Submission | None = None

    def move(self, to: State, now_s: float) -> None:
        """From one state to the next."""
        self.spent_s[self.state] += now_s - self.since_s
        self.state, self.since_s = to, now_s


class Ledger(Judge):
    """Sees every effect as the judge does, and keeps accounts instead of judging.

    Attributes:
        peaks: The most that was seen in a minute, or at once, by name.
    """

    def __init__(self, world: World, limits: Limits, dropped: Callable[[str], tuple[float, int]]) -> None:
        super().__init__(world, limits.heartbeat, limits.finalize_lease)
        self.entries: dict[str, Entry] = {}
        self.peaks: Counter[str] = Counter()
        self._dropped = dropped

    @override
    def dispatched(self) -> None:
        return

    @override
    def task_ended(self, me: TaskIdentity, ended: Ended) -> None:
        return

    @override
    def record_written(self, before: Stored[Submission] | None, after: Submission) -> None:
        now_s = self._world.now_s
        if before is None:
            self.entries[after.id] = Entry(*self._dropped(after.source.name), after.state, now_s)
        entry = self.entries[after.id]
        if entry.state is not after.state:
            entry.move(after.state, now_s)
        if after.state.final and entry.over_s is None:
            entry.over_s = now_s
        entry.record = after

    @override
    def task_written(self, before: TaskRecord | None, after: TaskRecord) -> None:
        return

    @override
    def blob_written(self, before: BlobInfo | None, info: BlobInfo, data: bytes) -> None:
        return

    @override
    def blob_deleted(self, bucket: str, name: str) -> None:
        return

    @override
    def published(self, topic: Topic, message: Message) -> None:
        return

    @override
    def started(self, request: JobRequest) -> None:
        return

    def peak(self, name: str, value: float) -> None:
        """Note a value, if none was higher."""
        self.peaks[name] = max(self.peaks[name], round(value))
