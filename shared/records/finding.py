"""Reads what a query found, passing over records that this version cannot read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from shared.domain.errors import UnreadableRecordError
from shared.domain.submission import Submission
from shared.ports.status import Found, Stored

R = TypeVar("R")


def readable(ask: Callable[[int], Sequence[R]], read: Callable[[R], Stored[Submission]], limit: int) -> Found:
    """Find up to ``limit`` records that can be read. Asks for more if some of the first ones cannot be.

    Args:
        ask: Runs the query for at most that many records.
        read: Reads one record; raises UnreadableRecordError if this version cannot.
    """
    wanted = limit
    while True:
        rows = ask(wanted)
        found = _read_all(rows, read)
        if len(found) >= limit or len(rows) < wanted:
            return found
        wanted = limit + len(found.unreadable)


def _read_all(rows: Sequence[R], read: Callable[[R], Stored[Submission]]) -> Found:
    found = Found()
    for row in rows:
        try:
            found.append(read(row))
        except UnreadableRecordError as error:
            found.unreadable.append(error)
    return found
