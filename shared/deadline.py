"""A deadline that all waits of one call share: for answers of a service, and for memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from shared.domain.errors import UnavailableError

_ends_s: ContextVar[float | None] = ContextVar("ends_s", default=None)


@contextmanager
def within(seconds: float | None) -> Iterator[None]:
    """End all waits inside this context after so many seconds. None changes nothing.

    A thread that is started inside has no deadline, unless it runs in a copy of this context.
    """
    if seconds is None:
        yield
        return
    before = _ends_s.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _ends_s.reset(before)


def at_most(seconds: float) -> float:
    """How long to wait now: so many seconds, or what is left until the deadline, if there is one.

    Raises:
        UnavailableError: The deadline has passed.
    """
    ends_s = _ends_s.get()
    if ends_s is None:
        return seconds
    left_s = ends_s - time.monotonic()
    if left_s <= 0.0:
        raise UnavailableError("the time for one call is up", hint="Try again: most likely a service was slow.")
    return min(seconds, left_s)
