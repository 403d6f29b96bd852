"""Pays a record's outbox entries: messages, events, the manifest, stopped executions, swept leftovers."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from shared.domain import owed
from shared.domain.errors import CelldropError, InternalError, UnavailableError
from shared.domain.outputs import MANIFEST
from shared.domain.submission import EntryKind, ObjectRef, OutboxEntry, Submission, Topic
from shared.ports.blobs import BlobInfo, BlobStore
from shared.ports.events import EventBus
from shared.ports.jobs import JobRunner
from shared.ports.status import StatusStore, Stored
from shared.records.budget import PassBudget
from shared.records.messages import Page, accepted_message, job_message, outcome_message
from shared.records.updates import update
from shared.telemetry import event

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outbox:
    """Pays the outbox entries that this process can. The others stay for another process.

    Attributes:
        bus: None if messages are left to reconcile (`celldrop submit` next to a running server).
        blobs: None if the process may not write results (ingest, dispatch, status).
        jobs: None if the process may not stop executions (ingest, a task).
        work_bucket: The bucket of the parts.
        results_bucket: The bucket of the results, and of the leftovers of finalizers that lost.
        budget: Of the pass that this belongs to; None if only one submission is paid.
    """

    store: StatusStore
    bus: EventBus | None
    blobs: BlobStore | None = None
    jobs: JobRunner | None = None
    work_bucket: str = "work"
    results_bucket: str = "results"
    budget: PassBudget | None = None

    def pay(self, stored: Stored[Submission]) -> Stored[Submission]:
        """Pay every entry that is due, and remove it from the record.

        Idempotent: entries have constant ids and constant effects. After a crash between the two steps, an entry is
        paid again.

        A failed entry does not block the others. It is postponed, longer with every try, and given up with a note if
        it is refused for good. An event of several pages goes on at the page where it stopped.

        Raises:
            CelldropError: The error of the first failed entry. All failed entries stay in the record.
        """
        done: set[str] = set()
        failed: dict[str, CelldropError] = {}
        told: dict[str, int] = {}
        for entry in owed.in_order(stored.value):
            if not self._pays(entry, stored.read_at):
                continue
            error = self._try(stored, entry, told)
            if error is not None:
                failed[entry.id] = error
            elif told.get(entry.id, entry.page) == entry.page:
                done.add(entry.id)
        if done or failed or told:
            stored = self._note(stored, done, failed, told)
        for fault in failed.values():
            raise fault
        return stored

    def has_queued(self, record: Submission) -> bool:
        """Whether the record's job message still waits in the bus of this process."""
        job = owed.job(record.id, record.epoch + 1)
        return self.bus is not None and self.bus.holds(Topic.JOBS, job.id)

    def _try(self, stored: Stored[Submission], entry: OutboxEntry, told: dict[str, int]) -> CelldropError | None:
        fault: CelldropError | None = None
        try:
            self._pay_one(stored, entry, told)
        except CelldropError as error:
            fault = error
        except Exception as error:  # noqa: BLE001  # a bug of ours must not block the others for ever
            fault = InternalError(f"{type(error).__name__}: {error}")
        if self.budget is not None:
            self.budget.note(entry, fault)
        return fault

    def _note(
        self,
        stored: Stored[Submission],
        done: set[str],
        failed: Mapping[str, CelldropError],
        told: Mapping[str, int],
    ) -> Stored[Submission]:
        before, seen = stored.value.given_up, {entry.id: entry for entry in stored.value.outbox}

        def change(record: Submission, now: datetime) -> Submission:
            for entry_id, page in told.items():
                record = owed.told(record, seen[entry_id], page)
            return owed.tried(record, done, failed, now)

        noted = update(self.store, stored.value.id, change)
        if noted.value.given_up != before:
            event(log, "given up", level=logging.ERROR, submission=noted.value.id, why=noted.value.given_up)
        return noted

    def _pays(self, entry: OutboxEntry, now: datetime) -> bool:
        if entry.not_before is not None and now < entry.not_before:
            return False
        if self.budget is not None and not self.budget.allows(entry):
            return False
        match entry.kind:
            case EntryKind.MANIFEST | EntryKind.SWEEP:
                return self.blobs is not None
            case EntryKind.STOP:
                return self.jobs is not None
            case EntryKind.JOB | EntryKind.FINALIZE:
                return self.bus is not None and self.bus.takes(Topic.JOBS)
            case _:
                return self.bus is not None

    def _pay_one(self, stored: Stored[Submission], entry: OutboxEntry, told: dict[str, int]) -> None:
        match entry.kind:
            case EntryKind.JOB | EntryKind.FINALIZE:
                assert self.bus is not None
                self.bus.publish(Topic.JOBS, job_message(stored.value, entry))
            case EntryKind.ACCEPTED | EntryKind.OUTCOME:
                self._tell(stored, entry, told)
            case EntryKind.MANIFEST:
                self._publish_manifest(stored.value)
            case EntryKind.STOP:
                assert self.jobs is not None
                self.jobs.cancel(entry.execution)
            case EntryKind.SWEEP:
                self._sweep(stored.value)

    def _tell(self, stored: Stored[Submission], entry: OutboxEntry, told: dict[str, int]) -> None:
        """Publish an event for each page of requesters, as far as the time allows.

        Args:
            told: Keeps, by the entry's id, the last page that was told.
        """
        assert self.bus is not None
        say = accepted_message if entry.kind is EntryKind.ACCEPTED else outcome_message
        record = stored.value
        for number in range(entry.first_page, entry.page + 1):
            named = record.requesters if number == record.pages else self.store.page(record.id, number)
            if number == entry.page:
                named = named[: entry.n_requesters]
            page = Page(owed.told_id(record, entry.kind, number, len(named)), named)
            self.bus.publish(Topic.EVENTS, say(stored, page))
            told[entry.id] = number
            if self.budget is not None and self.budget.is_over:
                return

    def _publish_manifest(self, record: Submission) -> None:
        assert self.blobs is not None
        assert record.result is not None
        content = self.blobs.read(record.result.manifest)
        self.blobs.write(
            record.result.bucket, f"{record.id}/{MANIFEST.name}", [content], content_type=MANIFEST.content_type
        )

    def _sweep(self, record: Submission) -> None:
        """Delete leftovers. Raises if the bucket refuses some (a retention policy, a hold), once all were tried."""
        kept = (record.result.prefix, f"{record.id}/{MANIFEST.name}") if record.result else ()
        self._remove([info.ref for info in self._listed(self.work_bucket, record)])
        left = [info.ref for info in self._listed(self.results_bucket, record) if not info.ref.name.startswith(kept)]
        self._remove(left)

    def _listed(self, bucket: str, record: Submission) -> Iterable[BlobInfo]:
        assert self.blobs is not None
        return list(self.blobs.list(bucket, f"{record.id}/"))

    def _remove(self, refs: Iterable[ObjectRef]) -> None:
        assert self.blobs is not None
        refused: list[CelldropError] = []
        for ref in refs:
            try:
                self.blobs.delete(ref.bucket, ref.name, if_generation=ref.generation)
            except UnavailableError:
                raise
            except CelldropError as error:
                refused.append(error)
        for refusal in refused:
            raise refusal
