"""Has the kernel end this process once its parent is gone: a thread of ours may never get Python's lock to do it."""

from __future__ import annotations

import ctypes
import os
import signal
from contextlib import suppress

_PR_SET_PDEATHSIG = 1
"""As in linux/prctl.h; other systems have no such thing."""


def end_with_parent(parent: int | None = None) -> None:
    """Have SIGKILL sent to this process when the thread that started it ends, its process with it, where Linux runs.

    Args:
        parent: Whose child this process is, where it knows: a parent that went before we asked is gone all the same.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if parent is not None and os.getppid() != parent:
        os._exit(1)
