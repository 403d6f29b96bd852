"""Whether the process that supervises an execution is alive, shown by a lock that the kernel releases when it dies."""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from shared.adapters.local.locks import try_lock

KEPT_S = 7 * 86_400.0
"""How long after its last name a dead supervisor is still known to be dead. Whoever asks later waits for the heartbeat
or lease to expire instead."""


class Vigil:
    """A supervisor's sign of life, held from its first name to its death. Others check it by any of its names."""

    def __init__(self, folder: Path, prefix: str, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._prefix = prefix
        self._clock = clock
        self._own = secrets.token_hex(4)
        self._descriptor: int | None = None

    def new_name(self) -> str:
        """A new name for an execution that this process supervises, or for the claim before it."""
        if self._descriptor is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._forget_the_dead()
            self._descriptor = os.open(self._path(self._own), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        os.utime(self._descriptor, (self._clock(),) * 2)
        return f"{self._prefix}-{self._own}-{secrets.token_hex(4)}"

    def other_lives(self, name: str) -> bool | None:
        """Whether the other process that made a name is alive; None if no process did, or if we made it."""
        supervisor = name.removeprefix(f"{self._prefix}-").partition("-")[0]
        if supervisor == self._own or not supervisor.isalnum():
            return None
        try:
            descriptor = os.open(self._path(supervisor), os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            return not try_lock(descriptor)
        finally:
            os.close(descriptor)

    def _forget_the_dead(self) -> None:
        """Remove the locks of supervisors that died long ago: otherwise every process would leave one for ever."""
        for path in self._folder.glob("*.lock"):
            with suppress(OSError):  # Another process has removed it, or may not.
                if (
                    path.stat().st_mtime < self._clock() - KEPT_S
                    and self.other_lives(f"{self._prefix}-{path.stem}") is False
                ):
                    path.unlink()

    def _path(self, supervisor: str) -> Path:
        return self._folder / f"{supervisor}.lock"
