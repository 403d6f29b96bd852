"""The connections of the embedded server: a bounded number, of which those that ask for nothing make room."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

MAX_CONNECTIONS = 64
"""At a time, each with a thread: a page and a few programs that wait take a dozen."""


class Connections:
    """Who is connected, and who of them has not asked for anything yet. Safe for any number of threads."""

    def __init__(self, most: int = MAX_CONNECTIONS) -> None:
        self._most = most
        self._waiting: dict[socket.socket, None] = {}
        self._asking: set[socket.socket] = set()
        self._lock = threading.Lock()

    def admit(self, connection: socket.socket) -> bool:
        """Let one in, if need be in place of the one that has been silent for longest; False where all are answered."""
        with self._lock:
            if len(self._waiting) + len(self._asking) >= self._most:
                if not self._waiting:
                    return False
                self._end_oldest()
            self._waiting[connection] = None
            return True

    def asks(self, connection: socket.socket) -> None:
        """Its request is here, whole: it is not ended any more."""
        with self._lock:
            if connection in self._waiting:
                del self._waiting[connection]
                self._asking.add(connection)

    def leave(self, connection: socket.socket) -> None:
        """It is over."""
        with self._lock:
            self._waiting.pop(connection, None)
            self._asking.discard(connection)

    def _end_oldest(self) -> None:
        oldest = next(iter(self._waiting))
        del self._waiting[oldest]
        with suppress(OSError):  # It has gone by itself.
            oldest.shutdown(socket.SHUT_RDWR)  # Wakes the thread that reads it.
