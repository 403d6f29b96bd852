"""The ports of the simulated world: every call takes its turn, and every effect is seen by the judge."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

from typing_extensions import override

from shared.domain.errors import AccessDeniedError, UnavailableError
from shared.domain.submission import ObjectRef, Submission, TaskRecord, Topic
from shared.ports.blobs import BlobInfo
from shared.ports.events import EventBus, Message
from shared.ports.status import Stored, TransactedChange
from shared.records.documents import submission_document, submission_from, task_document, task_from
from tests.fakes.blobs import MemoryBlobStore
from tests.fakes.calls import call
from tests.fakes.status import MemoryStatusStore
from tests.simulation.world import World

MAX_TRANSACTION_TRIES = 5
OF_THE_FUTURE = "of_a_later_version"


class Witness(Protocol):
    """Sees every effect, whoever caused it."""

    def record_written(self, before: Stored[Submission] | None, after: Submission) -> None: ...

    def task_written(self, before: TaskRecord | None, after: TaskRecord) -> None: ...

    def blob_written(self, before: BlobInfo | None, info: BlobInfo, data: bytes) -> None: ...

    def blob_deleted(self, bucket: str, name: str) -> None: ...

    def published(self, topic: Topic, message: Message) -> None: ...


class SimulatedStatusStore(MemoryStatusStore):
    """Transactions are optimistic, as Firestore's: others may write between the reads and the commit."""

    def __init__(self, world: World, witness: Witness) -> None:
        super().__init__(world.clock, world.cut)
        self._witness = witness
        self.transactions_isolated = True
        self.two_versions_write = False

    @override
    def transact(self, submission_id: str, change: TransactedChange) -> Stored[Submission]:
        for _ in range(MAX_TRANSACTION_TRIES):
            with call(self.hook, "status.transact"):
                before = self._existing(submission_id)
                tasks = self._tasks_of(submission_id, before.value.epoch)
                changed = change(before.value, [task.value for task in tasks], before.read_at)
                self.hook("status.transact.commit")
                newest = self._existing(submission_id)
                moved = (newest.version, self._versions(submission_id, before.value.epoch)) != (
                    before.version,
                    [task.version for task in tasks],
                )
                if not moved or not self.transactions_isolated:
                    return self._write(newest, changed)
        raise UnavailableError("contended transaction", hint="Try again.")

    def _versions(self, submission_id: str, epoch: int) -> list[str]:
        return [task.version for task in self._tasks_of(submission_id, epoch)]

    @override
    def put_task(self, submission_id: str, task: TaskRecord, *, if_version: str | None) -> Stored[TaskRecord]:
        found = self._tasks.get((submission_id, task.epoch, task.index))
        if self.two_versions_write:
            task = task_from({**task_document(task), OF_THE_FUTURE: 1})
        stored = super().put_task(submission_id, task, if_version=if_version)
        # Between the look above and the write others may have had their turn: only what was written over counts.
        if found is not None and found.version == if_version:
            self._witness.task_written(found.value, task)
        return stored

    @override
    def _write(self, before: Stored[Submission] | None, record: Submission) -> Stored[Submission]:
        if self.two_versions_write:
            record = submission_from({**submission_document(record), OF_THE_FUTURE: 1})
        self._witness.record_written(before, record)
        return super()._write(before, record)


class SimulatedBlobStore(MemoryBlobStore):
    """Keeps every generation's bytes, for the judge."""

    def __init__(self, world: World, witness: Witness) -> None:
        super().__init__(world.clock, world.cut)
        self._world = world
        self._witness = witness
        self.retains = False
        self.refused = 0
        self.ever: dict[ObjectRef, bytes] = {}

    @override
    def _put(self, info: BlobInfo, data: bytes) -> None:
        found = self.objects.get((info.ref.bucket, info.ref.name))
        self._witness.blob_written(found[0] if found else None, info, data)
        self.ever[info.ref] = data
        super()._put(info, data)

    @override
    def delete(self, bucket: str, name: str, *, if_generation: int | None = None) -> None:
        """As the port says, but for a bucket whose objects are retained: nobody may remove them, for good."""
        if self.retains and self._world.current is not None and bucket in {"work", "results"}:
            with call(self.hook, "blobs.delete"):
                self.refused += 1
                raise AccessDeniedError("the object is under a retention policy", where=f"{bucket}/{name}")
        super().delete(bucket, name, if_generation=if_generation)

    @override
    def _remove(self, bucket: str, name: str) -> None:
        self._witness.blob_deleted(bucket, name)
        super()._remove(bucket, name)

    def patch(self, ref: ObjectRef, metadata: Mapping[str, str]) -> None:
        """Have an object's metadata changed: same generation, same bytes."""
        info, data = self.objects[ref.bucket, ref.name]
        self.objects[ref.bucket, ref.name] = (replace(info, metadata=dict(metadata)), data)

    def spoil(self, name: str, data: bytes) -> None:
        """Have the bytes of a part rot where they lie: same generation, same checksum on record."""
        info, _ = self.objects["work", name]
        self.objects["work", name] = (info, data)


class SimulatedBus(EventBus):
    """Hands every message to whoever carries it, late, twice or in another order."""

    def __init__(self, world: World, witness: Witness, carry: Callable[[Topic, Message], None]) -> None:
        self._world = world
        self._witness = witness
        self._carry = carry

    @override
    def publish(self, topic: Topic, message: Message) -> None:
        with call(self._world.cut, "bus.publish"):
            self._witness.published(topic, message)
            self._carry(topic, message)
