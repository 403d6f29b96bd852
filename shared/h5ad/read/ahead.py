"""Work done ahead of its consumer in threads, in order and within a bound."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Done = TypeVar("Done")


def in_order(function: Callable[[Item], Done], items: Iterable[Item], *, workers: int) -> Iterator[Done]:
    """``map`` with up to ``workers`` calls running and at most one result more waiting.

    Items are drawn in the consumer's thread. When the consumer stops early, calls that run are waited for.
    """
    waiting: deque[Future[Done]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="celldrop-read") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
