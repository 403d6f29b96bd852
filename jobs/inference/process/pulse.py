"""Beats beside the work: a thread shows that a task lives, for as long as the work gave a sign of it lately."""

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
"""How often the beat is called; whoever made it says how often it is written."""
PATIENCE_S = 300.0
"""How long the work may give no sign. The longest stage without one takes 3 s on a core of its own (2026-11)."""
PATIENCE_CPU_S = 20.0
"""The same in processor seconds, for every two cores: a library that loops burns them, however busy the machine is."""
_REARM_S = 5.0
_REARM_CPU_S = 0.1
_STDERR = 2


class Pulse:
    """Calls a beat until the work is over, or gave no sign for ``patience_s``.

    A sign is cheap: nothing is written by the thread that gives it. Without one for ``patience_s``, the work counts as
    hung: a watchdog that needs neither Python's lock nor this thread writes every thread's traceback to standard error
    and ends the process with status 1. So a beat keeps nothing alive for ever, and a hang is found out like a crash.
    One that burns the processor, as a library does on a damaged file, is ended likewise, by SIGPROF, after
    ``patience_cpu_s`` of that.

    Args:
        beat: Called by one thread at a time. What it raises ends the work, at its next sign.
        ends_process: Whether a hung process is ended; else it only is beaten for no more.
    """

    def __init__(
        self,
        beat: Callable[[], None],
        patience_s: float = PATIENCE_S,
        patience_cpu_s: float | None = None,
        *,
        ends_process: bool = True,
    ) -> None:
        self._beat = beat
        self._patience_s = patience_s
        self._patience_cpu_s = PATIENCE_CPU_S * max(1.0, cores() / 2) if patience_cpu_s is None else patience_cpu_s
        self._ends_process = ends_process
        self._heard_s = self._armed_s = self._armed_cpu_s = time.monotonic()
        self._lock = Lock()
        self._over = Event()
        self._fault: BaseException | None = None
        self._thread = Thread(target=self._go_on, name="celldrop-pulse", daemon=True)

    def __enter__(self) -> Self:
        """Begin to beat."""
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
        """Beat no more; raises what a beat raised, unless the work itself failed."""
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
        """Give a sign of life: the place where the work stops when it is to go on no more.

        Raises:
            CelldropError: What a beat raised.
        """
        self.sign()
        self._check()

    def sign(self) -> None:
        """The same from within a library that is not to be left by an error."""
        self._heard_s = time.monotonic()
        if self._heard_s - self._armed_cpu_s > _REARM_CPU_S:
            self._arm_cpu()
        if self._heard_s - self._armed_s > _REARM_S:
            self._arm()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """A stretch of the work that may give no sign by itself; its name and times are in the log, at level DEBUG."""
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
            if self._ends_process and not self._over.is_set():  # A reader beside may outlive the work by a moment.
                faulthandler.dump_traceback_later(self._patience_s, exit=True, file=_STDERR)

    def _arm_cpu(self) -> None:
        with self._lock:
            self._armed_cpu_s = time.monotonic()
            if self._ends_process and not self._over.is_set():
                signal.setitimer(signal.ITIMER_PROF, self._patience_cpu_s)

    def _go_on(self) -> None:
        while not self._over.wait(EVERY_S):
            if time.monotonic() - self._heard_s > self._patience_s:
                continue
            try:
                self._beat()
            except BaseException as error:  # noqa: BLE001  # whatever it is, the work hears of it
                self._fault = error
                return


@dataclass(frozen=True, slots=True)
class ShowingSource:
    """A source each of whose reads is a sign of life."""

    inner: RangeSource
    sign: Callable[[], None]

    @property
    def size_bytes(self) -> int:
        """Size of the whole file."""
        return self.inner.size_bytes

    def read(self, span: ByteRange) -> bytes:
        """The bytes of ``span``."""
        self.sign()
        return self.inner.read(span)

    def read_many(self, spans: Sequence[ByteRange]) -> list[bytes]:
        """Several ranges."""
        self.sign()
        return self.inner.read_many(spans)
