"""The command line in a process that need not load its libraries first, which takes most of the time of a test.

The process is forked from the fork server (``shared.forkserver``) of the process that runs the tests. From there it is
the command as a user runs it: its own environment, folder, output, group and exit status; it starts inspections, tasks
and maps as always, from the same server.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from pkgutil import iter_modules
from tempfile import TemporaryFile
from typing import Self

import cli
from jobs.inference.main import preload as preload_task
from jobs.inference.report.embedding import preload as preload_map
from shared.forkserver.client import SERVER
from shared.forkserver.program import ForkedProgram
from shared.forkserver.wire import Program

_LOAD = f"{__name__}:preload"
_PROGRAM = "cli.main:main"
_VARIABLES = {"OMP_NUM_THREADS": str(os.cpu_count() or 1), "OMP_WAIT_POLICY": "PASSIVE"}


def preload(variables: Mapping[str, str]) -> None:
    """Load, in the fork server, what the commands and their tasks need."""
    preload_task(variables)
    preload_map(variables)
    for module in iter_modules(cli.__path__, "cli."):
        import_module(module.name)
    import_module("torch._dynamo")  # An optimizer asks for it, and so every training, which it costs two seconds.
    assert isinstance(sys.stdout, TextIOWrapper)
    sys.stdout.reconfigure(line_buffering=True)  # Whoever started a command reads what it says meanwhile.


def command(arguments: list[str], env: Mapping[str, str], folder: Path) -> tuple[int, str, str]:
    """Run the command line. Returns its exit status, output and errors."""
    SERVER.load(_LOAD, _VARIABLES)
    with Path(os.devnull).open("rb") as nothing, TemporaryFile() as output, TemporaryFile() as errors:
        program = Program(_PROGRAM, ["celldrop", *arguments], env, str(folder))
        standard = (nothing.fileno(), output.fileno(), errors.fileno())
        process = ForkedProgram(SERVER, program, standard, loaded=_LOAD)
        process.begin()
        status = process.wait()
        process.close()
        output.seek(0)
        errors.seek(0)
        return status, output.read().decode(), errors.read().decode()


class Started:
    """A command that runs meanwhile, in the process group of the tests.

    Attributes:
        lines: What it prints. What it says of errors goes where this process's errors go.
    """

    def __init__(self, arguments: list[str], env: Mapping[str, str], folder: Path) -> None:
        SERVER.load(_LOAD, _VARIABLES)
        read, written = os.pipe()
        self.lines = os.fdopen(read, encoding="utf-8")
        program = Program(_PROGRAM, ["celldrop", *arguments], env, str(folder), group=os.getpgrp())
        try:
            with Path(os.devnull).open("rb") as nothing:
                standard = (nothing.fileno(), written, sys.__stderr__.fileno() if sys.__stderr__ else 2)
                self._process = ForkedProgram(SERVER, program, standard, loaded=_LOAD)
        finally:
            os.close(written)
        self._process.begin()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.signal(signal.SIGKILL)
        self._process.wait()
        self._process.close()
        self.lines.close()

    def stopped(self, timeout_s: float) -> int:
        """Its exit status after SIGTERM."""
        self._process.signal(signal.SIGTERM)
        return self._process.wait(timeout_s)
