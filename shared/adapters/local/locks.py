"""Locks between threads and processes, held on files. The kernel releases them when their holder dies."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BETWEEN_TRIES_S = 0.1


@contextmanager
def exclusive(path: Path) -> Iterator[int]:
    """Hold the lock on a file, which is created if missing; yields its descriptor.

    The file is not removed: otherwise two holders could lock two different files with the same name. A link is not
    followed: some holders write to their lock's file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def try_lock(descriptor: int) -> bool:
    """Take the lock on an open file if no other process holds it. Returns whether it was taken."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def lock_within(descriptor: int, tries: int) -> bool:
    """Take the lock, and try a few times, a tenth of a second apart, while another process holds it."""
    for left in reversed(range(tries)):
        if try_lock(descriptor):
            return True
        if left:
            time.sleep(BETWEEN_TRIES_S)
    return False
