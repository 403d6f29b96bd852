"""The bus of a local process: outcome events go to a file that all processes share, jobs to the dispatching process."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

from typing_extensions import override

from shared.adapters.local.bus import Handler, InProcessBus, Ready, always
from shared.adapters.local.cards import sync_folder
from shared.adapters.local.locks import lock_within
from shared.domain.errors import UnavailableError
from shared.domain.submission import Topic
from shared.ports.events import Message

_LOCK_TRIES = 20
_LOOK_BACK = 1 << 16
_RECENT_BYTES = 1 << 20
"""How far back duplicates are searched: some thousand events. If a process is killed after writing a line and before
updating the record, that line is among the last."""


class EmbeddedBus(InProcessBus):
    """An in-process bus that writes events to a file, and accepts jobs only if this process dispatches them.

    Args:
        events: The event log: one line of CloudEvents JSON per outcome, appended by every process of this home.
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
        """Publish a message, and return once it is in the log or queued. A logged event is not written again.

        Raises:
            UnavailableError: The message is a job, and this process (a task) dispatches none. The job stays in the
                outbox, where the dispatching process finds it.
        """
        if topic is Topic.EVENTS:
            self._append(message)
        elif not self._dispatches:
            raise UnavailableError("this process starts no jobs", expected="a process that dispatches jobs")
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
    """Append a complete line to a shared file, or nothing; nothing if the line is already among the last ones.

    The line is on the disk when this returns: the event then leaves the outbox, which survives a power failure. An
    incomplete line (from a full disk or a kill) is removed, now or by the next process that appends. Its event is still
    in the outbox. A last line that only lacks its end, as an editor leaves it, is kept.

    Raises:
        OSError: There is no space, or no folder, or another process has held the log's lock for two seconds.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        # Not for ever: the holder may be a stopped process, or a program that ships logs.
        if not lock_within(descriptor, _LOCK_TRIES):
            raise OSError(errno.EAGAIN, "another process holds its lock")
        end = _end_of_lines(descriptor)
        rest = os.pread(descriptor, _RECENT_BYTES, end)
        if _is_event(rest):
            _put(descriptor, b"\n", end + len(rest))
            end += len(rest) + 1
        os.ftruncate(descriptor, end)
        if _is_there(descriptor, end, line):
            os.fsync(descriptor)  # Whoever wrote it may have been killed before.
        else:
            _put(descriptor, line + b"\n", end)
        if not end:
            sync_folder(path.parent)
    finally:
        os.close(descriptor)


def _put(descriptor: int, line: bytes, end: int) -> None:
    try:
        is_whole = os.pwrite(descriptor, line, end) == len(line)
        os.fsync(descriptor)
    except OSError:
        # After a failed flush, the kernel may drop the bytes without another error: they must be written again.
        os.ftruncate(descriptor, end)
        raise
    if not is_whole:
        os.ftruncate(descriptor, end)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _is_event(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _is_there(descriptor: int, end: int, line: bytes) -> bool:
    start = max(0, end - _RECENT_BYTES)
    return b"\n" + line + b"\n" in (b"" if start else b"\n") + os.pread(descriptor, end - start, start)


def _end_of_lines(descriptor: int) -> int:
    """The offset after the last complete line."""
    end = os.fstat(descriptor).st_size
    while end:
        start = max(0, end - _LOOK_BACK)
        newline = os.pread(descriptor, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
