"""The whole service in a simulated world: the real code of every part, the platform's doors, and its users."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from functions.dispatch.services import Dispatch, Dispatched
from functions.ingest.data_manager import IngestData
from functions.ingest.retrying import RETRY_TIMES, RetryTimes
from functions.ingest.schemas import Drop, StorageObject
from functions.ingest.services import Ingest
from functions.reconcile.services import Reconcile
from functions.status.data_manager import ResultData
from functions.status.services import StatusService
from jobs.inference.services import Task
from jobs.inference.task.finalizing import Finalizer
from jobs.inference.task.protocol import Ended, TaskIdentity
from shared.bundles.card import ModelCard
from shared.bundles.stored import card_bytes
from shared.domain.admission import Request
from shared.domain.errors import CelldropError, InternalError, NotHdf5Error
from shared.domain.geometry import BLOCK_ROWS
from shared.domain.limits import Limits
from shared.domain.options import Options
from shared.domain.plan import Fleet
from shared.domain.submission import ObjectRef, Topic
from shared.domain.verdict import Verdict
from shared.ports.events import Message
from shared.records.messages import AnnotationRequest, JobMessage, parse_job
from shared.records.outbox import Outbox
from shared.validation import pinned
from shared.wiring.ports import MadePorts
from tests.services.house import card, good_verdict, refusing_verdict
from tests.simulation import judge as judging
from tests.simulation.computation import Tracer
from tests.simulation.judge import Judge
from tests.simulation.platform import SimulatedJobs
from tests.simulation.ports import SimulatedBlobStore, SimulatedBus, SimulatedStatusStore
from tests.simulation.world import Gone, Role, World

RECONCILE_EVERY_S = 60.0
ACK_DEADLINE_S = 600.0
MAX_DELIVERIES = 8
TASK_TIMEOUT_S = 900
CARD = card_bytes(card())
GOOD, BAD, BROKEN = "good", "bad", "broken"


@dataclass(frozen=True, slots=True)
class Version:
    """What differs from one deployment to the next."""

    limits: Limits
    fleet: Fleet


FIRST = Version(
    Limits(
        max_attempts=judging.MAX_ATTEMPTS,
        max_epochs=judging.MAX_EPOCHS,
        max_finalize_attempts=judging.MAX_FINALIZE_ATTEMPTS,
        dispatch_lease=timedelta(minutes=4),
        finalize_lease=timedelta(minutes=2),
        heartbeat=timedelta(minutes=1),
        capacity=timedelta(hours=1),
        refused=timedelta(minutes=100),
    ),
    Fleet(rows_per_task=2 * BLOCK_ROWS),
)
SECOND = Version(
    Limits(
        max_attempts=judging.MAX_ATTEMPTS - 1,
        max_epochs=judging.MAX_EPOCHS - 2,
        max_finalize_attempts=judging.MAX_FINALIZE_ATTEMPTS,
        dispatch_lease=timedelta(minutes=6),
        finalize_lease=timedelta(minutes=3),
        heartbeat=timedelta(minutes=2),
        capacity=timedelta(minutes=30),
        refused=timedelta(minutes=90),
    ),
    Fleet(rows_per_task=BLOCK_ROWS),
)
HASTY = RetryTimes(
    fault=timedelta(seconds=90), drop=timedelta(seconds=90), request=timedelta(seconds=45), span=timedelta(seconds=20)
)
"""So little that ingest often refuses a file because a service does not answer."""


@dataclass(slots=True)
class Post:
    """How messages travel; the faults turn these knobs.

    Attributes:
        copies: How many of a message arrive.
        delay_s: How long one of them takes.
    """

    copies: Callable[[], int]
    delay_s: Callable[[], float]


@dataclass(slots=True)
class Done:
    """What people and the world did that explains an end without results.

    Attributes:
        heard: Those whose request was acknowledged, by their correlation ids.
    """

    changed: set[ObjectRef] = field(default_factory=set)
    cancelled: set[str] = field(default_factory=set)
    heard: list[str] = field(default_factory=list)


def _nobody() -> None:
    return


@dataclass(frozen=True, slots=True)
class Push:
    """What is delivered until it is acknowledged.

    Attributes:
        event: What it tells of, the same at every delivery.
        heard: Called when it was acknowledged.
        most: How often it is delivered before it is given up; None: no end.
    """

    role: Role
    subject: str
    handle: Callable[[], object]
    event: str = ""
    heard: Callable[[], object] = _nobody
    most: int | None = None


class Town:
    """Everything of one history.

    Attributes:
        sent_at: When each event was first sent.
    """

    def __init__(self, seed: int, retry_times: RetryTimes = RETRY_TIMES) -> None:
        self.world = World(seed)
        self.judge = Judge(self.world, FIRST.limits.heartbeat, FIRST.limits.finalize_lease)
        self.store = SimulatedStatusStore(self.world, self.judge)
        self.blobs = SimulatedBlobStore(self.world, self.judge)
        self.jobs = SimulatedJobs(self.world, self._run_task, self.judge.started)
        self.bus = SimulatedBus(self.world, self.judge, self._carry)
        self.judge.store, self.judge.blobs, self.judge.jobs = self.store, self.blobs, self.jobs
        self.jobs.beginning = self.judge.execution_begun
        self.jobs.kept_waiting = lambda execution: self.judge.harm.strike(
            execution.request.submission_id, self.world.now_s, work=False
        )
        self.ports = MadePorts(self.blobs, self.bus, self.store, self.jobs)
        self.computation = Tracer(self.world, self.blobs, crash=self._crash, slowed=self._slowed)
        self.version = self.other_version = FIRST
        self.post = Post(lambda: 1, lambda: self.world.between(0.02, 0.5))
        self.task_timeout_s = TASK_TIMEOUT_S
        self.reconciles = True
        self.batch = 2
        self.retry_times = retry_times
        self._crashed: set[str] = set()
        self.sent_at: dict[str, datetime] = {}
        self.done = Done()
        self.drops: dict[ObjectRef, Drop] = {}
        self._sent: list[Push] = []
        self._tokens = (f"token{n}" for n in itertools.count())
        self._ticking = False
        self.blobs.write("models", "m/1/model.json", [CARD])
        self.blobs.write("models", "m/1/weights.safetensors", [b"weights"])

    # --- People ---

    def drop(self, name: str, content: str, n_tasks: int | None = None) -> Drop:
        """Somebody uploads a file; Cloud Storage tells of it."""
        options = {"tasks": str(n_tasks)} if n_tasks else {}
        found = self.blobs.objects.get(("inbox", name))
        if found is not None:
            self.done.changed.add(found[0].ref)
        metadata = {f"celldrop-{option}": value for option, value in options.items()}
        ref = self.blobs.write("inbox", name, [content.encode()], metadata=metadata).ref
        self.world.tell(f"{ref} is dropped")
        drop = self.drops[ref] = Drop(ref, options)
        event = StorageObject(bucket=ref.bucket, name=ref.name, generation=ref.generation, metageneration=1)
        sent_at = self.sent_at[str(ref)] = self.world.clock()
        self.send(Push(Role.INGEST, id_of(drop), lambda: self._ingest().handle(event, sent_at), str(ref)))
        return drop

    def patch(self, ref: ObjectRef) -> None:
        """Somebody gives an object other options than it was dropped with."""
        self.world.tell(f"{ref} is given other options")
        self.blobs.patch(ref, {"celldrop-tasks": str(self.world.random.randint(1, 9))})

    def remove(self, ref: ObjectRef) -> None:
        """Somebody deletes a file."""
        self.world.tell(f"{ref} is removed")
        self.done.changed.add(ref)
        self.blobs.delete(ref.bucket, ref.name)

    def request(self, drop: Drop) -> None:
        """Another system asks for a file, in its own words, as it is now or as it was."""
        assert drop.requester is not None
        who = drop.requester.correlation_id
        asked = AnnotationRequest(
            bucket=drop.source.bucket,
            name=drop.source.name,
            generation=drop.source.generation if self.world.random.random() < 0.5 else None,
            options=dict(drop.options),
            correlation_id=who,
            rerun=drop.rerun_token,
        )

        def heard() -> None:
            self.done.heard.append(who)

        message_id = f"{who}/{len(self._sent)}"
        sent_at = self.sent_at[message_id] = self.world.clock()

        def handle() -> object:
            return self._ingest().handle_request(asked, message_id, sent_at)

        self.send(Push(Role.INGEST, id_of(drop), handle, message_id, heard))

    def redeliver(self) -> bool:
        """Whoever delivers does so once more, though it was acknowledged; whether anything was sent before."""
        if self._sent:
            self._push(self.world.random.choice(self._sent))
        return bool(self._sent)

    def send(self, push: Push) -> None:
        """Have something delivered."""
        for _ in range(self.post.copies()):
            self.world.after(self.post.delay_s(), lambda: self._push(push))
        self._sent.append(push)

    def cancel(self, submission_id: str) -> None:
        """Somebody cancels over HTTP, once."""
        self.done.cancelled.add(submission_id)
        ports = self.ports
        service = StatusService(
            ports.store,
            Outbox(ports.store, ports.bus, jobs=ports.jobs),
            ResultData(ports.blobs),
            self.world.sleep,
            lambda: self.world.now_s,
        )
        self.world.spawn(Role.STATUS, submission_id, lambda: service.cancel(submission_id), lambda _error: None)

    # --- The platform's doors ---

    def _carry(self, topic: Topic, message: Message) -> None:
        if topic is Topic.JOBS:
            for _ in range(self.post.copies()):
                self.world.after(self.post.delay_s(), lambda: self._job_message(message))

    def _job_message(self, message: Message) -> None:
        job = parse_job(message.data)
        self._push(Push(Role.DISPATCH, job.submission_id, lambda: self._handle(job), most=MAX_DELIVERIES))

    def _push(self, push: Push, number: int = 1) -> None:
        """Deliver; again with back-off when it was not acknowledged, and beside it when that takes too long."""
        settled = False

        def again() -> None:
            if push.most is None or number < push.most:
                self.world.after(min(600.0, 10.0 * 2.0 ** (number - 1)), lambda: self._push(push, number + 1))
            else:
                self.world.tell(f"{push.role}: given up after {number} deliveries")

        def ended(error: Exception | None) -> None:
            nonlocal settled
            self._expected(push.role, error)
            self.tick()
            if error is None:
                push.heard()
            elif not settled:
                again()
            settled = True

        def overdue() -> None:
            nonlocal settled
            if not settled:
                settled = True
                again()

        self.world.spawn(push.role, push.subject, push.handle, ended, push.event)
        self.world.after(ACK_DEADLINE_S, overdue)

    def tick(self) -> None:
        """The scheduler calls reconcile, as long as there is anything to look after."""
        if not self.reconciles or self._ticking:
            return
        self._ticking = True

        def call_it() -> None:
            self._ticking = False
            self.world.spawn(Role.RECONCILE, "", self._sweep, lambda error: self._expected(Role.RECONCILE, error))
            if self.unsettled:
                self.tick()

        self.world.after(RECONCILE_EVERY_S, call_it)

    @property
    def unsettled(self) -> bool:
        """Whether anything is open, owed or running."""
        return bool(self.jobs.running) or any(
            stored.value.outbox or not stored.value.state.final for stored in self.store.records.values()
        )

    def _expected(self, role: Role, error: Exception | None) -> None:
        bug = isinstance(error, InternalError) or not isinstance(error, CelldropError | Gone | None)
        if bug:
            self.judge.breach(f"{role}: {type(error).__name__}: {error}")

    # --- The real code ---

    def _which(self) -> Version:
        """During a roll-out, either."""
        return self.version if self.world.random.random() < 0.5 else self.other_version

    def _ingest(self) -> Ingest:
        ports = self.ports
        data = IngestData(ports.blobs, "models", "m")
        outbox = Outbox(ports.store, ports.bus)
        fleet, clock = self.version.fleet, self.world.clock
        return Ingest(ports.store, outbox, data, self._validate, fleet, clock, self.retry_times)

    def _dispatch(self) -> Dispatch:
        version, ports, timeout_s = self._which(), self.ports, self.task_timeout_s
        outbox = Outbox(ports.store, ports.bus, jobs=ports.jobs)
        return Dispatch(ports.store, outbox, ports.jobs, version.limits, version.fleet, self._token, timeout_s)

    def _handle(self, job: JobMessage) -> None:
        if self._dispatch().handle(job) is Dispatched.STARTED:
            self.judge.dispatched()

    def _sweep(self) -> None:
        ports = self.ports
        outbox = Outbox(ports.store, ports.bus, ports.blobs, ports.jobs)
        limits, seconds = self._which().limits, lambda: self.world.now_s
        Reconcile(ports.store, outbox, ports.jobs, limits, batch=self.batch, seconds=seconds).sweep()

    def _run_task(self, me: TaskIdentity) -> Ended:
        def seconds() -> float:
            return self.world.now_s

        store = self.ports.store
        outbox = Outbox(store, self.ports.bus, self.ports.blobs)
        finalizer = Finalizer(
            store, outbox, self.computation, self._which().limits, self._token, seconds, renewal_s=10.0
        )
        ended = Task(store, outbox, self.computation, finalizer, seconds).run(me)
        self.judge.task_ended(me, ended)
        return ended

    def _crash(self, where: str) -> None:
        process = self.world.current
        assert process is not None
        # A second crash at the same place ends the submission, if anybody can know of the first.
        if process.subject not in self._crashed or self.jobs.forgets:
            self.judge.harm.strike(process.subject, self.world.now_s, work=True)
        self._crashed.add(process.subject)
        self.jobs.crash(process, where)

    def _slowed(self) -> None:
        # A finalizer that is at work and cannot beat is replaced after its grace, and may really die then.
        assert self.world.current is not None
        self.judge.harm.strike(self.world.current.subject, self.world.now_s, work=False)

    def _token(self) -> str:
        return next(self._tokens)

    def _validate(self, source: ObjectRef, _card: ModelCard, _options: Options, _others: object) -> Verdict:
        """The stand-in for looking into the file; what it finds is the file's first word."""
        pinned(self.blobs, source)
        self.world.sleep(self.world.between(0.05, 1.0))
        kind, _, n_cells = self.computation.read(source).partition(" ")
        if kind == BROKEN:
            raise NotHdf5Error("not an HDF5 file", where=str(source))
        return good_verdict(int(n_cells)) if kind == GOOD else refusing_verdict()


def id_of(drop: Drop) -> str:
    """The id of a drop's submission."""
    return Request(drop.source, drop.options, drop.rerun_token).id
