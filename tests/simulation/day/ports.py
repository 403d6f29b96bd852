"""The simulator's stores, made for many submissions: what is asked of one never looks at the others."""

from __future__ import annotations

import builtins
from collections import defaultdict
from collections.abc import Iterable, Iterator

from typing_extensions import override

from shared.domain.submission import State, Submission, TaskRecord
from shared.ports.blobs import BlobInfo
from shared.ports.status import Found, Stored
from tests.fakes.calls import call
from tests.simulation.ports import SimulatedBlobStore, SimulatedStatusStore, Witness
from tests.simulation.world import World


class DayStatusStore(SimulatedStatusStore):
    """Knows which submissions are open or owe something, and whose each task is."""

    def __init__(self, world: World, witness: Witness) -> None:
        super().__init__(world, witness)
        self.open: dict[str, None] = {}
        self._of: dict[tuple[str, int], set[int]] = defaultdict(set)

    @override
    def find(
        self,
        states: Iterable[State] = (),
        *,
        limit: int = 100,
        with_outbox: bool = False,
        oldest_first: bool = False,
    ) -> Found:
        wanted = set(states)
        assert wanted or with_outbox, "only what is open or owed is looked for"
        with call(self.hook, "status.find"):
            found = [self._now(self.records[one]) for one in self.open]
        kept = [
            one for one in found if (not wanted or one.value.state in wanted) and (one.value.outbox or not with_outbox)
        ]
        return Found(sorted(kept, key=lambda one: one.created_at, reverse=not oldest_first)[:limit])

    @override
    def find_owing(self, *, messages: bool, limit: int = 100) -> Found:
        with call(self.hook, "status.find_owing"):
            return self._owing([self.records[one] for one in self.open], messages, limit)

    @override
    def put_task(self, submission_id: str, task: TaskRecord, *, if_version: str | None) -> Stored[TaskRecord]:
        stored = super().put_task(submission_id, task, if_version=if_version)
        self._of[submission_id, task.epoch].add(task.index)
        return stored

    @override
    def _tasks_of(self, submission_id: str, epoch: int) -> list[Stored[TaskRecord]]:
        indexes = sorted(self._of.get((submission_id, epoch), ()))
        return [self._now(self._tasks[submission_id, epoch, index]) for index in indexes]

    @override
    def _write(self, before: Stored[Submission] | None, record: Submission) -> Stored[Submission]:
        if record.state.final and not record.outbox:
            self.open.pop(record.id, None)
        else:
            self.open[record.id] = None
        return super()._write(before, record)


class DayBlobStore(SimulatedBlobStore):
    """Lists by the first folder of a name, and keeps no bytes that were removed."""

    def __init__(self, world: World, witness: Witness) -> None:
        super().__init__(world, witness)
        self._names: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))

    @override
    def list(self, bucket: str, prefix: str = "") -> Iterator[BlobInfo]:
        with call(self.hook, "blobs.list"):
            names = self._folders(bucket, prefix)
        yield from (self.objects[bucket, name][0] for name in sorted(names) if name.startswith(prefix))

    @override
    def _put(self, info: BlobInfo, data: bytes) -> None:
        bucket, name = info.ref.bucket, info.ref.name
        self._names[bucket][name.partition("/")[0]].add(name)
        super()._put(info, data)
        self.ever.clear()

    @override
    def _remove(self, bucket: str, name: str) -> None:
        self._names[bucket][name.partition("/")[0]].remove(name)
        super()._remove(bucket, name)

    def _folders(self, bucket: str, prefix: str) -> builtins.list[str]:
        folder, slash, _ = prefix.partition("/")
        folders = [folder] if slash else [*self._names[bucket]]
        return [name for one in folders for name in self._names[bucket].get(one, ())]
