"""Heartbeats by a thread next to the work, as long as the work gives signs of life."""

from __future__ import annotations

import faulthandler
import logging
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Self

from shared.h5ad.read.ahead import cores
from shared.h5ad.source import RangeSource
from shared.ports.blobs import ByteRange
from shared.telemetry import event

log = logging.getLogger(__name__)

EVERY_S = 0.5
"""How often the beat is called. The beat itself decides how often it is written."""
STALL_S = 300.0
"""How long the work may give no sign. The longest stage without a sign takes 3 s on an idle core (2026-11)."""
STALL_CPU_S = 20.0
"""The same in CPU seconds, for every two cores: a library in an endless loop uses them on a busy machine too."""
_REARM_S = 5.0
_REARM_CPU_S = 0.1
_STDERR = 2


class Pulse:
    """Calls a beat until the work ends, or until it gives no sign of life for ``stall_s``.

    A sign is cheap, as the working thread writes nothing. Without a sign for ``stall_s``, the work counts as hung:
    a watchdog, which does not need Python's lock, writes the tracebacks of all threads to standard error and ends the
    process with status 1. So a hang is found like a crash. If the hung work uses the CPU, like a library on a damaged
    file, SIGPROF ends the process in the same way after ``stall_cpu_s`` of CPU time.

    Args:
        beat: Called by one thread at a time. Its exception ends the work at the next sign.
        ends_process: Whether a hung process is ended. If not, only the beats stop.
    """

    def __init__(
        self,
        beat: Callable[[], None],
        stall_s: float = STALL_S,
        stall_cpu_s: float | None = None,
        *,
        ends_process: bool = True,
    ) -> None:
        self._beat = beat
        self._stall_s = stall_s
        self._stall_cpu_s = STALL_CPU_S * max(1.0, cores() / 2) if stall_cpu_s is None else stall_cpu_s
        self._ends_process = ends_process
        self._heard_s = self._armed_s = self._armed_cpu_s = time.monotonic()
        self._lock = Lock()
        self._over = Event()
        self._fault: BaseException | None = None
        self._thread = Thread(target=self._run, name="celldrop-pulse", daemon=True)

    def __enter__(self) -> Self:
        """Start the beats and the watchdog."""
        if self._ends_process:
            # Dumps tracebacks without Python's lock, then does what the signal does by itself: end the process.
            faulthandler.register(signal.SIGPROF, file=_STDERR, chain=True)
        self._arm()
        self._arm_cpu()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop the beats and the watchdog. Raises a beat's exception, unless the work itself failed."""
        self._over.set()
        self._thread.join()
        if self._ends_process:
            with self._lock:
                faulthandler.cancel_dump_traceback_later()
                signal.setitimer(signal.ITIMER_PROF, 0.0)
                faulthandler.unregister(signal.SIGPROF)
        if error is None:
            self._check()

    def show(self) -> None:
        """Give a sign of life. The work stops here if a beat failed.

        Raises:
            CelldropError: The beat's error.
        """
        self.sign()
        self._check()

    def sign(self) -> None:
        """Give a sign of life without raising, for calls from within a library."""
        self._heard_s = time.monotonic()
        if self._heard_s - self._armed_cpu_s > _REARM_CPU_S:
            self._arm_cpu()
        if self._heard_s - self._armed_s > _REARM_S:
            self._arm()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Run a stage of the work between two signs of life, and log its start and end at level DEBUG."""
        self.show()
        event(log, "stage begins", level=logging.DEBUG, stage=name)
        try:
            yield
        finally:
            event(log, "stage ends", level=logging.DEBUG, stage=name)
        self.show()

    def _check(self) -> None:
        if self._fault is not None:
            raise self._fault

    def _arm(self) -> None:
        with self._lock:
            self._armed_s = time.monotonic()
            # A reader's thread may still give signs for a moment after the work.
            if self._ends_process and not self._over.is_set():
                faulthandler.dump_traceback_later(self._stall_s, exit=True, file=_STDERR)

    def _arm_cpu(self) -> None:
        with self._lock:
            self._armed_cpu_s = time.monotonic()
            if self._ends_process and not self._over.is_set():
                signal.setitimer(signal.ITIMER_PROF, self._stall_cpu_s)

    def _run(self) -> None:
        while not self._over.wait(EVERY_S):
            if time.monotonic() - self._heard_s > self._stall_s:
                continue
            try:
                self._beat()
            except BaseException as error:  # noqa: BLE001  # raised to the work at its next sign
                self._fault = error
                return


@dataclass(frozen=True, slots=True)
class ShowingSource:
    """A source that gives a sign of life at every read."""

    inner: RangeSource
    sign: Callable[[], None]

    @property
    def size_bytes(self) -> int:
        """Size of the whole file."""
        return self.inner.size_bytes

    def read(self, span: ByteRange) -> bytes:
        """Read the bytes of ``span``."""
        self.sign()
        return self.inner.read(span)

    def read_many(self, spans: Sequence[ByteRange]) -> list[bytes]:
        """Read several ranges."""
        self.sign()
        return self.inner.read_many(spans)
