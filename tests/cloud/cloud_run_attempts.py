"""One attempt of a task as Cloud Run makes it: a process with its variables, a time limit, and ten seconds to leave."""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import Process
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

FAILED = "The container exited with an error."
OUT_OF_MEMORY = "The configured memory limit was reached."
TOO_LATE = "The configured timeout was reached."


@dataclass(frozen=True, slots=True)
class Attempt:
    """What to run.

    Attributes:
        env: The whole environment.
        timeout_s: After which it is asked to end.
        grace_s: From then to its end.
    """

    argv: Sequence[str]
    env: Mapping[str, str]
    log: Path
    timeout_s: float
    grace_s: float

    async def run(self) -> str:
        """Run to the end, whichever; returns what Cloud Run says of a failure, or nothing.

        Cancelling it ends the process, and whatever the process has started, as a timeout does.
        """
        # The process may watch its input, to end when nobody supervises it any more.
        watched, held = os.pipe()
        try:
            return await self._see_off(await self._start(watched))
        except OSError as error:
            return f"message: The container failed to start: {error.strerror}."
        finally:
            os.close(watched)
            os.close(held)

    async def _start(self, watched: int) -> Process:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            return await asyncio.create_subprocess_exec(
                *self.argv,
                env=dict(self.env),
                stdin=watched,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
                process_group=0,
            )

    async def _see_off(self, process: Process) -> str:
        try:
            async with asyncio.timeout(self.timeout_s):
                return _said(await process.wait())
        except TimeoutError:
            return f"exit code: 0 and message: {TOO_LATE}"
        finally:
            await self._end(process)

    async def _end(self, process: Process) -> None:
        if process.returncode is None:
            _signal(process, signal.SIGTERM)
            with suppress(TimeoutError):
                async with asyncio.timeout(self.grace_s):
                    await process.wait()
        # Its children share its group, and have no business once it is over.
        _signal(process, signal.SIGKILL)
        await process.wait()


def _signal(process: Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _said(status: int) -> str:
    if status == 0:
        return ""
    if status == -signal.SIGKILL:
        return f"exit code: 0 and message: {OUT_OF_MEMORY}"
    if status < 0:
        return f"exit code: 0 and message: Container terminated on signal {-status}."
    return f"exit code: {status} and message: {FAILED}"
