"""The memory of this process: what it has needed, and what it can do without."""

from __future__ import annotations

import ctypes
import gc
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_ARENA_MAX = -8
"""As in malloc.h."""


def peak_rss_bytes() -> int:
    """The largest resident memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB, macOS in bytes.


def share_heap() -> None:
    """Have all threads to come share one heap; for the first line of a program, and glibc alone knows how.

    What one thread fetches another frees: with a heap for each, as is usual, the same work held 20 MB more after some
    seconds, at no gain in time (2026-11).
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)


@contextmanager
def loading() -> Iterator[None]:
    """Load libraries that stay: without looking for garbage among them, then or ever after.

    That took a thirtieth of a task, and half a second when its process ended.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def give_back() -> None:
    """Hand freed memory back to the system, where the C library can: loading a model leaves 20 MB of it."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
