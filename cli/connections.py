"""Limits the connections of the embedded server: when it is full, a new one replaces the oldest idle one."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

MAX_CONNECTIONS = 64
"""The most open connections, each with a thread. A page and a few waiting programs use a dozen."""


class Connections:
    """The open connections, and which of them have not sent a request yet. Thread-safe."""

    def __init__(self, most: int = MAX_CONNECTIONS) -> None:
        self._most = most
        self._waiting: dict[socket.socket, None] = {}
        self._asking: set[socket.socket] = set()
        self._lock = threading.Lock()

    def admit(self, connection: socket.socket) -> bool:
        """Accept a connection, closing the oldest idle one if full. False if all are in use."""
        with self._lock:
            if len(self._waiting) + len(self._asking) >= self._most:
                if not self._waiting:
                    return False
                self._end_oldest()
            self._waiting[connection] = None
            return True

    def asks(self, connection: socket.socket) -> None:
        """Mark that the whole request has arrived: the connection is in use and is not closed for another one."""
        with self._lock:
            if connection in self._waiting:
                del self._waiting[connection]
                self._asking.add(connection)

    def leave(self, connection: socket.socket) -> None:
        """Remove a closed connection."""
        with self._lock:
            self._waiting.pop(connection, None)
            self._asking.discard(connection)

    def _end_oldest(self) -> None:
        oldest = next(iter(self._waiting))
        del self._waiting[oldest]
        with suppress(OSError):  # The client has closed it already.
            oldest.shutdown(socket.SHUT_RDWR)  # Wakes the thread that reads it.
