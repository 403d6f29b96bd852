"""The embedded bus of one process: outcome events go to a file that all processes share, jobs to whoever dispatches."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from typing_extensions import override

from shared.adapters.local.bus import Handler, InProcessBus, Ready, always
from shared.domain.errors import UnavailableError
from shared.domain.submission import Topic
from shared.ports.events import Message

_LOOK_BACK = 1 << 16
_RECENT_BYTES = 1 << 20
"""Where a line is looked for that comes again: some thousand events. Who was killed between it and its record was the
last to write, or nearly."""


class EmbeddedBus(InProcessBus):
    """An in-process bus whose events outlive the process, and which takes no job that nobody here would start.

    Args:
        events: One line of CloudEvents JSON for each outcome, appended by every process of this home.
    """

    def __init__(self, events: Path) -> None:
        super().__init__()
        self._events = events
        self._dispatches = False

    @override
    def subscribe(self, topic: Topic, handler: Handler, ready: Ready = always) -> None:
        self._dispatches = self._dispatches or topic is Topic.JOBS
        super().subscribe(topic, handler, ready)

    @override
    def takes(self, topic: Topic) -> bool:
        return self._dispatches or topic is not Topic.JOBS

    @override
    def publish(self, topic: Topic, message: Message) -> None:
        """Return once the message is in the log, or queued here; an event that is there is not written a second time.

        Raises:
            UnavailableError: A job, in a process that dispatches none (a task): it stays owed, and the one that does
                finds it.
        """
        if topic is Topic.EVENTS:
            self._append(message)
        elif not self._dispatches:
            raise UnavailableError("this process starts no jobs", expected="one that dispatches to pay this entry")
        else:
            super().publish(topic, message)

    def _append(self, message: Message) -> None:
        try:
            append_once(self._events, message.data.replace(b"\n", b" "))
        except OSError as error:
            raise UnavailableError(
                f"the event log cannot be written: {error.strerror}", where=str(self._events)
            ) from error


def append_once(path: Path, line: bytes) -> None:
    """Add a whole line to a file that other processes append to, or nothing; nothing where it is among the last.

    Part of a line, as a full disk or a kill leaves it, is taken away, now or by whoever appends next: what was not
    written whole is still owed.

    Raises:
        OSError: There is no room, or no folder.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        end = _end_of_lines(descriptor)
        os.ftruncate(descriptor, end)
        if _is_there(descriptor, end, line):
            return
        if os.pwrite(descriptor, line + b"\n", end) <= len(line):
            os.ftruncate(descriptor, end)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        os.close(descriptor)


def _is_there(descriptor: int, end: int, line: bytes) -> bool:
    start = max(0, end - _RECENT_BYTES)
    return b"\n" + line + b"\n" in (b"" if start else b"\n") + os.pread(descriptor, end - start, start)


def _end_of_lines(descriptor: int) -> int:
    """Where the last whole line ends."""
    end = os.fstat(descriptor).st_size
    while end:
        start = max(0, end - _LOOK_BACK)
        newline = os.pread(descriptor, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
