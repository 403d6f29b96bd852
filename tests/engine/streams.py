"""Streams of a GPU as they are promised to be, and no better: any order of work that their events do not forbid."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
import torch

from jobs.engine.lanes import Completion, CudaLanes, Work
from tests.engine.lanes import CPU


@dataclass(eq=False)
class Stream:
    """Work in the order in which it was given; ``given`` and ``done`` count it."""

    gpu: Gpu
    waiting: deque[tuple[Callable[[], bool], Callable[[], None]]] = field(default_factory=deque)
    given: int = 0
    done: int = 0

    def give(self, ready: Callable[[], bool], act: Callable[[], None]) -> None:
        self.waiting.append((ready, act))
        self.given += 1

    def wait_stream(self, other: Stream) -> None:
        until = other.given
        self.give(lambda: other.done >= until, lambda: None)

    def step(self) -> None:
        _, act = self.waiting.popleft()
        act()
        self.done += 1


@dataclass
class Event:
    stream: Stream | None = None
    until: int = 0

    def record(self, stream: Stream) -> None:
        self.stream, self.until = stream, stream.given

    def synchronize(self) -> None:
        assert self.stream is not None
        while self.stream.done < self.until:
            self.stream.gpu.step()


@dataclass
class Gpu:
    """Does the work of its streams in an order that a seed decides, and none before the host waits."""

    seed: int
    streams: list[Stream] = field(default_factory=list)
    current: Stream | None = None

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def made(self, _device: torch.device) -> Stream:
        self.streams.append(Stream(self))
        return self.streams[-1]

    @contextmanager
    def on(self, stream: Stream) -> Iterator[None]:
        self.current, before = stream, self.current
        yield
        self.current = before

    def step(self) -> None:
        able = [stream for stream in self.streams if stream.waiting and stream.waiting[0][0]()]
        self._random.choice(able).step()

    def take(self, act: Callable[[], None]) -> None:
        assert self.current is not None
        self.current.give(lambda: True, act)


@dataclass
class Given:
    """A batch whose steps go to the stream that is current when they are called."""

    gpu: Gpu
    work: Work

    def copy_in(self) -> None:
        self.gpu.take(self.work.copy_in)

    def compute(self) -> None:
        self.gpu.take(self.work.compute)

    def copy_out(self) -> None:
        self.gpu.take(self.work.copy_out)


class SimulatedLanes(CudaLanes):
    """The real lanes, on a simulated GPU."""

    def __init__(self, gpu: Gpu) -> None:
        super().__init__(CPU)
        self._gpu = gpu

    def host(self, size: int, dtype: torch.dtype) -> torch.Tensor:
        return torch.empty(size, dtype=dtype)

    def queue(self, work: Work) -> Completion:
        return super().queue(Given(self._gpu, work))


@contextmanager
def simulated(seed: int) -> Iterator[SimulatedLanes]:
    """Lanes on a GPU of which ``torch.cuda`` is told for the while."""
    gpu = Gpu(seed)
    with pytest.MonkeyPatch.context() as patch, torch.inference_mode():
        patch.setattr(torch.cuda, "Stream", gpu.made)
        patch.setattr(torch.cuda, "stream", gpu.on)
        patch.setattr(torch.cuda, "Event", lambda *, blocking: Event() if blocking else None)
        yield SimulatedLanes(gpu)
