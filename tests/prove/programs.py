"""Runs the programs of a proof: never through a shell, stopped in order, logged without secrets."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.prove.redaction import Redactor

QUIET = {
    "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
    "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "1",
    "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "1",
    "TF_IN_AUTOMATION": "1",
    "CHECKPOINT_DISABLE": "1",
}
GRACE_S = 30.0
TERRAFORM_GRACE_S = 180.0
"""An interrupted apply finishes what it has begun and saves its state; killed, it would leave things that it forgot."""


class ProgramError(Exception):
    """A program that is missing, fails, or takes too long."""


@dataclass(frozen=True, slots=True)
class Command:
    """A program to run.

    Attributes:
        secret: What it prints is a token, and is kept nowhere.
        grace_s: From the interrupt to the kill, where it must be stopped.
    """

    argv: tuple[str, ...]
    limit_s: float = 120.0
    secret: bool = False
    cwd: Path | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    grace_s: float = GRACE_S

    @property
    def line(self) -> str:
        """As the report shows it."""
        return " ".join(self.argv)


@dataclass(frozen=True, slots=True)
class Ran:
    """How it ended."""

    command: Command
    status: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """What it printed, read as JSON."""
        try:
            return json.loads(self.stdout or "null")
        except json.JSONDecodeError as error:
            raise ProgramError(f"{self.command.line} printed no JSON: {self.stdout[:200]!r}") from error


class Programs:
    """Runs them and keeps their output, redacted, in a folder of logs."""

    def __init__(self, logs: Path, redact: Redactor) -> None:
        self._logs = logs
        self._redact = redact
        self._count = 0
        self.done: list[dict[str, Any]] = []

    def run(self, command: Command, *, may_fail: bool = False) -> Ran:
        """Run one to its end.

        Raises:
            ProgramError: It is missing, took too long, or failed where it may not.
        """
        started = time.monotonic()
        process = _start(command)
        try:
            out, err = process.communicate(timeout=command.limit_s)
        except BaseException as error:
            out, err = _stopped(process, command.grace_s)
            self._keep(Ran(command, process.returncode, out, err), time.monotonic() - started)
            if isinstance(error, subprocess.TimeoutExpired):
                raise ProgramError(f"{command.line} took longer than {command.limit_s:g} s and was stopped") from error
            raise
        ran = Ran(command, process.returncode, out, err)
        log = self._keep(ran, time.monotonic() - started)
        if ran.status and not may_fail:
            raise ProgramError(f"{command.line} failed (status {ran.status}, {log}): {self._redact(_last_words(ran))}")
        return ran

    def clean(self, path: Path) -> None:
        """Take secrets out of a file that a program has written by itself."""
        path.write_text(self._redact(path.read_text()))

    def _keep(self, ran: Ran, seconds: float) -> str:
        self._count += 1
        words = [Path(word).name for word in ran.command.argv[:4] if re.fullmatch(r"[\w./][\w./-]*", word)]
        name = "-".join(words)
        path = self._logs / f"{self._count:03d}-{name[:60]}.txt"
        shown = "(not kept)\n" if ran.command.secret else f"{ran.stdout}\n--- stderr ---\n{ran.stderr}"
        path.write_text(self._redact(f"$ {ran.command.line}\n{shown}\nstatus {ran.status}, {seconds:.1f} s\n"))
        line = self._redact(ran.command.line)
        log = f"{path.parent.name}/{path.name}"
        self.done.append({"argv": line, "status": ran.status, "seconds": round(seconds, 1), "log": log})
        return log


def _start(command: Command) -> subprocess.Popen[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TF_CLI_", "TF_WORK", "TF_DATA"))}
    try:
        return subprocess.Popen(
            command.argv,
            cwd=command.cwd,
            env={**kept, **QUIET, **command.env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,  # A Ctrl-C of the terminal reaches us alone: we decide how each is stopped.
        )
    except OSError as error:
        raise ProgramError(f"{command.argv[0]} cannot be run: {error.strerror}. Install it, or mend PATH.") from error


def _stopped(process: subprocess.Popen[str], grace_s: float) -> tuple[str, str]:
    process.send_signal(signal.SIGINT)
    try:
        return process.communicate(timeout=grace_s)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        return process.communicate()


def _last_words(ran: Ran) -> str:
    lines = [line.strip() for line in (ran.stderr or ran.stdout).splitlines() if line.strip(" ╷│╵")]
    return " ".join(lines[-6:])[-600:]
