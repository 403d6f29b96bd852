"""Where the steps of a batch are queued, so that one batch is copied while another is computed."""

from __future__ import annotations

from typing import Protocol

import torch


class Work(Protocol):
    """A batch's three steps; each only gives the device something to do."""

    def copy_in(self) -> None:
        """From the host's memory to the device's."""
        ...

    def compute(self) -> None:
        """On the device."""
        ...

    def copy_out(self) -> None:
        """Back to the host's memory."""
        ...


class Completion(Protocol):
    """The end of a batch."""

    def synchronize(self) -> None:
        """Wait for it."""
        ...


class Lanes(Protocol):
    """A device to which batches are given: of one batch each step waits for the one before, of two none does."""

    @property
    def device(self) -> torch.device:
        """Where is computed."""
        ...

    def host(self, size: int, dtype: torch.dtype) -> torch.Tensor:
        """Memory of the host from which, and to which, the device copies without the processor."""
        ...

    def queue(self, work: Work) -> Completion:
        """Give a batch to the device, without waiting for it.

        Raises:
            torch.OutOfMemoryError: There is no room; what was queued of the batch is to be forgotten.
        """
        ...

    def free_bytes(self) -> int:
        """The device's free memory."""
        ...

    def release(self) -> None:
        """Wait for all that was queued, then give back what is kept for later."""
        ...


class CudaLanes:
    """Three streams of a GPU.

    The way out has a stream of its own: behind a copy out, which waits for its batch's computing, the next batch's copy
    in would wait, too. A GPU copies in both directions at once.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._in, self._computing, self._out = (_stream(device) for _ in range(3))

    def host(self, size: int, dtype: torch.dtype) -> torch.Tensor:
        """Pinned memory: out of any other a copy is done by the processor, which waits for it."""
        return torch.empty(size, dtype=dtype, pin_memory=True)

    def queue(self, work: Work) -> Completion:
        """As the protocol says: ``wait_stream`` makes the device wait for an event, not the host."""
        with torch.cuda.stream(self._in):
            work.copy_in()
        self._computing.wait_stream(self._in)
        with torch.cuda.stream(self._computing):
            work.compute()
        self._out.wait_stream(self._computing)
        with torch.cuda.stream(self._out):
            work.copy_out()
        return _end_of(self._out)

    def free_bytes(self) -> int:
        """As the driver says, other processes considered."""
        free, _ = torch.cuda.mem_get_info(self.device)
        return free

    def release(self) -> None:
        """As the protocol says."""
        torch.cuda.synchronize(self.device)
        torch.cuda.empty_cache()


def _stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch leaves it untyped


def _end_of(stream: torch.cuda.Stream) -> torch.cuda.Event:
    # Who waits for a blocking event sleeps: the host's cores inflate what comes next.
    over = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    over.record(stream)
    return over
