"""Inspecting children of the fork server, seen from the process that wants them."""

from __future__ import annotations

from shared.deadline import at_most
from shared.domain.errors import UnavailableError
from shared.forkserver.client import SERVER, Child
from shared.h5ad.inspect.wire import Kind, receive

_STARTS = 3
_START_S = 120.0
"""Time for the server to start, from a slow disk."""
_ENTRY = "shared.h5ad.inspect.sandbox:answer"


def connect() -> Child:
    """A child that has said hello.

    Raises:
        UnavailableError: None could be started.
    """
    for _ in range(_STARTS):
        try:
            child = SERVER.fork(_ENTRY)
        except OSError:
            continue
        try:
            child.link.settimeout(at_most(_START_S))
            if receive(child.link)[0] is Kind.HELLO:
                return child
        except (OSError, EOFError):
            child.__exit__()
        except BaseException:
            child.__exit__()
            raise
    raise UnavailableError("the inspecting process cannot be started", hint="Look for its traceback in the log.")
