"""What this process is called, and how it ends: with its parent, before others, or by itself and at once."""

from __future__ import annotations

import atexit
import ctypes
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15
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


def name_process(name: str) -> None:
    """Have this process shown by that name, of at most 15 letters, where Linux runs."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)


def end_before_others() -> None:
    """Have this process, and what it starts, ended before others where memory runs out, where Linux runs."""
    with suppress(OSError, ValueError):
        rank = Path("/proc/self/oom_score_adj")
        rank.write_text(str(max(_GOES_FIRST, int(rank.read_text()))))


def leave(status: int) -> NoReturn:
    """End the process without the interpreter's teardown, which takes up to half a second once torch is loaded.

    Exit handlers run and output is flushed, but threads are not waited for.
    """
    atexit._run_exitfuncs()  # noqa: SLF001  # what the interpreter calls; there is no public name
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)
