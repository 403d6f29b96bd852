"""Runs two functions in parallel. If one fails, the other stops at its next heartbeat."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from threading import Event, Lock
from typing import TypeVar

One = TypeVar("One")
Other = TypeVar("Other")
Made = TypeVar("Made")


class _StoppedError(Exception):
    """Stops a thread because another one failed."""


class Together:
    """Work of several threads with a common heartbeat.

    Args:
        beat: Never called by two threads at once. If it raises, all threads stop.
    """

    def __init__(self, beat: Callable[[], None]) -> None:
        self._shown = beat
        self._lock = Lock()
        self._failed = Event()

    def beat(self) -> None:
        """Give a sign of life. This thread stops here if another one failed."""
        with self._lock:
            if self._failed.is_set():
                raise _StoppedError
            self._shown()

    def both(self, pool: Executor, one: Callable[[], One], other: Callable[[], Other]) -> tuple[One, Other]:
        """Run ``one`` in a thread of the pool and ``other`` in this thread. Returns both results.

        Raises the error of either, or that of this thread if both failed on their own. Closing the pool waits for the
        other thread, at most until its next beat.
        """
        pending = pool.submit(self._or_stop, one)
        try:
            made = self._or_stop(other)
        except _StoppedError:
            pending.result()  # Raises the error because of which this thread stopped.
            raise
        return pending.result(), made

    def _or_stop(self, act: Callable[[], Made]) -> Made:
        try:
            return act()
        except BaseException:
            self._failed.set()
            raise
