"""Stops a proof at its time limit, on Ctrl-C or on SIGTERM, and never during the tear-down."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Self

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
CLOCKS_APART_S = 0.1
"""The alarm's clock and ours."""


class StoppedError(BaseException):
    """Somebody, or the limit of the whole proof, stops it; no handler of mere errors may swallow that."""


class StepTooLongError(BaseException):
    """A step took longer than it may."""


class Watch:
    """Signal handlers for the time of a proof.

    Args:
        limit_s: For everything that runs under ``limited``.
        advice: Printed at every signal: that all is torn down, and how to do it by hand.
    """

    def __init__(self, limit_s: float, advice: str) -> None:
        self._ends_s = time.monotonic() + limit_s
        self._limit_s = limit_s
        self._advice = advice
        self._armed = False
        self._stopped = ""
        self._before: dict[int, object] = {}

    def __enter__(self) -> Self:
        for number in (*SIGNALS, signal.SIGALRM):
            self._before[number] = signal.signal(number, self._heard)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # as it was given to us

    @contextmanager
    def limited(self, limit_s: float) -> Iterator[None]:
        """Raise StoppedError or StepTooLongError inside, at most one of them once."""
        left_s = self._ends_s - time.monotonic()
        if self._stopped or left_s <= 0:
            raise StoppedError(self._stopped or self._limit_words)
        self._armed = True
        signal.setitimer(signal.ITIMER_REAL, min(limit_s, left_s))
        try:
            yield
        finally:
            self._armed = False
            signal.setitimer(signal.ITIMER_REAL, 0)

    @property
    def _limit_words(self) -> str:
        return f"the limit of {self._limit_s / 60:g} minutes was reached"

    def _heard(self, number: int, _: FrameType | None) -> None:
        armed, self._armed = self._armed, False
        if number != signal.SIGALRM:
            self._stopped = f"{signal.Signals(number).name} was received"
            with suppress(OSError):  # Not by way of sys.stderr, which may be in the middle of a line.
                os.write(2, f"{self._stopped}: {self._advice}\n".encode())
        if not armed:
            return
        if self._stopped:
            raise StoppedError(self._stopped)
        if time.monotonic() >= self._ends_s - CLOCKS_APART_S:
            raise StoppedError(self._limit_words)
        raise StepTooLongError("the step took longer than it may")
