"""A home whose processes a test starts, kills and starts again, as its operator would."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import psutil
import pytest

from shared.settings import Settings, load_settings
from shared.wiring.ports import task_variables
from tests.crashes.supervisor import THAT_IS_ALL

T = TypeVar("T")

TIMEOUT_S = 90.0
KILLED = -9


@dataclass(slots=True)
class Home:
    """One home, one file, and the submissions of it that were ordered.

    Attributes:
        folder: Everything lies below it.
        file: What is annotated, again and again, each time under another rerun token.
    """

    folder: Path
    file: Path
    settings: Settings
    orders: list[str] = field(default_factory=list)
    _started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def desk(self) -> Path:
        """Where orders are laid down for the supervisors."""
        return self.folder / "orders"

    @property
    def log(self) -> Path:
        """What all supervisors say."""
        return self.folder / "supervisors.log"

    def order(self, *names: str) -> None:
        for name in names:
            (self.desk / name).touch()
            self.orders.append(name)

    def that_is_all(self) -> None:
        (self.desk / THAT_IS_ALL).touch()

    def start(self, variables: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """A supervisor, who goes on with whatever is there."""
        return self.launch("tests.crashes.supervisor", str(self.file), str(self.desk), variables=variables)

    def launch(self, module: str, *arguments: str, variables: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """A program of this home."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                env={**task_variables(self.settings), **variables},
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )
        self._started.append(process)
        return process

    def run(self, variables: Mapping[str, str]) -> int:
        """A supervisor to its end; the status of that."""
        process = self.start(variables)
        try:
            return process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            pytest.fail(f"it was not over after {TIMEOUT_S:g} s\n{self.said()}")

    def said(self) -> str:
        """The logs of all supervisors and tasks, for whoever has to find out."""
        logs = [self.log, *sorted(self.folder.glob("home/.celldrop/logs/*/*.log"))]
        return "\n".join(f"--- {log.relative_to(self.folder)}\n{log.read_text()}" for log in logs if log.exists())

    def processes(self, module: str = "") -> list[psutil.Process]:
        """Every process that works for this home, or those of them that run a module; the oldest first.

        A forked process works for the home of the process that its server belongs to, and its name is its module's.
        """
        ours = {process for process in psutil.process_iter() if self._is_ours(process)}
        for process in tuple(ours):
            with suppress(psutil.Error):
                ours.update(process.children(recursive=True))
        return sorted((one for one in ours if _runs(one, module)), key=lambda process: process.pid)

    def clear(self) -> None:
        """Leave no process behind."""
        for started in self._started:
            started.kill()
            started.wait()
        left = self.processes()
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left)

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get("CELLDROP_HOME") == str(self.settings.home)
        except psutil.Error:
            return False


def _runs(process: psutil.Process, module: str) -> bool:
    try:
        return not module or module in (process.name(), *process.cmdline())
    except psutil.Error:
        return False


def kill(victim: psutil.Process | subprocess.Popen[bytes]) -> bool:
    """SIGKILL, and wait for the end; False for one that had ended before by itself, as only a task does."""
    try:
        victim.kill()
    except psutil.NoSuchProcess:
        return False
    status = victim.wait(TIMEOUT_S)
    assert isinstance(victim, psutil.Process) or status == KILLED, f"it had ended with status {status}"
    return True


def tell(line: str) -> None:
    """A line for whoever reads the figures (``pytest -s``), or looks for the cause of a failure."""
    sys.stdout.write(f"{line}\n")


def wait_for(what: Callable[[], T], home: Home, timeout_s: float = TIMEOUT_S) -> T:
    """What is asked for, as soon as there is some."""
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        if found := what():
            return found
        time.sleep(0.05)
    pytest.fail(f"it did not happen in {timeout_s:g} s\n{home.said()}")


def make_home(folder: Path, file: Path, orders: Iterable[str] = (), **values: object) -> Home:
    """An empty home with short leases, in which a file of two blocks is two tasks."""
    home = Home(folder, file, load_settings(home=folder / "home", **{**QUICK, **values}))
    home.desk.mkdir(parents=True)
    home.order(*orders)
    return home


QUICK: dict[str, object] = {
    "rows_per_task": 256,
    "dispatch_lease_s": 2,
    "finalize_lease_s": 5,
    "heartbeat_s": 3,
    "backoff_s": 0.1,
    "local_parallel": 2,
}
