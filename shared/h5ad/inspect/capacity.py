"""How many inspections have room at once: as many as fit in most of this machine's memory, and at least one."""

from __future__ import annotations

import os
import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from shared.domain.errors import UnavailableError

_CGROUPS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_SHARE = 0.7
"""The rest is for who inspects, and for whatever else runs here."""
_FALLBACK_BYTES = 2 * 2**30
ALONE = 1 << 62
"""More than there is anywhere: whoever asks for it is given all, and so is alone."""


class Capacity:
    """Memory that is shared by inspections: each takes what it may need, and waits until that is free.

    Args:
        size_bytes: All there is; one that may need more is given all.
    """

    def __init__(self, size_bytes: int) -> None:
        self._size_bytes = size_bytes
        self._taken_bytes = 0
        self._changed = threading.Condition()

    @contextmanager
    def share(self, wanted_bytes: int, timeout_s: float) -> Iterator[None]:
        """Take a share, all of it at most.

        Args:
            timeout_s: How long to wait for it.

        Raises:
            UnavailableError: It was not free in time.
        """
        taken_bytes = min(wanted_bytes, self._size_bytes)
        self._take(taken_bytes, timeout_s)
        try:
            yield
        finally:
            with self._changed:
                self._taken_bytes -= taken_bytes
                self._changed.notify_all()

    def _take(self, wanted_bytes: int, timeout_s: float) -> None:
        began_s = time.monotonic()
        with self._changed:
            free = self._changed.wait_for(lambda: self._taken_bytes + wanted_bytes <= self._size_bytes, timeout_s)
            if not free:
                raise UnavailableError(
                    f"no memory was free for another inspection for {time.monotonic() - began_s:.0f} s",
                    hint="Try again later, or give this machine more memory.",
                )
            self._taken_bytes += wanted_bytes


@cache
def capacity_here() -> Capacity:
    """That of this machine, or of the container that this process runs in."""
    return Capacity(int(_SHARE * memory_bytes()))


def memory_bytes() -> int:
    """The memory of this machine, or of the container that this process runs in."""
    found = []
    with suppress(ValueError, OSError):
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for path in _CGROUPS:
        with suppress(ValueError, OSError):  # "max" is no number: there is no bound.
            found.append(int(path.read_text()))
    return min(found, default=_FALLBACK_BYTES)


def address_space_bytes() -> int:
    """The address space that this process has now; much, where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        return 8 * 2**30
    return pages * resource.getpagesize()
