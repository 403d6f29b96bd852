"""Programs that run in forked processes, with their own group, environment, input and output, as after ``Popen``."""

from __future__ import annotations

import importlib
import os
import signal
import socket
import struct
import sys
import tempfile
import threading
import time
import traceback
from contextlib import suppress
from typing import NoReturn

from shared.forkserver.client import SERVER, Child, ForkServer
from shared.forkserver.wire import Program, receive_exactly, receive_message, send_message
from shared.lifeline import leave, name_process

_PID = struct.Struct("<q")
_GO = b"."
_RUN = f"{__name__}:run"


class ForkedProgram:
    """A program in a forked process, as the process that asked for it sees it.

    Args:
        standard: The descriptors of its input, its output and its errors.
        loaded: As in ``ForkServer.fork``.
    """

    def __init__(self, server: ForkServer, program: Program, standard: tuple[int, int, int], loaded: str = "") -> None:
        with server.share() as control:
            self._child: Child = server.fork(_RUN, *standard, control.fileno(), loaded=loaded)
        self._program = program
        self._guard = threading.Lock()
        self._pid: int | None = None
        self._status: int | None = None

    def begin(self) -> None:
        """Let it run, once the server has forked it. What hinders that, its end tells."""
        with suppress(OSError, EOFError):
            send_message(self._child.link, self._program.packed())
            (pid,) = _PID.unpack(receive_exactly(self._child.link, _PID.size))
            with self._guard:
                if self._status is None:
                    self._child.link.sendall(_GO)
                    self._pid = pid

    def wait(self, timeout_s: float | None = None) -> int:
        """Wait for its end. Returns its exit status, or minus the signal that ended it.

        One that was stopped before it began has ended, though its server may not have come to fork it yet.

        Raises:
            TimeoutError: It has not ended in time.
        """
        if self._status is None:
            status = self._child.status(timeout_s)
            with self._guard:
                self._status = -signal.SIGKILL if status is None else status
                if status is None:
                    self._pid = None  # The number may be another process's now.
        return self._status

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it and, if it has a group of its own, to all that it started.

        If it has not begun, it ends without beginning.
        """
        with self._guard:
            if self._pid is None:
                self._status = self._status if self._status is not None else -number
                with suppress(OSError):
                    self._child.link.shutdown(socket.SHUT_RDWR)
                return
            with suppress(ProcessLookupError, PermissionError):
                (os.kill if self._program.group else os.killpg)(self._pid, number)

    def close(self) -> None:
        """Forget it. Its number is free then, so it must not be signalled any more."""
        self._child.__exit__()


def run(link_fd: int, stdin: int, stdout: int, stderr: int, control_fd: int) -> NoReturn:
    """Run a program in this process, which the fork server has just forked."""
    link = socket.socket(fileno=link_fd)
    for standard, number in enumerate((stdin, stdout, stderr)):
        os.dup2(number, standard)
        os.close(number)
    try:
        program = Program.unpacked(receive_message(link))
        os.setpgid(0, program.group)
        name_process(program.argv[0])
        link.sendall(_PID.pack(os.getpid()))
        receive_exactly(link, len(_GO))
    except (OSError, EOFError):
        os._exit(1)
    link.close()
    SERVER.adopt(socket.socket(fileno=control_fd))
    leave(_status(program))


def _status(program: Program) -> int:
    """Run the program in what it takes for a fresh interpreter. Returns its exit status."""
    os.environ.clear()
    os.environ.update(program.env)
    time.tzset()
    tempfile.tempdir = None
    sys.argv[:] = program.argv
    module, _, name = program.function.partition(":")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        os.chdir(program.folder)
        ended = getattr(importlib.import_module(module), name)()
    except SystemExit as left:
        ended = left.code
    except BaseException:  # noqa: BLE001  # as the interpreter would
        traceback.print_exc()
        return 1
    if isinstance(ended, str):
        sys.stderr.write(f"{ended}\n")
        return 1
    return int(ended or 0)
