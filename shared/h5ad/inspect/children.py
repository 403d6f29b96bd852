"""The warm server of inspecting children, seen from the process that wants them."""

from __future__ import annotations

import atexit
import json
import os
import select
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from typing import Self

from shared.domain.errors import UnavailableError
from shared.h5ad.inspect.wire import Kind, receive, unpack_end

_KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LANG", "LC_ALL", "SYSTEMROOT")
_STARTS = 3
_START_S = 60.0
_END_S = 10.0
"""How long to wait for word of how a child ended that is known to have done so."""
_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "import shared.h5ad.inspect.sandbox as sandbox; sandbox.serve(int(sys.argv[2]))"
)


@dataclass(frozen=True, slots=True)
class Child:
    """A child that waits for an order.

    Attributes:
        end: How it ended can be read here, once it has.
    """

    link: socket.socket
    end: int

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.link.close()
        os.close(self.end)

    def status(self) -> int | None:
        """Its exit status, 0 while it lives, or minus the signal that ended it; None where its server is gone."""
        if not select.select([self.end], [], [], _END_S)[0]:
            return 0
        return unpack_end(os.read(self.end, 64))


@dataclass(slots=True)
class Sandbox:
    """The warm server of this process; a fork of this process starts one of its own."""

    _control: socket.socket | None = None
    _process: subprocess.Popen[bytes] | None = None
    _owner: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def connect(self) -> Child:
        """A child that has said hello.

        Raises:
            UnavailableError: None could be started.
        """
        for _ in range(_STARTS):
            ours, theirs = socket.socketpair()
            end, told = os.pipe()
            child = Child(ours, end)
            ours.settimeout(_START_S)
            try:
                with theirs:
                    self._pass(theirs.fileno(), told)
                if receive(ours)[0] is Kind.HELLO:
                    return child
            except (OSError, EOFError):
                child.__exit__()
                self.stop()
        raise UnavailableError("the inspecting process cannot be started", hint="Look for its traceback in the log.")

    def start(self) -> None:
        """Have the server started, unless it was."""
        with self._lock:
            self._running()

    def _pass(self, theirs: int, told: int) -> None:
        try:
            with self._lock:
                socket.send_fds(self._running(), [b"."], [theirs, told])
        finally:
            os.close(told)

    def _running(self) -> socket.socket:
        if self._control is None or self._owner != os.getpid():
            self._start()
        assert self._control is not None
        return self._control

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        path = json.dumps([entry or os.getcwd() for entry in sys.path])  # noqa: PTH109  # as sys.path itself would
        kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603  # our own interpreter and module
                [sys.executable, "-I", "-c", _BOOT, path, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={**kept, "HDF5_PLUGIN_PRELOAD": "::", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        self._control, self._owner = ours, os.getpid()
        atexit.register(self.stop)

    def stop(self) -> None:
        """End the server; the next connection starts another."""
        with self._lock:
            if self._owner == os.getpid():
                self._stop()

    def _stop(self) -> None:
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            self._process.wait()
        self._control = self._process = None


SANDBOX = Sandbox()
