"""Blocks of cells in, their scores out, in the way that suits the device."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

import torch

from jobs.engine.annotator import Annotator, BlockScores, CellBlock
from jobs.engine.batches import N_SETS, Gathering, batch_limit, device_bytes, weight
from jobs.engine.buffers import BufferSet
from jobs.engine.lanes import Completion, CudaLanes, Lanes
from shared.domain.errors import DeviceUnavailableError
from shared.telemetry import event

log = logging.getLogger(__name__)

Result = TypeVar("Result")


class Reading(Protocol):
    """Blocks as they are read, each handed to a function, by one of the reader's threads where it has several."""

    def __call__(self, then: Callable[[CellBlock], Result], /) -> Iterator[Result]:
        """What the function makes of each, in order."""
        ...


def scored(read: Reading, annotator: Annotator) -> Iterator[BlockScores]:
    """The scores of each block, in order and each once; lazy.

    On a CPU block by block, by the thread that read it. On a GPU in batches, see ``Stream``; the scores of a cell do
    not depend on the batch that it is in.

    Raises:
        DeviceUnavailableError: The GPU has no room for a single block.
    """
    if annotator.device.type != "cuda":
        return read(annotator.annotate)
    lanes = CudaLanes(annotator.device)
    free_bytes = lanes.free_bytes()
    limit = batch_limit(free_bytes, annotator.arithmetic)
    event(log, "batch found", limit=limit, free_bytes=free_bytes)
    return Stream(annotator, lanes, limit).scores(read(lambda block: block))


class Stream:
    """A device that is kept busy: while a batch is computed the next one is queued, and the one before handed out.

    The host waits for the device in one place only, for the batch before last, when the last was queued already. At
    most ``N_SETS`` batches and one block were read and not yet handed out.

    Args:
        limit: What a batch may weigh (``batches.weight``); it is halved when the device runs out of memory.
    """

    def __init__(self, annotator: Annotator, lanes: Lanes, limit: int) -> None:
        self._annotator = annotator
        self._lanes = lanes
        self._limit = limit
        self._idle = self._sets()
        self._flying: deque[tuple[BufferSet, Completion]] = deque()
        self._cleared = False

    def scores(self, blocks: Iterable[CellBlock]) -> Iterator[BlockScores]:
        """As ``scored`` says.

        Raises:
            DeviceUnavailableError: No room for a single block.
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
        finally:  # Nobody may want the rest; what the device still writes to must not be freed before.
            for _, over in self._flying:
                over.synchronize()

    def _sets(self) -> list[BufferSet]:
        return [BufferSet(self._annotator, self._lanes) for _ in range(N_SETS)]

    @torch.inference_mode()
    def _queue(self, batch: list[CellBlock]) -> bool:
        """Whether there was room for the batch; where not, nothing came of it."""
        buffers = self._idle.pop()
        buffers.fill(batch)
        try:
            over = self._lanes.queue(buffers)
        except torch.OutOfMemoryError:
            return False  # What is to be done waits until the error is gone: it holds the memory of what failed.
        self._flying.append((buffers, over))
        self._cleared = False
        return True

    def _hand_out(self) -> Iterator[BlockScores]:
        buffers, over = self._flying.popleft()
        over.synchronize()
        yield from buffers.scores()
        self._idle.append(buffers)

    def _make_room(self, batch: list[CellBlock]) -> Iterator[BlockScores]:
        """Hand out what is in flight, let go of all memory, and ask for half of the batch from now on."""
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
    needed = weight(block, annotator.width) * device_bytes(annotator.arithmetic)
    return DeviceUnavailableError(
        f"{lanes.device} has no room for {len(block.rows):,} cells of {len(block.value):,} values; "
        f"{lanes.free_bytes() / 1e6:,.0f} MB of its memory are free",
        expected=f"{needed / 1e6:,.0f} MB for one block",
        where=str(block.rows),
        hint="See that nothing else fills the GPU's memory, or use one that has more.",
    )
