"""The whole pipeline over fakes, with stand-ins for the heavy computing: what the service tests live in."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from functions.dispatch.services import Dispatch, Dispatched
from functions.ingest.data_manager import IngestData
from functions.ingest.schemas import Drop
from functions.ingest.services import Ingest
from functions.reconcile.services import Reconcile
from jobs.inference.services import Task
from jobs.inference.task.finalizing import Finalizer
from jobs.inference.task.protocol import Ended, TaskIdentity
from shared.bundles.card import Features, Label, ModelCard, Training
from shared.bundles.kinds import LinearCard
from shared.bundles.stored import card_bytes
from shared.domain import machine
from shared.domain.errors import CorruptBlobError
from shared.domain.geometry import Rows
from shared.domain.limits import Limits
from shared.domain.options import Options
from shared.domain.plan import Fleet
from shared.domain.submission import ObjectRef, Receipt, Requester, Result, Submission, Topic
from shared.domain.verdict import (
    Finding,
    MatrixChoice,
    MatrixEncoding,
    MatrixState,
    Severity,
    Verdict,
)
from shared.ports.status import Stored
from shared.records.messages import parse_job
from shared.records.outbox import Outbox
from shared.records.updates import update
from tests.fakes.blobs import MemoryBlobStore
from tests.fakes.bus import MemoryBus
from tests.fakes.clock import SettableClock
from tests.fakes.jobs import RecordedJobRunner
from tests.fakes.status import MemoryStatusStore

CELLS = 1000
LIMITS = Limits(max_attempts=3, max_finalize_attempts=2)


def good_verdict(n_cells: int = CELLS) -> Verdict:
    matrix = MatrixChoice("X", MatrixState.COUNTS, "counts", MatrixEncoding.CSR, "float32", n_cells, 10, 10, "var")
    return Verdict(n_cells=n_cells, n_genes=10, matrix=matrix)


def refusing_verdict() -> Verdict:
    return Verdict(findings=(Finding("NO_USABLE_MATRIX", Severity.REFUSAL, "only scaled values", "give counts"),))


@dataclass
class StandIn:
    """Parts and results are a few bytes; what each call did is kept."""

    blobs: MemoryBlobStore
    annotated: list[tuple[str, Rows]] = field(default_factory=list)
    merged: list[str] = field(default_factory=list)
    before_part: Callable[[], None] = lambda: None
    before_result: Callable[[], None] = lambda: None

    def annotate(self, record: Submission, rows: Rows, part_name: str, beat: Callable[[int], None]) -> Receipt:
        del record
        beat(len(rows) // 2)
        self.before_part()
        info = self.blobs.write("work", part_name, [f"{rows.start}-{rows.stop};".encode()], if_generation=0)
        self.annotated.append((part_name, rows))
        assert info.crc32c is not None
        return Receipt(info.ref, info.size_bytes, info.crc32c, rows)

    def merge(self, record: Submission, receipts: Sequence[Receipt], prefix: str, beat: Callable[[], None]) -> Result:
        content = b""
        for receipt in receipts:
            beat()
            content += self.blobs.read(receipt.part)
            if self.blobs.stat(receipt.part.bucket, receipt.part.name).crc32c != receipt.crc32c:
                raise CorruptBlobError("a part is not what its receipt says", where=receipt.part.name)
        self.before_result()
        info = self.blobs.write("results", f"{prefix}manifest.json", [content], if_generation=0)
        self.merged.append(prefix)
        return Result("results", prefix, info.ref, {"n_cells": record.plan.n_cells if record.plan else 0})

    def discard(self, prefix: str) -> None:
        for info in list(self.blobs.list("results", prefix)):
            self.blobs.delete("results", info.ref.name)


class House:
    """Every service over one set of fakes."""

    def __init__(self) -> None:
        self.clock = SettableClock()
        self.blobs = MemoryBlobStore(self.clock)
        self.store = MemoryStatusStore(self.clock)
        self.bus = MemoryBus()
        self.jobs = RecordedJobRunner()
        self.computation = StandIn(self.blobs)
        self.verdict: Verdict = good_verdict()
        self.validated: list[ObjectRef] = []
        self._tokens = (f"token{n}" for n in itertools.count())
        self._seconds = 0.0
        self.blobs.write("models", "m/1/model.json", [card_bytes(card())])
        self.source = self.blobs.write("inbox", "sample.h5ad", [b"cells"]).ref
        self.blobs.write("models", "m/1/weights.safetensors", [b"weights"])
        self.ingest = Ingest(
            self.store, Outbox(self.store, self.bus), IngestData(self.blobs, "models", "m"), self._validate, Fleet()
        )
        self.dispatch = Dispatch(
            self.store, Outbox(self.store, self.bus, jobs=self.jobs), self.jobs, LIMITS, Fleet(), self.new_token, 60
        )
        outbox = Outbox(self.store, self.bus, self.blobs, self.jobs)
        self.reconcile = Reconcile(self.store, outbox, self.jobs, LIMITS)

    def new_token(self) -> str:
        return next(self._tokens)

    def seconds(self) -> float:
        self._seconds += 100.0  # Every heartbeat is due.
        return self._seconds

    def _validate(
        self, source: ObjectRef, _card: ModelCard, _options: Options, _others: Sequence[ModelCard]
    ) -> Verdict:
        self.validated.append(source)
        return self.verdict

    def drop(self, options: dict[str, str] | None = None, who: str | None = None, rerun: str | None = None) -> Drop:
        return Drop(self.source, options or {}, rerun, Requester(who) if who else None)

    def accept(self, options: dict[str, str] | None = None, who: str | None = None) -> Stored[Submission]:
        return self.ingest.submit(self.drop(options, who))

    def patch(self, metadata: dict[str, str]) -> None:
        """Give the sample other metadata: same generation, same bytes."""
        info, data = self.blobs.objects["inbox", "sample.h5ad"]
        self.blobs.objects["inbox", "sample.h5ad"] = (replace(info, metadata=metadata), data)

    def deliver(self) -> list[Dispatched]:
        return [self.dispatch.handle(parse_job(message.data)) for message in self.bus.take(Topic.JOBS)]

    def deliver_later(self) -> list[Dispatched]:
        """Deliver what is sent, once the pause before it is over."""
        if not self.bus.messages(Topic.JOBS):
            self.later(minutes=10)
            self.reconcile.sweep()
        return self.deliver()

    def task(self) -> Task:
        outbox = Outbox(self.store, self.bus, self.blobs)
        finalizer = Finalizer(self.store, outbox, self.computation, LIMITS, self.new_token, self.seconds, renewal_s=0.0)
        return Task(self.store, outbox, self.computation, finalizer, self.seconds, beat_interval_s=0.0)

    def run_task(self, index: int = 0, attempt: int = 0, execution: str | None = None) -> Ended:
        name = execution or self.jobs.latest
        request = self.jobs.requests[self.jobs.latest]
        return self.task().run(
            TaskIdentity(
                request.submission_id, request.epoch, index, request.n_tasks, attempt, name, request.finalize_only
            )
        )

    def run_all(self) -> list[Ended]:
        return [self.run_task(index) for index in range(self.jobs.requests[self.jobs.latest].n_tasks)]

    def cancel(self) -> None:
        update(self.store, self.only().id, lambda record, now: machine.cancel(record, now=now))

    def only(self) -> Submission:
        (stored,) = self.store.find()
        return stored.value

    def later(self, **how: float) -> None:
        self.clock.advance(timedelta(**how))


def card() -> ModelCard:
    return LinearCard(
        name="m",
        version="1",
        features=Features(symbol=("A", "B")),
        preprocessing=(),
        labels=(Label(name="x"), Label(name="y")),
        training=Training(method="test"),
    )
