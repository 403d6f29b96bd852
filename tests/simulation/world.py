"""A world with a time of its own: processes take turns at every port call, in an order that one seed decides."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeAlias

from greenlet import getcurrent, greenlet

from tests.fakes.clock import START

Ended: TypeAlias = Callable[[Exception | None], None]
"""Told how a process ended: with the error that it raised, or None; a killed one raised ``Gone``."""

FASTEST_CALL_S, SLOWEST_CALL_S = 0.002, 0.05


class Killed(BaseException):
    """Unwinds a process that was killed; nothing that it does on the way takes effect."""


class Gone(Exception):  # noqa: N818  # not an error of the code under test
    """What the platform is told of a process that was killed."""


class Role(StrEnum):
    """What a process is."""

    INGEST = "ingest"
    DISPATCH = "dispatch"
    TASK = "task"
    RECONCILE = "reconcile"
    STATUS = "status"


@dataclass(eq=False, slots=True)
class Process:
    """One handler's run, or one attempt of one task.

    Attributes:
        subject: The submission that it works on; empty for a pass over many.
        event: What brought it about: the same at every delivery; empty where nothing is delivered.
        skew_s: How far its machine's clock is off.
        failed_calls: How many of its calls a fault has failed.
    """

    name: str
    role: Role
    subject: str
    skew_s: float
    ended: Ended
    event: str = ""
    failed_calls: int = 0
    thread: greenlet = field(init=False)
    error: Exception | None = None
    killed: bool = False
    over: bool = False


class World:
    """Time, chance, and who runs when. What happened is kept as a trace."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.now_s = 0.0
        self.jumped_s = 0.0
        self.current: Process | None = None
        self.max_skew_s = 0.0
        self.lockstep_s = 0.0
        self.trace: list[tuple[float, str, str]] = []
        self.strike: Callable[[Process, str], None] = lambda _process, _moment: None
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._names: dict[Role, itertools.count[int]] = {role: itertools.count(1) for role in Role}
        self._alive: dict[Process, None] = {}

    # --- For the world itself ---

    def clock(self) -> datetime:
        """The store's time."""
        return START + timedelta(seconds=self.now_s + self.jumped_s)

    def tell(self, what: str) -> None:
        """Add to the trace."""
        self.trace.append((self.now_s, self.current.name if self.current else "", what))

    def after(self, delay_s: float, action: Callable[[], None]) -> None:
        """Do something later, outside of any process."""
        heapq.heappush(self._due, (self.now_s + delay_s, next(self._order), action))

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * self.random.random()

    def spawn(self, role: Role, subject: str, body: Callable[[], object], ended: Ended, event: str = "") -> Process:
        """A new process, which begins at once."""
        skew_s = self.between(-self.max_skew_s, self.max_skew_s) if self.max_skew_s else 0.0
        process = Process(f"{role}-{next(self._names[role])}", role, subject, skew_s, ended, event)
        process.thread = greenlet(lambda: self._live(process, body))
        self._alive[process] = None
        self.after(0.0, lambda: self._resume(process))
        return process

    def kill(self, process: Process) -> None:
        """End a process where it stands, as soon as whoever asked for it has had its turn."""
        self.after(0.0, lambda: self._throw(process))

    def run(self, until_s: float) -> bool:
        """Let the world go on until nothing is due any more, or the time is up; whether it came to rest."""
        while self._due:
            at_s, _, action = heapq.heappop(self._due)
            if at_s > until_s:
                self.now_s = until_s
                heapq.heappush(self._due, (at_s, next(self._order), action))
                return False
            self.now_s = at_s
            action()
        return True

    def end(self) -> None:
        """Unwind every process that is left."""
        for process in list(self._alive):
            self._throw(process)
        self._due.clear()

    # --- For processes ---

    def cut(self, moment: str) -> None:
        """The hook of every port: takes time, gives others their turn, and may be where a fault strikes."""
        process = self.current
        if process is None:
            return
        if process.killed:
            raise Killed
        if not moment.endswith(".done"):
            self.trace.append((self.now_s, process.name, moment))
            self.sleep(self._call_s(process, moment))
        self.strike(process, moment)

    def sleep(self, seconds: float) -> None:
        """Have the running process wait."""
        process = self.current
        assert process is not None
        self.after(seconds, lambda: self._resume(process))
        hub = getcurrent().parent
        assert hub is not None
        hub.switch()
        if process.killed:
            raise Killed

    def failed(self) -> None:
        """Note that something the running process did has failed."""
        assert self.current is not None
        self.current.failed_calls += 1

    def die(self) -> None:
        """Have the running process end here, without another word."""
        assert self.current is not None
        self.current.killed = True
        raise Killed

    # --- Below: turns ---

    def _call_s(self, process: Process, moment: str) -> float:
        if self.lockstep_s and process.role is Role.TASK and moment in {"status.transact", "status.replace"}:
            return self.lockstep_s - self.now_s % self.lockstep_s
        return self.between(FASTEST_CALL_S, SLOWEST_CALL_S)

    def _live(self, process: Process, body: Callable[[], object]) -> None:
        try:
            body()
        except Killed:
            process.error = Gone()
        except Exception as error:  # noqa: BLE001  # whatever it is, the platform judges it
            process.error = error

    def _resume(self, process: Process) -> None:
        if not process.over:
            self.current = process
            process.thread.switch()
            self._see_to(process)

    def _throw(self, process: Process) -> None:
        if not process.over:
            process.killed = True
            self.current = process
            process.thread.throw(Killed)
            self._see_to(process)

    def _see_to(self, process: Process) -> None:
        self.current = None
        if process.thread.dead:
            process.over = True
            self._alive.pop(process, None)
            # A process that was killed before its first turn has not come by its own handler.
            error = Gone() if process.killed else process.error
            if error is not None:
                self.trace.append((self.now_s, process.name, f"ended by {type(error).__name__}: {error}"))
            process.ended(error)


def moment_text(moment: tuple[float, str, str]) -> str:
    """One line of a printed trace."""
    at_s, who, what = moment
    return f"{at_s:>12.3f} s  {who:<14}{what}"
