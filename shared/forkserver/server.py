"""The fork server: a process that has libraries loaded, and forks for each request a process that uses them at once.

It has one thread, opens no file of a user and computes nothing, so that a fork of it is a clean start. Libraries that
not every process needs are loaded by another server, which is forked from it: nobody waits for what others need.
"""

from __future__ import annotations

import importlib
import os
import select
import signal
import socket
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NoReturn

from shared.forkserver.wire import CONNECT, FORK, LOAD, pack_end, receive_request, send_request
from shared.lifeline import end_before_others, end_with_parent, name_process

_MOST_DESCRIPTORS = 4096
"""The server has two for each process, and a few."""


def serve(control_fd: int, first: str, idle_s: float) -> None:
    """Serve until the control socket is closed, or until nothing has happened for ``idle_s`` seconds.

    Args:
        first: What is called, as MODULE:FUNCTION, before the first request.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_before_others()
    name_process("celldrop-forks")
    _function(first)()
    _Server(socket.socket(fileno=control_fd), idle_s).run()


class _Server:
    """The requests, the processes that have not ended or whose end nobody has read, and the servers with more loaded.

    A process stays a zombie until whoever asked for it has closed the pipe of its end. Until then its number is not
    given to another process, so it can be signalled without a race.
    """

    def __init__(self, control: socket.socket, idle_s: float) -> None:
        self._main = control
        self._controls = {control.fileno(): control}
        self._idle_s = idle_s
        self._bell, rung = os.pipe()
        for end in (self._bell, rung):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(rung, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        self._alive: dict[int, int] = {}
        self._ended: dict[int, int] = {}
        self._loads: dict[str, dict[str, str]] = {}
        self._others: dict[str, tuple[int, socket.socket]] = {}

    def run(self) -> NoReturn:
        while True:
            ready = self._wait()
            self._see_ends()
            for control in [self._controls[number] for number in ready if number in self._controls]:
                self._answer(control)
            if not ready and not self._alive and not self._others:
                self._leave()

    def _wait(self) -> set[int]:
        waiting = select.poll()
        for number in (self._bell, *self._controls):
            waiting.register(number, select.POLLIN)
        for told in self._ended:
            waiting.register(told, 0)  # An error is told all the same: that the other end was closed.
        ready = {number for number, _ in waiting.poll(self._idle_s * 1000)}
        for told in ready & self._ended.keys():
            os.close(told)
            _reap(self._ended.pop(told))
        return ready

    def _answer(self, control: socket.socket) -> None:
        try:
            request = receive_request(control)
        except (OSError, EOFError):
            request = None
        if request is None:
            if control is self._main:
                self._leave()
            self._controls.pop(control.fileno()).close()
            return
        kind, words, descriptors = request
        if kind == CONNECT:
            (number,) = descriptors
            self._controls[number] = socket.socket(fileno=number)
        elif kind == LOAD:
            entry, variables = words
            self._load(entry, variables)
        elif kind == FORK:
            entry, loaded = words
            self._fork(entry, loaded, descriptors)

    def _fork(self, entry: str, loaded: str, descriptors: Sequence[int]) -> None:
        """Fork a process. Whoever asked for one that cannot be had finds the other ends closed."""
        link, told, *others = descriptors
        kept = False
        with suppress(OSError):
            if loaded in self._loads:
                self._pass_on(entry, descriptors, loaded)
            else:
                server, pid = os.getpid(), os.fork()
                if pid == 0:
                    _become(server, [link, *others], lambda: _function(entry)(link, *others))
                self._alive[pid], kept = told, True
        for number in (link, *others) if kept else descriptors:
            os.close(number)

    def _load(self, entry: str, variables: dict[str, str]) -> None:
        if entry not in self._loads:
            self._loads[entry] = variables
            with suppress(OSError):  # It is tried again when it is needed.
                self._start_other(entry)

    def _start_other(self, entry: str) -> socket.socket:
        """Fork a server that loads what ``entry`` says."""
        ours, theirs = socket.socketpair()
        server, variables, idle_s = os.getpid(), self._loads[entry], self._idle_s

        def run() -> None:
            name_process("celldrop-loaded")
            _call(entry, variables)
            _Server(theirs, idle_s).run()

        with theirs:
            try:
                pid = os.fork()
            except OSError:
                ours.close()
                raise
            if pid == 0:
                _become(server, [theirs.fileno()], run)
        self._others[entry] = pid, ours
        return ours

    def _pass_on(self, entry: str, descriptors: Sequence[int], loaded: str) -> None:
        """Have the server that has loaded what is needed fork; another one, should it have ended."""
        if loaded in self._others:
            with suppress(OSError):
                send_request(self._others[loaded][1], FORK, [entry, ""], descriptors)
                return
        send_request(self._start_other(loaded), FORK, [entry, ""], descriptors)

    def _see_ends(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._bell, 4096)
        for pid in list(self._alive):
            status = _ended(pid)
            if status is None:
                continue
            told = self._alive.pop(pid)
            with suppress(OSError):  # Nobody may care any more.
                os.write(told, pack_end(status))
            self._ended[told] = pid
        for entry, (pid, control) in list(self._others.items()):
            if os.waitpid(pid, os.WNOHANG)[0]:
                control.close()
                del self._others[entry]

    def _leave(self) -> NoReturn:
        for pid, _ in self._others.values():
            os.kill(pid, signal.SIGKILL)  # It has nothing to lose, and might be loading libraries for seconds.
            os.waitpid(pid, 0)
        for pid in self._ended.values():
            _reap(pid)
        os._exit(0)


def _ended(pid: int) -> int | None:
    """How a process ended, which stays a zombie where the system can leave it one; None if it has not ended."""
    if not hasattr(os, "waitid"):
        ended, status = os.waitpid(pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if ended else None
    found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
    if found is None:
        return None
    return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status


def _reap(pid: int) -> None:
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)


def _become(server: int, descriptors: Sequence[int], act: Callable[[], object]) -> NoReturn:
    """Be another process than the server: only its own descriptors are open, and no signal is handled any more.

    SIGINT stays ignored: the terminal sends it to the group of whoever asked, who decides what becomes of the process.
    """
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        _close_all_but(descriptors)
        end_with_parent(server)
        act()
        status = 0
    except Exception:  # noqa: BLE001  # as the interpreter would
        traceback.print_exc()
    finally:
        os._exit(status)


def _close_all_but(descriptors: Sequence[int]) -> None:
    before = 2
    for number in sorted(descriptors):
        os.closerange(before + 1, number)
        before = number
    os.closerange(before + 1, _MOST_DESCRIPTORS)


def _call(entry: str, *arguments: object) -> None:
    """Call a function whose failure would be told by the process that needs it: there, its libraries load anew."""
    with suppress(Exception):
        _function(entry)(*arguments)


def _function(entry: str) -> Callable[..., object]:
    module, _, name = entry.partition(":")
    function: Callable[..., object] = getattr(importlib.import_module(module), name)
    return function
