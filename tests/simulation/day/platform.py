"""Cloud Run Jobs with a quota: no more tasks at a time than there is room for; what finds none is refused."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from typing_extensions import override

from jobs.inference.task.protocol import TaskIdentity
from shared.domain.errors import NoCapacityError
from shared.domain.plan import Accelerator
from shared.ports.jobs import ExecutionState, JobRequest
from tests.fakes.calls import call
from tests.simulation.platform import Execution, SimulatedJobs
from tests.simulation.world import World


@dataclass(eq=False, slots=True)
class Line:
    """An execution's tasks that wait for room.

    Attributes:
        held: How many of its tasks have room now.
    """

    execution: Execution
    waiting: deque[int]
    held: int = 0


@dataclass(eq=False, slots=True)
class Pool:
    """Room for tasks of one kind.

    Attributes:
        size: How many at a time.
        full_s: When it was full for the first time.
        held_s: Task-seconds for which room was taken.
        runs_s: Seconds from each task's first line to its end.
    """

    size: int
    lines: list[Line] = field(default_factory=list)
    taken: int = 0
    peak: int = 0
    full_s: float | None = None
    held_s: float = 0.0
    runs_s: list[float] = field(default_factory=list)

    @property
    def full(self) -> bool:
        return self.taken >= self.size

    def next(self) -> Line | None:
        """Whose turn it is: the first in line that may have one more."""
        if self.full:
            return None
        return next((line for line in self.lines if line.waiting), None)


@dataclass(frozen=True, slots=True)
class Chances:
    """What is drawn for a task.

    Attributes:
        start_s: How long it takes to begin.
        lost_after_s: When its instance is taken away, if it is.
    """

    start_s: Callable[[], float]
    lost_after_s: Callable[[], float | None]


class QuotaJobs(SimulatedJobs):
    """A start is refused where there is no room for a single task of it; tasks beyond the room wait their turn.

    Room is taken from a task's turn until it is over, its retries included.
    """

    def __init__(
        self,
        world: World,
        run_task: Callable[[TaskIdentity], object],
        pools: Mapping[Accelerator, Pool],
        chances: Chances,
    ) -> None:
        super().__init__(world, run_task, lambda _request: None)
        self.pools = pools
        self.starts = 0
        self.lost = 0
        self.live: dict[str, Line] = {}
        self._chances = chances
        self.n_tasks = 0
        self._held_s: dict[tuple[str, int], float] = {}
        self._began_s: dict[tuple[str, int], float] = {}

    @property
    @override
    def running(self) -> list[Execution]:
        return [line.execution for line in self.live.values()]

    @override
    def start(self, request: JobRequest) -> str:
        with call(self._world.cut, "jobs.start"):
            self.starts += 1
            if self._pool(request).full:
                self.refusals[NoCapacityError] += 1
                raise NoCapacityError("no room", hint="Wait.")
            return self._begin(request)

    @override
    def _begin(self, request: JobRequest) -> str:
        n_tasks = 1 if request.finalize_only else request.n_tasks
        execution = Execution(f"execution-{len(self.executions) + 1}", request, n_tasks, self._world.now_s)
        self.executions[execution.name] = execution
        line = self.live[execution.name] = Line(execution, deque(range(n_tasks)))
        self._pool(request).lines.append(line)
        self._fill(self._pool(request))
        return execution.name

    @override
    def _attempt(self, execution: Execution, index: int) -> None:
        before = set(execution.attempts)
        self._began_s.setdefault((execution.name, index), self._world.now_s)
        super()._attempt(execution, index)
        lost_after_s = self._chances.lost_after_s()
        for process in execution.attempts.keys() - before:
            if lost_after_s is not None:
                self.lost += 1
                self._world.after(lost_after_s, lambda process=process: self._world.kill(process))  # type: ignore[misc]

    @override
    def _succeed(self, execution: Execution, index: int) -> None:
        self._release(execution, index)
        super()._succeed(execution, index)

    @override
    def _over(self, execution: Execution, state: ExecutionState) -> None:
        super()._over(execution, state)
        line = self.live.pop(execution.name, None)
        if line is not None:
            self._pool(execution.request).lines.remove(line)
            for index in range(execution.unfinished + len(execution.done)):
                self._release(execution, index)
            self._fill(self._pool(execution.request))

    def _pool(self, request: JobRequest) -> Pool:
        return self.pools[request.accelerator]

    def _fill(self, pool: Pool) -> None:
        while (line := pool.next()) is not None:
            index = line.waiting.popleft()
            line.held += 1
            self.n_tasks += 1
            pool.taken += 1
            pool.peak = max(pool.peak, pool.taken)
            if pool.full and pool.full_s is None:
                pool.full_s = self._world.now_s
            self._held_s[line.execution.name, index] = self._world.now_s
            self._world.after(
                self._chances.start_s(),
                lambda execution=line.execution, index=index: self._attempt(execution, index),  # type: ignore[misc]
            )

    def _release(self, execution: Execution, index: int) -> None:
        key = (execution.name, index)
        since_s = self._held_s.pop(key, None)
        if since_s is None:
            return
        pool = self._pool(execution.request)
        pool.taken -= 1
        pool.held_s += self._world.now_s - since_s
        began_s = self._began_s.pop(key, None)
        if began_s is not None:
            pool.runs_s.append(self._world.now_s - began_s)
        line = self.live.get(execution.name)
        if line is not None:
            line.held -= 1
        self._fill(pool)
