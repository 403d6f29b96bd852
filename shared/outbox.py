"""Paying what a record owes the world: messages, events, the manifest, stopped executions, swept leftovers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from shared.domain import owed
from shared.domain.errors import CelldropError
from shared.domain.submission import EntryKind, OutboxEntry, Submission, Topic
from shared.messages import accepted_message, job_message, outcome_message
from shared.ports.blobs import BlobStore
from shared.ports.events import EventBus
from shared.ports.jobs import JobRunner
from shared.ports.status import StatusStore, Stored
from shared.updates import update

MANIFEST_NAME = "manifest.json"


@dataclass(frozen=True, slots=True)
class Outbox:
    """Pays the entries that its collaborators allow; the others stay for whoever can.

    Attributes:
        bus: None where messages are left to reconcile (`celldrop submit` beside a running server).
        blobs: None where the process may not write results (ingest, dispatch, status).
        jobs: None where the process may not stop executions (ingest, a task).
        work_bucket: Where the parts lie.
        results_bucket: Where results lie, and what losing finalizers left.
    """

    store: StatusStore
    bus: EventBus | None
    blobs: BlobStore | None = None
    jobs: JobRunner | None = None
    work_bucket: str = "work"
    results_bucket: str = "results"

    def pay(self, stored: Stored[Submission]) -> Stored[Submission]:
        """Pay every entry that is due, then take it out of the record.

        Idempotent: entries have constant ids and constant effects, and a crash between paying and taking out
        only pays again.

        One entry that cannot be paid does not keep the others waiting.

        Raises:
            CelldropError: The first that could not be paid; it stays in the record, as do others like it.
        """
        done: set[str] = set()
        faults: list[CelldropError] = []
        for entry in stored.value.outbox:
            if not self._pays(entry, stored.read_at):
                continue
            try:
                self._pay_one(stored, entry)
                done.add(entry.id)
            except CelldropError as error:
                faults.append(error)
        if done:
            stored = update(self.store, stored.value.id, lambda record, _: owed.paid(record, done))
        if faults:
            raise faults[0]
        return stored

    def _pays(self, entry: OutboxEntry, now: datetime) -> bool:
        if entry.not_before is not None and now < entry.not_before:
            return False
        match entry.kind:
            case EntryKind.MANIFEST | EntryKind.SWEEP:
                return self.blobs is not None
            case EntryKind.STOP:
                return self.jobs is not None
            case _:
                return self.bus is not None

    def _pay_one(self, stored: Stored[Submission], entry: OutboxEntry) -> None:
        match entry.kind:
            case EntryKind.JOB | EntryKind.FINALIZE:
                assert self.bus is not None
                self.bus.publish(Topic.JOBS, job_message(stored.value, entry))
            case EntryKind.ACCEPTED:
                assert self.bus is not None
                self.bus.publish(Topic.EVENTS, accepted_message(stored, entry))
            case EntryKind.OUTCOME:
                assert self.bus is not None
                self.bus.publish(Topic.EVENTS, outcome_message(stored, entry))
            case EntryKind.MANIFEST:
                self._publish_manifest(stored.value)
            case EntryKind.STOP:
                assert self.jobs is not None
                self.jobs.cancel(entry.execution)
            case EntryKind.SWEEP:
                self._sweep(stored.value)

    def _publish_manifest(self, record: Submission) -> None:
        assert self.blobs is not None
        assert record.result is not None
        content = self.blobs.read(record.result.manifest)
        self.blobs.write(
            record.result.bucket, f"{record.id}/{MANIFEST_NAME}", [content], content_type="application/json"
        )

    def _sweep(self, record: Submission) -> None:
        assert self.blobs is not None
        for info in list(self.blobs.list(self.work_bucket, f"{record.id}/")):
            self.blobs.delete(self.work_bucket, info.ref.name, if_generation=info.ref.generation)
        kept = (record.result.prefix, f"{record.id}/{MANIFEST_NAME}") if record.result else ()
        for info in list(self.blobs.list(self.results_bucket, f"{record.id}/")):
            if not info.ref.name.startswith(kept):
                self.blobs.delete(self.results_bucket, info.ref.name, if_generation=info.ref.generation)
