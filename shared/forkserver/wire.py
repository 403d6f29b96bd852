"""What goes between a fork server, those who ask it for processes, and the processes that it forks."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_LENGTH = struct.Struct("<I")
_END = struct.Struct("<i")
_LONGEST = 64 * 2**20
_REQUEST = struct.Struct("<cI")
MOST_DESCRIPTORS = 8
_RECEIVED = socket.MSG_WAITALL | getattr(socket, "MSG_CMSG_CLOEXEC", 0)
"""Programs that a forked process starts do not get the descriptors."""
FORK, LOAD, CONNECT = b"F", b"L", b"C"
"""Requests: fork a process; have a server load libraries; serve one more control socket."""


def send_request(
    control: socket.socket, kind: bytes, words: Sequence[object] = (), descriptors: Sequence[int] = ()
) -> None:
    """Send one request. Its descriptors arrive with its first bytes.

    Raises:
        OSError: The server is gone.
    """
    data = json.dumps(words).encode()
    frame = _REQUEST.pack(kind, len(data)) + data
    sent = socket.send_fds(control, [frame], descriptors) if descriptors else control.send(frame)
    control.sendall(frame[sent:])


def receive_request(control: socket.socket) -> tuple[bytes, list[Any], list[int]] | None:
    """The next request: its kind, its words and its descriptors; None after the last one."""
    frame, descriptors, _, _ = socket.recv_fds(control, _REQUEST.size, MOST_DESCRIPTORS, _RECEIVED)
    if len(frame) < _REQUEST.size:
        return None
    kind, length = _REQUEST.unpack(frame)
    return kind, json.loads(receive_exactly(control, length)), descriptors


def send_message(link: socket.socket, data: bytes) -> None:
    """Send one message over a stream."""
    link.sendall(_LENGTH.pack(len(data)) + data)


def receive_message(link: socket.socket) -> bytes:
    """The next message.

    Raises:
        EOFError: The other side is gone.
    """
    (length,) = _LENGTH.unpack(receive_exactly(link, _LENGTH.size))
    if length > _LONGEST:
        raise EOFError
    return receive_exactly(link, length)


def receive_exactly(link: socket.socket, length: int) -> bytes:
    """So many bytes.

    Raises:
        EOFError: The other side is gone.
    """
    data = bytearray(length)
    view = memoryview(data)
    while view:
        count = link.recv_into(view)
        if not count:
            raise EOFError
        view = view[count:]
    return bytes(data)


def pack_end(status: int) -> bytes:
    """How a process ended: its exit status, or minus the signal that ended it."""
    return _END.pack(status)


def unpack_end(data: bytes) -> int | None:
    """The same; None if the server ended first."""
    return int(_END.unpack(data)[0]) if len(data) == _END.size else None


@dataclass(frozen=True, slots=True)
class Program:
    """A program for a forked process, with what a new interpreter would get.

    Attributes:
        function: What to call, as MODULE:FUNCTION. Its return value is the exit status.
        argv: As ``sys.argv``. The first is also the name of the process, of at most 15 letters.
        env: All of its environment.
        folder: Its working folder.
        group: The process group that it joins; 0 for one of its own.
    """

    function: str
    argv: Sequence[str]
    env: Mapping[str, str]
    folder: str
    group: int = 0

    def packed(self) -> bytes:
        """The program as one message."""
        return json.dumps([self.function, list(self.argv), dict(self.env), self.folder, self.group]).encode()

    @classmethod
    def unpacked(cls, data: bytes) -> Program:
        """The program of a message."""
        return cls(*json.loads(data))
