"""A network that loses answers: a TCP relay that can keep them back, and break every connection."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_CHUNK = 64 * 1024


class Relay:
    """Passes bytes both ways between its own port and a target's."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._holding = threading.Event()
        self._lock = threading.Lock()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def hold_answers(self) -> None:
        """From now on requests pass and answers do not, until ``cut``."""
        self._holding.set()

    def cut(self) -> None:
        """Break every connection, what was held back with it; new ones pass freely."""
        with self._lock:
            self._holding.clear()
            for end in self._open:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            self._open.clear()

    def run(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            with suppress(OSError):
                self._connect(near)

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _connect(self, near: socket.socket) -> None:
        far = socket.create_connection(self._target)
        with self._lock:
            self._open += [near, far]
        threading.Thread(target=self._pass, args=(near, far, False), daemon=True).start()
        threading.Thread(target=self._pass, args=(far, near, True), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        with suppress(OSError), source:
            while data := source.recv(_CHUNK):
                # What is held back is lost with the connection.
                if not (answers and self._holding.is_set()):
                    sink.sendall(data)
            sink.shutdown(socket.SHUT_RDWR)


@contextmanager
def relay(target: str) -> Iterator[Relay]:
    between = Relay(target)
    thread = threading.Thread(target=between.run)
    thread.start()
    try:
        yield between
    finally:
        between.close()
        thread.join()
