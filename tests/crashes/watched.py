"""Any port, seen through: a hook hears of every call before it takes effect and after it has, and of what streams."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

from shared.ports.blobs import BlobStore
from shared.ports.events import EventBus
from shared.ports.jobs import JobRunner
from shared.ports.status import StatusStore
from shared.wiring.ports import MadePorts, Ports
from tests.fakes.calls import Hook


def watched_ports(ports: Ports, hook: Hook) -> MadePorts:
    """The same ports in the vocabulary of ``tests.fakes.calls``: ``status.replace``, ``status.replace.done``."""
    return MadePorts(
        blobs=cast("BlobStore", Watched(ports.blobs, "blobs", hook)),
        bus=cast("EventBus", Watched(ports.bus, "bus", hook)),
        store=cast("StatusStore", Watched(ports.store, "status", hook)),
        jobs=cast("JobRunner", Watched(ports.jobs, "jobs", hook)),
    )


class Watched:
    """Whatever is asked of it goes to the port behind it; it knows no port's methods, so that a new one is seen too.

    A stream into a call or out of it is heard of at each ``.item``; a change handed in, when it is ``.inside``.
    """

    def __init__(self, port: object, name: str, hook: Hook) -> None:
        self._port = port
        self._name = name
        self._hook = hook

    def __getattr__(self, method: str) -> Callable[..., Any]:
        behind = getattr(self._port, method)
        point = f"{self._name}.{method}"

        def seen(*args: Any, **kwargs: Any) -> Any:
            self._hook(point)
            inward = [self._inward(point, value) for value in args]
            answer = behind(*inward, **{name: self._inward(point, value) for name, value in kwargs.items()})
            if isinstance(answer, Iterator):
                return self._outward(point, answer)
            self._hook(f"{point}.done")
            return answer

        return seen

    def _inward(self, point: str, value: Any) -> Any:
        if isinstance(value, Iterator):
            return self._items(point, value)
        if callable(value):
            return self._inside(point, value)
        return value

    def _outward(self, point: str, answer: Iterator[Any]) -> Iterator[Any]:
        yield from self._items(point, answer)
        self._hook(f"{point}.done")

    def _items(self, point: str, stream: Iterator[Any]) -> Iterator[Any]:
        for item in stream:
            self._hook(f"{point}.item")
            yield item

    def _inside(self, point: str, change: Callable[..., Any]) -> Callable[..., Any]:
        def seen(*args: Any) -> Any:
            self._hook(f"{point}.inside")
            return change(*args)

        return seen
