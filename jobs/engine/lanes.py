"""Queues for the steps of a batch on a GPU, so that one batch is copied while another is computed."""

from __future__ import annotations

from typing import Protocol

import torch


class Work(Protocol):
    """The three steps of a batch. Each only queues work on the device, and does not wait for it."""

    def copy_in(self) -> None:
        """Copy the cells from the host to the device."""
        ...

    def compute(self) -> None:
        """Compute the scores on the device."""
        ...

    def copy_out(self) -> None:
        """Copy the scores back to the host."""
        ...


class Completion(Protocol):
    """The completion of a batch."""

    def synchronize(self) -> None:
        """Wait until the batch is complete."""
        ...


class Lanes(Protocol):
    """A device that runs batches. The steps of a batch run in order; the steps of different batches may overlap."""

    @property
    def device(self) -> torch.device:
        """The device to compute on."""
        ...

    def host(self, size: int, dtype: torch.dtype) -> torch.Tensor:
        """Allocate host memory that the device can copy from and to without the CPU."""
        ...

    def queue(self, work: Work) -> Completion:
        """Queue a batch without waiting for it.

        Raises:
            torch.OutOfMemoryError: The device has too little free memory. Ignore the steps that were already queued.
        """
        ...

    def free_bytes(self) -> int:
        """Free memory of the device, in bytes."""
        ...

    def release(self) -> None:
        """Wait for all queued work, then release cached memory."""
        ...


class CudaLanes:
    """Three CUDA streams: for copying in, computing and copying out.

    A GPU copies in both directions at once. On a shared stream, the next batch's copy in would wait behind a copy out,
    which itself waits for its batch's computation.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._in, self._computing, self._out = (_stream(device) for _ in range(3))

    def host(self, size: int, dtype: torch.dtype) -> torch.Tensor:
        """Allocate pinned memory. From other memory, the CPU would do the copy, and wait for it."""
        return torch.empty(size, dtype=dtype, pin_memory=True)

    def queue(self, work: Work) -> Completion:
        """See ``Lanes``. ``wait_stream`` makes the device wait, not the host."""
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
        """Free memory as the driver reports it, which takes other processes into account."""
        free, _ = torch.cuda.mem_get_info(self.device)
        return free

    def release(self) -> None:
        """See ``Lanes``."""
        torch.cuda.synchronize(self.device)
        torch.cuda.empty_cache()


def _stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch leaves it untyped


def _end_of(stream: torch.cuda.Stream) -> torch.cuda.Event:
    # A thread that waits for a blocking event sleeps, so that the host's cores can decompress the next chunks.
    over = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    over.record(stream)
    return over
