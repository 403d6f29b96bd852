"""The memory of this process: what it has needed, and what it can do without."""

from __future__ import annotations

import atexit
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


def begin_process() -> None:
    """Settle how a program that loads torch uses memory; for the first line of its entry point.

    - Threads to come share one heap, which glibc alone knows how to do: what one thread fetches another frees, and with
      a heap for each, as is usual, the same work held 20 MB more after some seconds, at no gain in time (2026-11).
    - Its end is not spent on looking for garbage: taking a process apart that loaded torch costs half a second.
    """
    atexit.register(gc.freeze)
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)


@contextmanager
def loading() -> Iterator[None]:
    """Load libraries that stay, without looking for garbage among them then or later: a thirtieth of a task."""
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
