"""Scores a stream of blocks: one by one on a CPU, in overlapping batches on a GPU."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import tee
from operator import itemgetter
from typing import Generic, Protocol, TypeVar

import torch

from jobs.engine.annotator import Annotator, BlockScores, CellBlock
from jobs.engine.batches import N_SETS, Gathering, batch_limit, device_bytes, weight
from jobs.engine.buffers import BufferSet
from jobs.engine.lanes import Completion, CudaLanes, Lanes
from shared.domain.errors import DeviceUnavailableError
from shared.telemetry import event

log = logging.getLogger(__name__)

Result = TypeVar("Result")
Block = TypeVar("Block", bound=CellBlock)
BlockRead_co = TypeVar("BlockRead_co", bound=CellBlock, covariant=True)


class Reading(Protocol[BlockRead_co]):
    """Reads blocks and applies a function to each, in one of the reader's threads if it has several."""

    def __call__(self, then: Callable[[BlockRead_co], Result], /) -> Iterator[Result]:
        """The function's result for each block, in order."""
        ...


def scored(read: Reading[CellBlock], annotator: Annotator) -> Iterator[BlockScores]:
    """Score each block, in order; lazy.

    On a CPU, the thread that read a block scores it. On a GPU, blocks are scored in batches (see ``Stream``); a cell's
    scores do not depend on its batch.

    Raises:
        DeviceUnavailableError: The GPU has too little memory for a single block.
    """
    return (scores for (scores,) in scored_by_all(read, [Seeing(annotator, lambda block: block)]))


@dataclass(frozen=True, slots=True)
class Seeing(Generic[Block]):
    """A model, and what it sees of a block that is read for several.

    Attributes:
        view: Called once for each block, in the thread that read it.
    """

    annotator: Annotator
    view: Callable[[Block], CellBlock]


def scored_by_all(read: Reading[Block], models: Sequence[Seeing[Block]]) -> Iterator[tuple[BlockScores, ...]]:
    """Score each block with every model, in order; lazy. All models compute on the same device.

    A model's scores are those that ``scored`` gives for it alone. On a GPU they share its memory.

    Raises:
        DeviceUnavailableError: The GPU has too little memory for a single block.
    """
    device = models[0].annotator.device
    if device.type != "cuda":
        return read(lambda block: tuple(model.annotator.annotate(model.view(block)) for model in models))
    lanes = [CudaLanes(device) for _ in models]
    free_bytes = lanes[0].free_bytes() // len(models)
    limits = [batch_limit(free_bytes, model.annotator.value_bytes) for model in models]
    event(log, "batch found", limit=min(limits), free_bytes=free_bytes)
    return streamed(read, models, lanes, limits)


def streamed(
    read: Reading[Block], models: Sequence[Seeing[Block]], lanes: Sequence[Lanes], limits: Sequence[int]
) -> Iterator[tuple[BlockScores, ...]]:
    """The same through a stream for each model. Blocks that one has taken and another has not are kept."""
    copies = tee(read(lambda block: tuple(model.view(block) for model in models)), len(models))
    streams = [
        Stream(model.annotator, lanes[place], limits[place]).scores(map(itemgetter(place), copies[place]))
        for place, model in enumerate(models)
    ]
    return zip(*streams, strict=True)


class Stream:
    """Keeps a device busy: while a batch is computed, the next one is queued, and the scores before it are yielded.

    The host only waits for the oldest batch, after the newest was queued. At most ``N_SETS`` batches and one block are
    in memory.

    Args:
        limit: The largest weight of a batch (``batches.weight``). It is halved when the device runs out of memory.
    """

    def __init__(self, annotator: Annotator, lanes: Lanes, limit: int) -> None:
        self._annotator = annotator
        self._lanes = lanes
        self._limit = limit
        self._idle = self._sets()
        self._flying: deque[tuple[BufferSet, Completion]] = deque()
        self._cleared = False

    def scores(self, blocks: Iterable[CellBlock]) -> Iterator[BlockScores]:
        """Score each block, in order.

        Raises:
            DeviceUnavailableError: The device has too little memory for a single block.
        """
        gathering = Gathering(blocks, self._annotator.width)
        try:
            while batch := gathering.take(self._limit):
                if not self._queue(batch):
                    yield from self._make_room(batch)
                    gathering.give_back(batch)
                elif len(self._flying) == N_SETS:
                    yield from self._hand_out()
            while self._flying:
                yield from self._hand_out()
        finally:  # The caller may stop early. Memory that the device still writes to must not be freed.
            for _, over in self._flying:
                over.synchronize()

    def _sets(self) -> list[BufferSet]:
        return [BufferSet(self._annotator, self._lanes) for _ in range(N_SETS)]

    @torch.inference_mode()
    def _queue(self, batch: list[CellBlock]) -> bool:
        """Queue a batch. Returns False, with nothing queued, if the device has too little memory."""
        buffers = self._idle.pop()
        buffers.fill(batch)
        try:
            over = self._lanes.queue(buffers)
        except torch.OutOfMemoryError:
            return False  # The caller makes room: until the exception is gone, it holds the memory of the failed step.
        self._flying.append((buffers, over))
        self._cleared = False
        return True

    def _hand_out(self) -> Iterator[BlockScores]:
        buffers, over = self._flying.popleft()
        over.synchronize()
        yield from buffers.scores()
        self._idle.append(buffers)

    def _make_room(self, batch: list[CellBlock]) -> Iterator[BlockScores]:
        """Yield the scores in flight, free all memory, and halve the limit."""
        if self._cleared and len(batch) == 1:
            raise _no_room(batch[0], self._annotator, self._lanes)
        while self._flying:
            yield from self._hand_out()
        self._idle.clear()
        self._lanes.release()
        self._idle = self._sets()
        self._cleared = True
        if len(batch) > 1:
            weighed = sum(weight(block, self._annotator.width) for block in batch)
            self._limit = weighed // 2
            event(log, "batch halved", level=logging.WARNING, blocks=len(batch), weighed=weighed, limit=self._limit)


def _no_room(block: CellBlock, annotator: Annotator, lanes: Lanes) -> DeviceUnavailableError:
    needed = weight(block, annotator.width) * device_bytes(annotator.value_bytes)
    return DeviceUnavailableError(
        f"{lanes.device} has too little memory for {len(block.rows):,} cells with {len(block.value):,} values: "
        f"{lanes.free_bytes() / 1e6:,.0f} MB are free",
        expected=f"{needed / 1e6:,.0f} MB for one block",
        where=str(block.rows),
        hint="Check that nothing else fills the GPU's memory, or use a GPU with more.",
    )
