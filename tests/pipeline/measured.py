"""A command run to its end, with the time that it took and the memory of the largest process of its session."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

LATE = -int(signal.SIGKILL)
_LOOK_S = 0.05


@dataclass(frozen=True, slots=True)
class Measured:
    """How a command ended.

    Attributes:
        status: ``LATE`` where it was ended for the time that it took.
        cpu_s: Of all its processes that somebody waited for.
        peak_mb: Of the largest process of its session, whether anybody waited for it or not.
    """

    status: int
    wall_s: float
    cpu_s: float
    peak_mb: float
    stdout: str
    stderr: str


_SMALL = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[2:], check=False).returncode
with open(sys.argv[1], "w") as told:
    told.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(status if status >= 0 else 128 - status)
"""
"""Between a large program and the command: a process's peak begins with that of the one that it was forked from."""


def measured(command: Sequence[str], environment: Mapping[str, str], folder: Path, limit_s: float) -> Measured:
    """Run a command, for so long at most; nothing of its session is left."""
    with (
        tempfile.TemporaryFile("w+") as out,
        tempfile.TemporaryFile("w+") as err,
        tempfile.NamedTemporaryFile("r") as peak,
    ):
        began_s = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _SMALL, peak.name, *command],
            env=dict(environment),
            cwd=folder,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        look = _Look(process.pid, began_s + limit_s)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall_s = time.monotonic() - began_s
        look.end()
        for stream in (out, err):
            stream.seek(0)
        peak_mb = max(look.peak_kib, int(peak.read() or 0)) / 1024
        return Measured(process.returncode, wall_s, used.ru_utime + used.ru_stime, peak_mb, out.read(), err.read())


class _Look:
    """Looks at every process of a session until it is told to end, or ends them itself."""

    def __init__(self, session: int, deadline_s: float) -> None:
        self.peak_kib = 0
        self._session = session
        self._deadline_s = deadline_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go_on)
        self._thread.start()

    def end(self) -> None:
        self._over.set()
        self._thread.join()
        self._kill()

    def _go_on(self) -> None:
        while not self._over.wait(_LOOK_S):
            self.peak_kib = max([self.peak_kib, *map(_peak_kib, self._members())])
            if time.monotonic() > self._deadline_s:
                self._kill()

    def _kill(self) -> None:
        for pid in self._members():
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)

    def _members(self) -> Iterator[int]:
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with suppress(OSError):
                    if os.getsid(int(entry.name)) == self._session:
                        yield int(entry.name)


def _peak_kib(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return 0
