"""The memory of this process: its peak, its limit, and how freed memory is returned to the system."""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from shared.domain.errors import InputTooLargeError
from shared.h5ad.inspect.capacity import memory_bytes
from shared.lifeline import end_before_others

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
"""Parameters of ``mallopt``, from malloc.h."""
_LARGE_BYTES = 2**20
_KEPT_BYTES = 8 * 2**20
_SHARE = 0.7
"""The share of this machine's memory for all tasks together. The rest is for inspections and other programs."""
_WELL_NEEDED_BYTES = 2 * 2**30
"""Several times the memory of a task (docs/explanation/scale.md)."""


def peak_rss_bytes() -> int:
    """The peak resident memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB, macOS in bytes.


def begin_process() -> None:
    """Configure the allocator for a program that loads torch. Call it first in the entry point.

    - All threads share one heap (glibc only), because memory from one thread is freed by another. With glibc's default
      of several heaps, the same work held 20 MB more after some seconds, and was not faster (2026-11).
    - Large blocks are returned to the system when they are freed. By default, glibc adapts to a stream of batches and
      keeps them in a fragmented heap: 7 MB more over a million cells, for 2.5 % less time.
    - Arrow allocates from that heap as well. Its own pool keeps freed memory: 50 MB more for 100,000 cells, and no
      faster (2026-11).
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    with suppress(AttributeError, OSError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_ARENA_MAX, 1)
        libc.mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)
        libc.mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)


def bound_memory(most_mib: int, at_once: int) -> None:
    """Limit this process's memory, and make it the first that the kernel kills if memory runs out all the same.

    Beyond the limit, an allocation in this process fails. The limit counts private writable pages (RLIMIT_DATA), on
    Linux only.

    Args:
        most_mib: The limit; 0 means a share of the memory of this machine or container.
        at_once: The number of processes that share the memory.
    """
    share_bytes = int(_SHARE * memory_bytes())
    usual_bytes = min(share_bytes, max(share_bytes // at_once, _WELL_NEEDED_BYTES))
    with suppress(OSError, ValueError):
        most_bytes = most_mib * 2**20 or usual_bytes
        resource.setrlimit(resource.RLIMIT_DATA, (most_bytes, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    end_before_others()


@contextmanager
def within_memory() -> Iterator[None]:
    """Turn a MemoryError into a permanent error if memory is limited, as every attempt has the same limit.

    Raises:
        InputTooLargeError: The limit was exceeded.
    """
    try:
        yield
    except MemoryError as error:
        most_bytes = resource.getrlimit(resource.RLIMIT_DATA)[0]
        if most_bytes == resource.RLIM_INFINITY:
            raise
        raise InputTooLargeError(
            "a task needs more memory than its limit",
            expected=f"at most {most_bytes // 2**20:,} MiB",
            hint="Raise CELLDROP_TASK_MEMORY_MIB if this machine has more memory, or write the file again with "
            "adata.write_h5ad(), which makes small chunks.",
        ) from error


@contextmanager
def loading() -> Iterator[None]:
    """Import libraries without garbage collection, and exclude them from it afterwards: saves 3 % of a task's time.

    NumPy's BLAS is limited to one thread, because it would start one per core, and only torch's threads have work.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def give_back() -> None:
    """Return freed memory to the system (glibc only): 20 MB after a model is loaded."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
