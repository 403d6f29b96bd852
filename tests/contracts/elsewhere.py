"""A store whose every call is made in another process, which opens it for that one call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import ExitStack
from typing import Any


class Elsewhere:
    """Stands for the store behind the door; what is handed over must be picklable."""

    def __init__(self, door: Callable[[], object], processes: Executor) -> None:
        self._door = door
        self._processes = processes

    def __getattr__(self, method: str) -> Callable[..., Any]:
        def asked(*args: Any, **kwargs: Any) -> Any:
            return self._processes.submit(_answered, self._door, method, args, kwargs).result()

        return asked


def _answered(door: Callable[[], object], method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    with ExitStack() as closing:
        store = door()
        closing.callback(getattr(store, "close", lambda: None))
        answer = getattr(store, method)(*args, **kwargs)
        return list(answer) if isinstance(answer, Iterator) else answer
