"""One attempt of one task: a process group that can be stopped as a whole, and that dies with its parent."""

from __future__ import annotations

import signal
import threading
from collections.abc import Mapping
from pathlib import Path

from shared.adapters.local.crash_logs import crash_of
from shared.adapters.local.starting import Running, Starter

GRACE_S = 5.0
"""Time between SIGTERM and SIGKILL. A kill does no harm, as a task needs no cleanup."""


class Attempt:
    """A process in its own group. Its output goes to a file; its input is a pipe that the parent holds.

    Attributes:
        crash: How and where it crashed, once it has run; empty if it did not crash, or was killed.
    """

    def __init__(self, starter: Starter, env: Mapping[str, str], log: Path) -> None:
        self._starter = starter
        self._env = env
        self.log = log
        self._guard = threading.Lock()
        self._process: Running | None = None
        self._stopped = False
        self._late = False
        self.crash = ""

    def run(self, timeout_s: float) -> str:
        """Run the process to its end, and end its whole group. Returns the problem; empty after a success."""
        try:
            process = self._started()
        except OSError as error:
            return f"it could not be started: {error}"
        if process is None:
            return "it was stopped before it began"
        timer = threading.Timer(timeout_s, self._expire)
        timer.daemon = True
        timer.start()
        try:
            status = process.wait()
        finally:
            timer.cancel()
            self._leave(process)
        if self._late:
            return f"it ran longer than its limit of {timeout_s:g} s"
        self.crash = "" if self._stopped else crash_of(status, self.log)
        return _problem(status)

    def stop(self) -> None:
        """Stop it: SIGTERM first, SIGKILL later. A process that has not started will not start."""
        with self._guard:
            self._stopped = True
            self._signal(signal.SIGTERM)
        killer = threading.Timer(GRACE_S, self.kill)
        killer.daemon = True
        killer.start()

    def kill(self) -> None:
        """Kill it at once."""
        with self._guard:
            self._stopped = True
            self._signal(signal.SIGKILL)

    def _started(self) -> Running | None:
        with self._guard:
            if self._stopped:
                return None
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with self.log.open("wb") as log:
                self._process = self._starter.start(self._env, log)
            return self._process

    def _expire(self) -> None:
        self._late = True
        self.stop()

    def _leave(self, process: Running) -> None:
        with self._guard:
            # Processes that the task started are in its group, and must not outlive it.
            self._signal(signal.SIGKILL)
            self._process = None
            process.close()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.signal_group(number)


def _problem(status: int) -> str:
    if status == 0:
        return ""
    if status == -signal.SIGKILL:
        return "it was killed by signal 9 (SIGKILL), most likely because memory ran out"
    if status < 0:
        return f"it was ended by signal {-status} ({signal.Signals(-status).name})"
    return f"it ended with exit status {status}"
