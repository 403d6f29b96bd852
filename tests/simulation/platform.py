"""Cloud Run Jobs in the simulated world: executions of tasks that are started late, retried, evicted and cancelled."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from typing_extensions import override

from jobs.inference.task.protocol import TaskIdentity
from shared.domain.errors import CelldropError, NoCapacityError, StartRefusedError
from shared.ports.jobs import ExecutionReport, ExecutionState, JobRequest, JobRunner
from tests.fakes.calls import call
from tests.simulation.world import Gone, Process, Role, World

MAX_RETRIES = 3
MOST_WAIT_S = 1800.0
"""The deadline for capacity of the simulated deployment: an execution that waits for longer may be given up."""
COLD_START_S = 12.0
STOP_S = 5.0


class Beginning(StrEnum):
    """What may become of an execution that was accepted, other than that it begins within seconds."""

    LATE = "late"
    NO_ROOM = "no room"
    REFUSED = "refused"


@dataclass(eq=False, slots=True)
class Execution:
    """What the platform knows of one execution.

    Attributes:
        waits_until_s: Until then it waits for room.
        never_began: Why it ended before it began; None otherwise.
        crashes: How and where its attempts crashed natively, by task.
    """

    name: str
    request: JobRequest
    unfinished: int
    started_s: float
    state: ExecutionState = ExecutionState.RUNNING
    problem: str = ""
    waits_until_s: float = 0.0
    never_began: Beginning | None = None
    crashes: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    attempts: dict[Process, tuple[int, int]] = field(default_factory=dict)
    tried: dict[int, int] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)


class SimulatedJobs(JobRunner):
    """The platform. A start has no idempotency key: what is asked twice is started twice."""

    def __init__(
        self, world: World, run_task: Callable[[TaskIdentity], object], asked: Callable[[JobRequest], None]
    ) -> None:
        self._world = world
        self._run_task = run_task
        self._asked = asked
        self.executions: dict[str, Execution] = {}
        self.full_until_s = 0.0
        self.refused_until_s = 0.0
        self.refusals: Counter[type[CelldropError]] = Counter()
        self._refused_s: dict[str, list[float]] = defaultdict(list)
        self.forgets_after_s = float("inf")
        self.starts_twice: Callable[[], bool] = lambda: False
        self.beginning: Callable[[Execution], object] = lambda _execution: None
        self.kept_waiting: Callable[[Execution], object] = lambda _execution: None
        self.answered: dict[Process, str] = {}
        self.odd_until_s: dict[Beginning, float] = {}
        self.odd: Counter[Beginning] = Counter()
        self.crashed = 0
        self.unexpected: list[str] = []

    @property
    def forgets(self) -> bool:
        """Whether executions become unknown some time after they started."""
        return self.forgets_after_s < float("inf")

    @override
    def start(self, request: JobRequest) -> str:
        with call(self._world.cut, "jobs.start"):
            if self._world.now_s < self.full_until_s:
                self._refuse(request, NoCapacityError("no room", hint="Wait."))
            if self._world.now_s < self.refused_until_s:
                self._refuse(request, StartRefusedError("the job may not be started", hint="Grant it."))
            self._asked(request)
            name = self._begin(request)
            if self.starts_twice():
                name = self._begin(request)
        if self._world.current is not None:
            self.answered[self._world.current] = name
        return name

    @override
    def describe(self, execution: str) -> ExecutionReport:
        with call(self._world.cut, "jobs.describe"):
            return self.report_of(execution)

    def report_of(self, execution: str) -> ExecutionReport:
        """What the platform knows, or still knows."""
        found = self.executions.get(execution)
        if found is None or (found.tried and self._world.now_s - found.started_s > self.forgets_after_s):
            return ExecutionReport(ExecutionState.UNKNOWN)
        return ExecutionReport(
            found.state,
            found.problem,
            no_room=found.never_began is Beginning.NO_ROOM,
            refused=found.never_began is Beginning.REFUSED,
            crashes=tuple(crash for crashes in found.crashes.values() for crash in crashes),
            crashes_alike=any(_alike(crashes) for crashes in found.crashes.values()),
            begun=bool(found.tried),
        )

    @override
    def cancel(self, execution: str) -> None:
        with call(self._world.cut, "jobs.cancel"):
            found = self.executions.get(execution)
            if found is not None:
                self.stop(found)

    def waited_s(self, submission_id: str) -> float:
        """For how long it has refused a submission, from the first time to the last."""
        times_s = self._refused_s[submission_id] or [0.0]
        return times_s[-1] - times_s[0]

    def waits(self, submission_id: str) -> None:
        """Note that a submission was refused room now, or is still without it."""
        self._refused_s[submission_id].append(self._world.now_s)

    def _refuse(self, request: JobRequest, error: CelldropError) -> None:
        self.refusals[type(error)] += 1
        self.waits(request.submission_id)
        raise error

    def stop(self, execution: Execution) -> None:
        """Cancelled, by us or by an operator: it says so at once, and its processes go a little later."""
        self._over(execution, ExecutionState.CANCELLED)

    def lost_sight(self, process: Process) -> None:
        """The platform takes a process for dead that is only slow, and starts the task's next attempt beside it."""
        for execution in self.executions.values():
            if process in execution.attempts:
                index, _ = execution.attempts.pop(process)
                self._again(execution, index, "its instance was lost")

    def crash(self, process: Process, where: str) -> None:
        """An attempt dies of a native fault, and the platform learns where."""
        for execution in self.executions.values():
            if process in execution.attempts:
                index, _ = execution.attempts[process]
                execution.crashes[index].append(where)
                self.crashed += 1
                self._world.tell(f"{execution.name}: {where} in task {index}")
        self._world.die()

    def evict(self, process: Process) -> None:
        """The platform takes a machine away."""
        self._world.kill(process)

    def began(self, request: JobRequest) -> bool:
        """Whether what was asked for has begun, or still may."""
        return all(made.never_began is None for made in self.executions.values() if made.request is request)

    @property
    def running(self) -> list[Execution]:
        return [execution for execution in self.executions.values() if execution.state is ExecutionState.RUNNING]

    # --- Below: tasks ---

    def _begin(self, request: JobRequest) -> str:
        n_tasks = 1 if request.finalize_only else request.n_tasks
        name = f"execution-{len(self.executions) + 1}"
        execution = Execution(name, request, n_tasks, self._world.now_s)
        self.executions[name] = execution
        kind = "finalize only" if request.finalize_only else f"{n_tasks} tasks"
        self._world.tell(f"{name} begins: epoch {request.epoch}, {kind}")
        if self._never_begins(execution):
            return name
        together = self._world.lockstep_s > 0
        start_s = self._cold_start_s()
        for index in range(n_tasks):
            delay_s = start_s if together else self._cold_start_s()
            delay_s += max(0.0, execution.waits_until_s - self._world.now_s)
            self._world.after(delay_s, lambda index=index: self._attempt(execution, index))  # type: ignore[misc]
        return name

    def _never_begins(self, execution: Execution) -> bool:
        """Whether it ends before it begins; meanwhile, or until it begins, it counts as running."""
        odd = [kind for kind, until_s in self.odd_until_s.items() if self._world.now_s < until_s]
        if not odd:
            return False
        kind = odd[0]
        self.odd[kind] += 1
        self.waits(execution.request.submission_id)
        if kind is Beginning.LATE:
            execution.waits_until_s = self.odd_until_s[kind]
            self._world.tell(f"{execution.name} waits for room")
            self._world.after(MOST_WAIT_S, lambda: self._has_waited(execution))
            return False
        delay_s = self._world.between(5.0, 300.0)
        self._world.after(delay_s, lambda: self._give_up(execution, kind))
        return True

    def _has_waited(self, execution: Execution) -> None:
        if not execution.tried:
            self.kept_waiting(execution)

    def _give_up(self, execution: Execution, kind: Beginning) -> None:
        if execution.state is ExecutionState.RUNNING:
            execution.never_began = kind
            execution.problem = "there was no room for it" if kind is Beginning.NO_ROOM else "its image is not there"
            self.waits(execution.request.submission_id)
            self._over(execution, ExecutionState.FAILED)

    def _cold_start_s(self) -> float:
        return self._world.between(0.2, COLD_START_S)

    def _attempt(self, execution: Execution, index: int) -> None:
        if execution.state is not ExecutionState.RUNNING or index in execution.done:
            return
        if not execution.tried and execution.waits_until_s:
            self.waits(execution.request.submission_id)
        self.beginning(execution)
        number = execution.tried.get(index, 0)
        execution.tried[index] = number + 1
        request = execution.request
        count = 1 if request.finalize_only else request.n_tasks
        me = TaskIdentity(
            request.submission_id, request.epoch, index, count, number, execution.name, request.finalize_only
        )

        def ended(error: Exception | None) -> None:
            # An attempt that the platform lost sight of tells it nothing.
            if execution.attempts.pop(process, None) is not None:
                self._judge(execution, index, error)

        process = self._world.spawn(Role.TASK, request.submission_id, lambda: self._run_task(me), ended)
        execution.attempts[process] = (index, number)
        self._world.after(request.timeout_s, lambda: self._time_out(execution, process))

    def _judge(self, execution: Execution, index: int, error: Exception | None) -> None:
        if error is None:
            self._succeed(execution, index)
            return
        if not isinstance(error, (CelldropError, Gone)):
            self.unexpected.append(f"task: {type(error).__name__}: {error}")
        self._again(execution, index, "it was killed" if isinstance(error, Gone) else "it ended with exit status 1")

    def _succeed(self, execution: Execution, index: int) -> None:
        if index not in execution.done:
            execution.done.add(index)
            execution.unfinished -= 1
        if execution.unfinished == 0 and execution.state is ExecutionState.RUNNING:
            self._over(execution, ExecutionState.SUCCEEDED)

    def _again(self, execution: Execution, index: int, why: str) -> None:
        if execution.state is not ExecutionState.RUNNING:
            return
        if _alike(execution.crashes[index]):
            execution.problem = f"task {index} crashed twice at the same place: {execution.crashes[index][-1]}"
            self._over(execution, ExecutionState.FAILED)
            return
        if execution.tried[index] > MAX_RETRIES:
            execution.problem = f"task {index} failed {MAX_RETRIES + 1} times; the last time {why}"
            self._over(execution, ExecutionState.FAILED)
            return
        self._world.after(self._world.between(0.5, 5.0), lambda: self._attempt(execution, index))

    def _over(self, execution: Execution, state: ExecutionState) -> None:
        if execution.state is ExecutionState.RUNNING:
            execution.state = state
            if execution.waits_until_s and not execution.tried:
                self.waits(execution.request.submission_id)
            self._world.tell(f"{execution.name} is over: {state} {execution.problem}")
            for process in list(execution.attempts):
                self._world.after(self._world.between(0.0, STOP_S), lambda process=process: self._world.kill(process))  # type: ignore[misc]

    def _time_out(self, execution: Execution, process: Process) -> None:
        if process in execution.attempts:
            self._world.kill(process)


def _alike(crashes: list[str]) -> bool:
    """Whether two attempts of one task crashed at the same place, so that it is not retried again."""
    return len(crashes) != len(set(crashes))
