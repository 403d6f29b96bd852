"""Where obedient tasks report to a test and wait for its orders: no polling, no sleeping."""

from __future__ import annotations

import json
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from shared.adapters.local.jobs import SubprocessJobRunner
from shared.adapters.local.starting import Command, Forked, Starter
from shared.forkserver.client import ForkServer
from shared.ports.jobs import ExecutionReport, JobRunner
from tests.contracts.job_contract import Told

TASK = Path(__file__).with_name("obedient_task.py")
SERVER = ForkServer("tests.contracts.obedient_task:nothing")
TIMEOUT_S = 60.0


@dataclass(slots=True)
class Caller:
    """One attempt of a task, waiting."""

    line: socket.socket
    pid: int
    child_pid: int
    env: dict[str, str]

    @property
    def told(self) -> Told:
        return Told(
            self.env["CELLDROP_SUBMISSION_ID"],
            int(self.env["CELLDROP_EPOCH"]),
            self.env["CELLDROP_FINALIZE_ONLY"] == "1",
            self.env["CLOUD_RUN_EXECUTION"],
            int(self.env["CLOUD_RUN_TASK_INDEX"]),
            int(self.env["CLOUD_RUN_TASK_COUNT"]),
            int(self.env["CLOUD_RUN_TASK_ATTEMPT"]),
        )

    def order(self, what: str) -> None:
        """An exit status, or ``die``."""
        with suppress(BrokenPipeError):
            # Stopped in the meantime, as happens to a task whose sibling failed.
            self.line.sendall(what.encode())

    def wait_until_gone(self) -> None:
        """Return when every process that held the line is gone."""
        assert self.line.recv(1) == b""


class TaskDesk:
    def __init__(self, folder: Path) -> None:
        self.address = str(folder / "desk")
        self.callers: list[Caller] = []
        self._door = socket.socket(socket.AF_UNIX)
        self._door.bind(self.address)
        self._door.listen(64)
        self._door.settimeout(TIMEOUT_S)

    def next_caller(self) -> Caller:
        """Wait for the next attempt of any task to begin."""
        line, _ = self._door.accept()
        line.settimeout(TIMEOUT_S)
        with line.makefile("rb") as words:
            heard = json.loads(words.readline())
        caller = Caller(line, heard["pid"], heard["child"], heard["env"])
        self.callers.append(caller)
        return caller

    def close(self) -> None:
        self._door.close()
        for caller in self.callers:
            caller.line.close()


class SubprocessWorld:
    """The job runner of this machine, with tasks that a test plays.

    Args:
        forked: Whether tasks are forked from a server, or else started as commands.
    """

    def __init__(
        self, folder: Path, *, forked: bool = False, max_parallel: int = 4, max_retries: int = 0, **env: str
    ) -> None:
        self.desk = TaskDesk(folder)
        self.log_dir = folder / "logs"
        # Without site-packages a task starts in a few milliseconds.
        command = [sys.executable, *(() if "PYTHONPATH" in env else ("-I", "-S")), str(TASK)]
        env = {"CELLDROP_TEST_DESK": self.desk.address, **env}
        starter: Starter = Command(command)
        if forked:
            starter = Forked(SERVER, "tests.contracts.obedient_task:main", "tests.contracts.obedient_task:nothing", {})
        self.subprocesses = SubprocessJobRunner(starter, env, self.log_dir, max_parallel, max_retries)

    @property
    def runner(self) -> JobRunner:
        return self.subprocesses

    def tasks(self, execution: str) -> list[Told]:
        while True:
            found = sorted((told for told in self._told() if told.execution == execution), key=lambda told: told.index)
            if found and len(found) == found[0].count:
                return found
            self.desk.next_caller()

    def end(self, execution: str, *, well: bool) -> None:
        for caller in self.desk.callers:
            if caller.told.execution == execution:
                caller.order("0" if well else "3")

    def over(self, execution: str) -> ExecutionReport:
        return self.subprocesses.wait(execution, TIMEOUT_S)

    def close(self) -> None:
        self.subprocesses.close()
        self.desk.close()

    def _told(self) -> list[Told]:
        return [caller.told for caller in self.desk.callers]
