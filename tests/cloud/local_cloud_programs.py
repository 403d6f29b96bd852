"""The programs of the local cloud: started in a process group of their own, waited for, and gone when their user is."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

GUARD = Path(__file__).with_name("local_cloud_guard.py")
TIMEOUT_S = 60.0
GRACE_S = 10.0
LOOKING_AGAIN_S = 0.02
LOG_TAIL_CHARS = 2000


class ProgramFailedError(RuntimeError):
    """A program that ended, or was not ready in time, with the end of what it said."""


class Program:
    """A running command; use it as a context, or call ``stop``.

    Args:
        log: Takes all its output.
        env: Its whole environment; this process's own where None.
    """

    def __init__(self, name: str, argv: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(GUARD), *argv],
                env=None if env is None else dict(env),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,
            )

    @property
    def pid(self) -> int:
        """The leader of its process group."""
        return self._process.pid

    def wait_until(self, ready: Callable[[], bool], timeout_s: float = TIMEOUT_S) -> None:
        """Return once it is ready.

        Raises:
            ProgramFailedError: It ended, or was not ready in time.
        """
        last_s = time.monotonic() + timeout_s
        while not ready():
            # Waiting for its end is the pause between two looks.
            with suppress(subprocess.TimeoutExpired):
                status = self._process.wait(LOOKING_AGAIN_S)
                raise ProgramFailedError(f"{self.name} ended with status {status}:\n{self._last_words()}")
            if time.monotonic() > last_s:
                raise ProgramFailedError(f"{self.name} is not ready after {timeout_s:g} s:\n{self._last_words()}")

    def ask_to_end(self) -> None:
        """Say that it is to end, and do not wait."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)

    def stop(self) -> None:
        """Ask its group to end, then end it; nothing of it is left when this returns."""
        self.ask_to_end()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE_S)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _last_words(self) -> str:
        return self.log.read_text(errors="replace")[-LOG_TAIL_CHARS:]


def free_port() -> int:
    """A port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> Callable[[], bool]:
    """Whether somebody accepts connections on a port of this machine."""

    def look() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    return look
