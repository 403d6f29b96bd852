"""Where a test cuts in: before a call takes effect, and after it has, when only the answer is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

Hook: TypeAlias = Callable[[str], None]
"""Given ``blobs.write`` before the effect and ``blobs.write.done`` after it; may raise what the port may raise."""


def nothing(_: str) -> None:
    return


@contextmanager
def call(hook: Hook, name: str) -> Iterator[None]:
    hook(name)
    yield
    hook(f"{name}.done")


class FailEvery:
    """A hook that raises at the given moment of every such call."""

    def __init__(self, name: str, error: Exception) -> None:
        self._name = name
        self._error = error

    def __call__(self, name: str) -> None:
        if name == self._name:
            raise self._error


class FailNext:
    """A hook that raises once, at the given moment of the given call.

    Args:
        after: How many such calls go well before.
    """

    def __init__(self, name: str, error: Exception, *, after: int = 0) -> None:
        self._name = name
        self._error: Exception | None = error
        self._after = after

    def __call__(self, name: str) -> None:
        if name == self._name and self._error is not None:
            self._after -= 1
            if self._after >= 0:
                return
            error, self._error = self._error, None
            raise error
