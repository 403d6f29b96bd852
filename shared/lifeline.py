"""When the kernel is to end this process: a thread of ours may never get Python's lock to do it."""

from __future__ import annotations

import ctypes
import os
import signal
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG = 1
"""As in linux/prctl.h; other systems have no such thing."""
_GOES_FIRST = 800
"""From -1000 to 1000; what nobody has set has 0."""


def end_with_parent(parent: int | None = None) -> None:
    """Have SIGKILL sent to this process when the thread that started it ends, its process with it, where Linux runs.

    Args:
        parent: Whose child this process is, where it knows: a parent that went before we asked is gone all the same.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if parent is not None and os.getppid() != parent:
        os._exit(1)


def end_before_others() -> None:
    """Have this process, and what it starts, ended before others where memory runs out, where Linux runs."""
    with suppress(OSError, ValueError):
        rank = Path("/proc/self/oom_score_adj")
        rank.write_text(str(max(_GOES_FIRST, int(rank.read_text()))))
