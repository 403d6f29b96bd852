"""The real pipeline over counted ports: every service as deployed, every task in a thread, all of them at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from pathlib import Path

from benchmarks.metering_tasks import Always, Gate, SummedBlobStore, Together
from functions.dispatch.dependencies import build_dispatch
from functions.ingest.dependencies import build_ingest
from functions.ingest.schemas import Drop
from functions.reconcile.dependencies import build_reconcile
from functions.status.dependencies import service_over
from jobs.inference.dependencies import build_task
from jobs.inference.schemas import TaskEnvironment
from jobs.inference.services import Task
from jobs.inference.task.protocol import Ended
from shared.adapters.local.blobs import DirectoryBlobStore
from shared.domain.errors import NoCapacityError
from shared.domain.submission import Requester, Submission, Topic
from shared.records.messages import parse_job
from shared.settings import load_settings
from shared.wiring.ports import MadePorts
from tests.fakes.bus import MemoryBus
from tests.fakes.clock import SettableClock
from tests.fakes.counted_bus import CountedBus
from tests.fakes.counted_status import CountedStatusStore
from tests.fakes.jobs import RecordedJobRunner
from tests.fakes.status import MemoryStatusStore

MAX_TASKS = 10_000
"""Beyond Cloud Run's own limit nobody plans."""
BEATS = 3
"""Shown by each task and by the merge where beats are counted."""


@dataclass(frozen=True, slots=True)
class Units:
    """What the platforms charge for.

    Attributes:
        record_writes: Those of the one document that all tasks share, among ``writes``.
        class_a: Cloud Storage: objects written and lists.
        class_b: Cloud Storage: reads and lookups.
        deletes: Cloud Storage; not charged for.
        bytes_read: Out of Cloud Storage.
        bytes_written: Into Cloud Storage.
        messages: Published; each is delivered once more than that to every subscription.
        calls: Of Cloud Run's API: executions started, looked up, cancelled.
    """

    reads: int = 0
    writes: int = 0
    record_writes: int = 0
    class_a: int = 0
    class_b: int = 0
    deletes: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    messages: int = 0
    calls: int = 0

    def __sub__(self, other: Units) -> Units:
        return Units(*(getattr(self, one.name) - getattr(other, one.name) for one in fields(Units)))


class Pipeline:
    """One file's way, step by step; ``spent`` tells what a step took.

    Attributes:
        beating: Whether every heartbeat is due, ``BEATS`` of them at least; else none is, so that nothing depends on
            how fast this machine is.
    """

    def __init__(self, home: Path, file: Path, model: str, *, beating: bool = False) -> None:
        self.beating = beating
        settings = load_settings(inbox_bucket="inbox", default_model=model, max_tasks=MAX_TASKS)
        roots = {"inbox": file.parent.resolve(), "models": settings.models_dir.resolve()}
        ours = {"work": home / "work", "results": home / "results"}
        self.blobs = SummedBlobStore(DirectoryBlobStore(roots | ours, frozenset(roots)))
        self.clock = SettableClock(tick=timedelta(milliseconds=1))
        self.store = CountedStatusStore(MemoryStatusStore(self.clock))
        self._delivered = MemoryBus()
        self.bus = CountedBus(self._delivered)
        self._calls = 0
        self._refusing = False
        self.jobs = RecordedJobRunner(self._called)
        self._ports = MadePorts(self.blobs, self.bus, self.store, self.jobs)
        self._settings = settings
        self._source = self.blobs.inner.stat("inbox", file.name).ref
        self._lock = threading.Lock()

    def spent(self) -> Units:
        """So far."""
        asked = self.blobs.asked
        return Units(
            reads=self.store.reads,
            writes=self.store.writes,
            record_writes=self.store.record_writes,
            class_a=asked["write"] + asked["list"],
            class_b=asked["read"] + asked["stat"],
            deletes=asked["delete"],
            bytes_read=self.blobs.bytes_read,
            bytes_written=sum(self.blobs.written.values()),
            messages=self.bus.messages.total(),
            calls=self._calls,
        )

    def step(self, action: Callable[[], object]) -> Units:
        """What one step takes."""
        before = self.spent()
        action()
        return self.spent() - before

    # --- The steps ---

    def ingest(self, n_tasks: int, who: str = "") -> None:
        """The drop's event, or somebody's request for the same."""
        options = {"tasks": str(n_tasks), "map": "off"}
        requester = Requester(who, "//lims.example.org/runs") if who else None
        build_ingest(self._settings, self._ports).submit(Drop(self._source, options, requester=requester))

    def dispatch(self) -> None:
        """The job's message."""
        for message in self._delivered.take(Topic.JOBS):
            build_dispatch(self._settings, self._ports).handle(parse_job(message.data))

    def refused(self) -> None:
        """A start that finds no room, and what it takes to try again a minute later."""
        self._refusing = True
        self.dispatch()
        self._refusing = False
        self.clock.advance(timedelta(minutes=2))
        self.sweep()

    def compute(self, meanwhile: Callable[[], None] = lambda: None) -> list[Ended]:
        """Every task, from the first's start to the commit. All have begun before any has computed, as in the cloud.

        Args:
            meanwhile: Done when all have begun.
        """
        request = self.jobs.requests[self.jobs.latest]
        gate = Gate(request.n_tasks)
        with ThreadPoolExecutor(request.n_tasks) as pool:
            running = []
            try:
                for index in range(request.n_tasks):
                    running.append(pool.submit(self._run, index, request.n_tasks, gate))
                    gate.wait_for(index + 1)
                meanwhile()
            finally:
                gate.let_go()
            return [one.result() for one in running]

    def sweep(self) -> None:
        """One pass of reconcile."""
        build_reconcile(self._settings, self._ports).sweep()

    def look(self) -> None:
        """One look at the submission over HTTP."""
        service_over(self._ports).look_up(self.record.id)

    def browse(self) -> None:
        """The list of submissions, over HTTP."""
        service_over(self._ports).list(limit=50)

    @property
    def record(self) -> Submission:
        """As it stands; not counted."""
        (stored,) = self.store.inner.find()
        return stored.value

    # --- Below ---

    def _run(self, index: int, n_tasks: int, gate: Gate) -> Ended:
        record, execution = self.record, self.jobs.latest
        environment = TaskEnvironment.model_construct(
            index=index, count=n_tasks, attempt=0, execution=execution, submission_id=record.id, epoch=record.epoch
        )
        task = build_task(self._settings, self._ports, environment)
        seconds = Always(100.0 if self.beating else 0.0)
        computation = Together(task.computation, gate, self._lock, beats=BEATS if self.beating else 0)
        finalizer = replace(task.finalizer, seconds=seconds, computation=computation)
        gated: Task = replace(task, computation=computation, finalizer=finalizer, seconds=seconds)
        try:
            return gated.run(environment.identity)
        finally:
            gate.arrive()

    def _called(self, moment: str) -> None:
        self._calls += not moment.endswith(".done")
        if self._refusing and moment == "jobs.start":
            raise NoCapacityError("no room")
