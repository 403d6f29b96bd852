"""Ways to start the process of a task: as a command, or forked from a process that has its libraries loaded."""

from __future__ import annotations

import os
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO

from typing_extensions import override

from shared.forkserver.client import ForkServer
from shared.forkserver.program import ForkedProgram
from shared.forkserver.wire import Program


class Running(ABC):
    """A process in a group of its own, whose input is a pipe that this process holds."""

    @abstractmethod
    def wait(self) -> int:
        """Wait for its end. Returns its exit status, or minus the signal that ended it."""

    @abstractmethod
    def signal_group(self, number: signal.Signals) -> None:
        """Send a signal to its group, which may have ended."""

    @abstractmethod
    def close(self) -> None:
        """Close its input, once it has ended. It must not be signalled any more."""


class Starter(ABC):
    """Starts the processes of tasks."""

    @abstractmethod
    def prepare(self) -> None:
        """Do now, without waiting for it, what makes the next start quicker."""

    @abstractmethod
    def start(self, env: Mapping[str, str], log: IO[bytes]) -> Running:
        """Start a process with that environment, and with ``log`` as its output.

        Raises:
            OSError: It could not be started.
        """


class Command(Starter):
    """Starts a command."""

    def __init__(self, argv: Sequence[str]) -> None:
        self._argv = tuple(argv)

    @override
    def prepare(self) -> None:
        """Nothing makes it quicker."""

    @override
    def start(self, env: Mapping[str, str], log: IO[bytes]) -> Running:
        return _Process(
            subprocess.Popen(  # noqa: S603  # the command is the deployment's own
                self._argv,
                env=dict(env),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
        )


class _Process(Running):
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @override
    def wait(self) -> int:
        return self._process.wait()

    @override
    def signal_group(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    @override
    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()


class Forked(Starter):
    """Forks each process from the fork server, in which its libraries are loaded once.

    Args:
        function: The program, as MODULE:FUNCTION.
        load: What loads its libraries, as MODULE:FUNCTION. Called in the server with ``variables``, which are the
            environment variables that libraries read when they are loaded.
    """

    def __init__(self, server: ForkServer, function: str, load: str, variables: Mapping[str, str]) -> None:
        self._server = server
        self._function = function
        self._load = load
        self._variables = dict(variables)

    @override
    def prepare(self) -> None:
        with suppress(OSError):  # Told when a process is started.
            self._server.load(self._load, self._variables)

    @override
    def start(self, env: Mapping[str, str], log: IO[bytes]) -> Running:
        self._server.load(self._load, self._variables)
        theirs, ours = os.pipe()
        try:
            program = Program(self._function, ["celldrop-task"], env, os.getcwd())  # noqa: PTH109  # as Popen does
            standard = (theirs, log.fileno(), log.fileno())
            return _Fork(ForkedProgram(self._server, program, standard, loaded=self._load), ours)
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)


class _Fork(Running):
    def __init__(self, program: ForkedProgram, stdin: int) -> None:
        self._program = program
        self._stdin = stdin

    @override
    def wait(self) -> int:
        self._program.begin()
        return self._program.wait()

    @override
    def signal_group(self, number: signal.Signals) -> None:
        self._program.signal(number)

    @override
    def close(self) -> None:
        self._program.close()
        os.close(self._stdin)
