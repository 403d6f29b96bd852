"""The fork server of this process, as seen by those who want processes from it."""

from __future__ import annotations

import atexit
import json
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from shared.forkserver.wire import CONNECT, FORK, LOAD, send_request, unpack_end

IDLE_S = 600.0
"""The server ends after so long without a request or a process. The next request starts another."""
_LEAVE_S = 0.5
"""Time for a server to end its other servers. What they have used counts as used by this process's children then."""
_KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LANG", "LC_ALL", "LC_CTYPE", "SYSTEMROOT")
_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from shared.forkserver.server import serve; serve(int(sys.argv[2]), sys.argv[3], float(sys.argv[4]))"
)
_VARIABLES = {"HDF5_PLUGIN_PRELOAD": "::", "OPENBLAS_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"}
"""What libraries read when loaded: HDF5 loads no plugins but ours, BLAS starts no threads, Arrow has no pool."""


@dataclass(frozen=True, slots=True)
class Child:
    """A process that the server forked, or is about to fork.

    Attributes:
        link: A socket whose other end the process has.
        end: A pipe from which its end can be read. Until it is closed, the process stays a zombie.
    """

    link: socket.socket
    end: int

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.link.close()
        os.close(self.end)

    def status(self, timeout_s: float | None = None) -> int | None:
        """Its exit status, or minus the signal that ended it; None if the server is gone, and so the process, too.

        Raises:
            TimeoutError: It has not ended in time.
        """
        waiting = select.poll()
        waiting.register(self.end, select.POLLIN)
        if not waiting.poll(None if timeout_s is None else timeout_s * 1000):
            raise TimeoutError
        return unpack_end(os.read(self.end, 64))


@dataclass(slots=True)
class ForkServer:
    """The fork server of this process, started when first used. A fork of this process starts one of its own.

    Attributes:
        first: What the server calls, as MODULE:FUNCTION, before it forks: it loads what most processes need.
    """

    first: str
    _control: socket.socket | None = None
    _process: subprocess.Popen[bytes] | None = None
    _owner: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _loads: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)

    def start(self) -> None:
        """Start the server unless it runs. Does not wait for it."""
        with self._lock:
            self._running()

    def load(self, entry: str, variables: Mapping[str, str]) -> None:
        """Have another server made, from which processes are forked after it has called ``entry`` with ``variables``.

        Once, however often it is asked for. Does not wait.
        """
        with self._lock:
            if (entry, variables) not in self._loads:
                self._loads.append((entry, variables))
                self._send(LOAD, [entry, dict(variables)])

    def fork(self, entry: str, *descriptors: int, loaded: str = "") -> Child:
        """Ask for a process that calls ``entry`` with the number of its end of the link, then those of ``descriptors``.

        Args:
            loaded: The ``entry`` of the server to fork from; empty for the first.

        Raises:
            OSError: The server cannot be started.
        """
        ours, theirs = socket.socketpair()
        end, told = os.pipe()
        child = Child(ours, end)
        try:
            with theirs, self._lock:
                self._send(FORK, [entry, loaded], theirs.fileno(), told, *descriptors)
        except BaseException:
            child.__exit__()
            raise
        finally:
            os.close(told)
        return child

    def share(self) -> socket.socket:
        """A control socket for a process that is to ask this server, too (``adopt``).

        Raises:
            OSError: The server cannot be started.
        """
        ours, theirs = socket.socketpair()
        try:
            with theirs, self._lock:
                self._send(CONNECT, [], theirs.fileno())
        except BaseException:
            ours.close()
            raise
        return ours

    def adopt(self, control: socket.socket) -> None:
        """Ask another process's server from now on. It is not this process's to stop."""
        self._control, self._process, self._owner = control, None, os.getpid()
        self._loads = []

    def stop(self) -> None:
        """End the server, and the processes that it forked, unless it is another process's."""
        with self._lock:
            if self._owner == os.getpid():
                self._stop()

    def _send(self, kind: bytes, words: list[object], *descriptors: int) -> None:
        """Send a request; again to a new server, should this one have ended."""
        try:
            send_request(self._running(), kind, words, descriptors)
        except ConnectionError:
            self._stop()
            send_request(self._running(), kind, words, descriptors)

    def _running(self) -> socket.socket:
        if self._control is None or self._owner != os.getpid():
            self._start()
        assert self._control is not None
        return self._control

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        path = json.dumps([entry or os.getcwd() for entry in sys.path])  # noqa: PTH109  # as sys.path itself would
        kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        try:
            with theirs:
                self._process = subprocess.Popen(  # noqa: S603  # our own interpreter and module
                    [sys.executable, "-I", "-c", _BOOT, path, str(theirs.fileno()), self.first, str(IDLE_S)],
                    pass_fds=[theirs.fileno()],
                    env={**kept, **_VARIABLES},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                )
        except OSError:
            ours.close()
            raise
        self._control, self._owner = ours, os.getpid()
        for entry, variables in self._loads:
            send_request(ours, LOAD, [entry, dict(variables)])
        atexit.register(self.stop)

    def _stop(self) -> None:
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            try:
                self._process.wait(_LEAVE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._control = self._process = None


SERVER = ForkServer("shared.h5ad.inspect.sandbox:prepare")
"""The fork server of this process. Inspections come first, as nothing else is done before one."""
