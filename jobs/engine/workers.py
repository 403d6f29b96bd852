"""Splits cells among threads, where each thread computes the same for its cells as one thread would."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from jobs.engine.device import one_thread

_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True)
class Workers:
    """Threads for a while.

    Attributes:
        n_threads: How many they are.
    """

    n_threads: int
    _pool: ThreadPoolExecutor | None

    def shares(self, n: int, most: int, multiple: int) -> list[slice]:
        """Consecutive parts of n cells, at least one: one for each thread if possible, of at most ``most`` cells.

        Args:
            multiple: What the first cell of a part is a multiple of; a divisor of ``most``.
        """
        each = min(most, -(-n // (self.n_threads * multiple)) * multiple)
        return [slice(start, min(start + each, n)) for start in range(0, max(n, 1), max(each, 1))]

    def each(self, function: Callable[[slice], _Found], shares: list[slice]) -> Iterator[_Found]:
        """The function's results, in order."""
        return map(function, shares) if self._pool is None else self._pool.map(function, shares)


@contextmanager
def workers(n_threads: int) -> Iterator[Workers]:
    """Start some threads. Meanwhile, torch uses one thread in each of them.

    One at a time in a process: torch's number of threads is the process's.

    Torch's own threads would synchronise at each of many small operations: with two of them, and other programs on both
    cores, the search for neighbours took six times as long as with one (2026-12-01).
    """
    if n_threads == 1:
        yield Workers(1, None)
        return
    with one_thread(), ThreadPoolExecutor(n_threads) as pool:
        yield Workers(n_threads, pool)
