"""The memory of this process: what it has needed, and what it can do without."""

from __future__ import annotations

import atexit
import ctypes
import gc
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

from shared.domain.errors import InputTooLargeError
from shared.h5ad.inspect.capacity import memory_bytes
from shared.lifeline import end_before_others

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
"""As in malloc.h."""
_LARGE_BYTES = 2**20
_KEPT_BYTES = 8 * 2**20
_SHARE = 0.7
"""Of this machine's memory, for all tasks at once; the rest is for inspections and whatever else runs here."""
_WELL_NEEDED_BYTES = 2 * 2**30
"""Several times what a task takes (docs/explanation/scale.md)."""


def peak_rss_bytes() -> int:
    """The largest resident memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB, macOS in bytes.


def begin_process() -> None:
    """Settle how a program that loads torch uses memory; for the first line of its entry point, ``leave`` for its last.

    - Threads to come share one heap, which glibc alone knows how to do: what one thread fetches another frees, and with
      a heap for each, as is usual, the same work held 20 MB more after some seconds, at no gain in time (2026-11).
    - What is large goes back to the system when it is freed. By itself, glibc learns from a stream of batches to keep
      such memory for the next, in a heap full of holes: 7 MB more over a million cells, for a fortieth of the time.
    """
    with suppress(AttributeError, OSError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_ARENA_MAX, 1)
        libc.mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)
        libc.mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)


def leave(status: int) -> NoReturn:
    """End the process as it is: taking one apart that has loaded torch costs up to half a second.

    What was registered for the end is done, and what was printed is out; threads are not waited for.
    """
    atexit._run_exitfuncs()  # noqa: SLF001  # what the interpreter calls; there is no public name
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def bound_memory(most_mib: int, at_once: int) -> None:
    """Bound what this process may take, and have the kernel end it before others where memory runs out all the same.

    Beyond the bound an allocation fails, here and nowhere else. What is counted are pages of its own that it can write
    to, as Linux does; elsewhere there is no such bound.

    Args:
        most_mib: The bound; 0: a share of this machine's memory, or of the container's.
        at_once: How many such processes share it.
    """
    share_bytes = int(_SHARE * memory_bytes())
    usual_bytes = min(share_bytes, max(share_bytes // at_once, _WELL_NEEDED_BYTES))
    with suppress(OSError, ValueError):
        most_bytes = most_mib * 2**20 or usual_bytes
        resource.setrlimit(resource.RLIMIT_DATA, (most_bytes, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    end_before_others()


@contextmanager
def within_memory() -> Iterator[None]:
    """What fails for want of memory fails for the bound, where there is one: every attempt has the same.

    Raises:
        InputTooLargeError: More was needed.
    """
    try:
        yield
    except MemoryError as error:
        most_bytes = resource.getrlimit(resource.RLIMIT_DATA)[0]
        if most_bytes == resource.RLIM_INFINITY:
            raise
        raise InputTooLargeError(
            "a task needs more memory than it may take",
            expected=f"at most {most_bytes // 2**20:,} MiB",
            hint="Raise CELLDROP_TASK_MEMORY_MIB where this machine has more; or write the file anew with "
            "adata.write_h5ad(), whose chunks are small.",
        ) from error


@contextmanager
def loading() -> Iterator[None]:
    """Load libraries that stay, without looking for garbage among them then or later: a thirtieth of a task.

    NumPy's BLAS would start a thread a core as it is loaded; nothing here has work for it, and torch has its own.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
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
