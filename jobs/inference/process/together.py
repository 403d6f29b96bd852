"""Two things at once, of which neither goes on when the other has failed."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from threading import Event, Lock
from typing import TypeVar

One = TypeVar("One")
Other = TypeVar("Other")
Made = TypeVar("Made")


class _StoppedError(Exception):
    """Said to whoever is to stop because of another's error."""


class Together:
    """Work of several threads that all show by the same beat that they live.

    Args:
        beat: May raise, which ends everything; never called by two threads at once.
    """

    def __init__(self, beat: Callable[[], None]) -> None:
        self._shown = beat
        self._lock = Lock()
        self._failed = Event()

    def beat(self) -> None:
        """Show that this thread lives; the place where it stops when another has failed."""
        with self._lock:
            if self._failed.is_set():
                raise _StoppedError
            self._shown()

    def both(self, pool: Executor, one: Callable[[], One], other: Callable[[], Other]) -> tuple[One, Other]:
        """What both make: the one by a thread of the pool, the other by this one.

        Raises:
            What either raised; where both did by themselves, what this thread's did. Who leaves the pool waits for
            what is still running, to its next beat.
        """
        beside = pool.submit(self._or_stop, one)
        try:
            made = self._or_stop(other)
        except _StoppedError:
            beside.result()  # It is why this one stopped.
            raise
        return beside.result(), made

    def _or_stop(self, act: Callable[[], Made]) -> Made:
        try:
            return act()
        except BaseException:
            self._failed.set()
            raise
