"""The fork server: a process that has libraries loaded, and forks for each request a process that uses them at once.

It has one thread, opens no file of a user and computes nothing, so that a fork of it is a clean start.
"""

from __future__ import annotations

import importlib
import os
import select
import signal
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from shared.forkserver.wire import CONNECT, FORK, LOAD, pack_end, receive_request
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
    _call(first)
    _Server(socket.socket(fileno=control_fd), idle_s).run()


class _Server:
    """The requests, and the processes that have not ended or whose end nobody has read.

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
        self._to_load: deque[list[object]] = deque()
        self._known: list[list[object]] = []
        self._has_forked = False

    def run(self) -> NoReturn:
        while True:
            loads = bool(self._has_forked and self._to_load)
            ready = self._wait(0 if loads else self._idle_s)
            self._see_ends()
            for control in [self._controls[number] for number in ready if number in self._controls]:
                self._answer(control)
            if not ready and loads:
                _call(*self._to_load.popleft())
            elif not ready and not self._alive:
                self._leave()

    def _wait(self, timeout_s: float) -> set[int]:
        waiting = select.poll()
        for number in (self._bell, *self._controls):
            waiting.register(number, select.POLLIN)
        for told in self._ended:
            waiting.register(told, 0)  # An error is told all the same: that the other end was closed.
        ready = {number for number, _ in waiting.poll(timeout_s * 1000)}
        for told in ready & self._ended.keys():
            os.close(told)
            os.waitpid(self._ended.pop(told), 0)
        return ready

    def _answer(self, control: socket.socket) -> None:
        try:
            request = receive_request(control)
        except OSError:
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
        elif kind == LOAD and words not in self._known:
            self._known.append(words)
            self._to_load.append(words)
        elif kind == FORK:
            entry, after = words
            while after in [load[0] for load in self._to_load]:
                _call(*self._to_load.popleft())
            self._fork(str(entry), descriptors)

    def _fork(self, entry: str, descriptors: list[int]) -> None:
        link, told, *others = descriptors
        self._has_forked = True
        server = os.getpid()
        pid = os.fork()
        if pid == 0:
            _become(entry, [link, *others], server)
        for number in (link, *others):
            os.close(number)
        self._alive[pid] = told

    def _see_ends(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._bell, 4096)
        for pid in list(self._alive):
            ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
            if ended is None:
                continue
            told = self._alive.pop(pid)
            status = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
            with suppress(OSError):  # Nobody may care any more.
                os.write(told, pack_end(status))
            self._ended[told] = pid

    def _leave(self) -> NoReturn:
        for pid in self._ended.values():
            os.waitpid(pid, 0)
        os._exit(0)


def _become(entry: str, descriptors: list[int], server: int) -> NoReturn:
    """Be the process that was asked for: only its own descriptors are open, and no signal is handled any more."""
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _close_all_but(descriptors)
        end_with_parent(server)
        _function(entry)(*descriptors)
        status = 0
    finally:
        os._exit(status)


def _close_all_but(descriptors: list[int]) -> None:
    before = 2
    for number in sorted(descriptors):
        os.closerange(before + 1, number)
        before = number
    os.closerange(before + 1, _MOST_DESCRIPTORS)


def _call(entry: object, *arguments: object) -> None:
    """Call a function whose failure would be told by the process that needs it: there, its libraries load anew."""
    with suppress(Exception):
        _function(str(entry))(*arguments)


def _function(entry: str) -> Callable[..., object]:
    module, _, name = entry.partition(":")
    function: Callable[..., object] = getattr(importlib.import_module(module), name)
    return function
