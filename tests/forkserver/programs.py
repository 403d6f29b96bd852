"""Programs that tests have forked."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from shared.forkserver.client import SERVER

LOADED: list[Mapping[str, str]] = []
"""What was loaded in this process, or before it was forked."""


def first() -> None:
    """What the server calls first."""


def load(variables: Mapping[str, str]) -> None:
    LOADED.append(variables)


def load_until_written(variables: Mapping[str, str]) -> None:
    LOADED.append({"READ": Path(variables["PIPE"]).read_text()})


def fail(_: Mapping[str, str]) -> None:
    raise ValueError("nothing of it can be loaded")


def tell() -> int:
    """Says all that a program finds about itself."""
    found = {
        "argv": sys.argv,
        "env": dict(os.environ),
        "folder": str(Path.cwd()),
        "group": os.getpgrp(),
        "loaded": LOADED,
        "parent": os.getppid(),
        "open": sorted(int(path.name) for path in Path("/proc/self/fd").iterdir() if path.exists()),
        "signals": [signal.getsignal(number) is signal.SIG_DFL for number in (signal.SIGTERM, signal.SIGCHLD)],
        "input": sys.stdin.read(),
    }
    sys.stdout.write(json.dumps({**found, "pid": os.getpid()}))
    return 7


def leave() -> None:
    sys.exit("no more")


def fall() -> None:
    raise KeyError("fallen")


def wait() -> None:
    sys.stdout.write("waits")
    sys.stdout.flush()
    signal.pause()


def parent_of_another() -> None:
    """Says which server a process comes from that this program asks for."""
    child = SERVER.fork("tests.forkserver.programs:say_parent")
    sys.stdout.write(child.link.makefile().read())


def say_parent(link: int) -> None:
    os.write(link, str(os.getppid()).encode())
