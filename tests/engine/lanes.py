"""Lanes without a GPU: one that does all at once, and one that puts everything off."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import torch

from jobs.engine.lanes import Work

CPU = torch.device("cpu")


@dataclass
class PlainLanes:
    """Everything is done when it is queued. Keeps a diary of the batches: queued, waited for, released."""

    device: torch.device = CPU
    diary: list[str] = field(default_factory=list)
    queued: int = 0

    def host(self, size: int, dtype: torch.dtype) -> torch.Tensor:
        return torch.empty(size, dtype=dtype)

    def queue(self, work: Work) -> Batch:
        work.copy_in()
        work.compute()
        work.copy_out()
        return self._noted()

    def free_bytes(self) -> int:
        return 1_000_000

    def release(self) -> None:
        self.diary.append("release")

    def _noted(self) -> Batch:
        self.queued += 1
        self.diary.append(f"queue {self.queued}")
        return Batch(self, self.queued)

    def reach(self, number: int) -> None:
        self.diary.append(f"wait {number}")


@dataclass(frozen=True)
class Batch:
    lanes: PlainLanes
    number: int

    def synchronize(self) -> None:
        self.lanes.reach(self.number)


@dataclass
class LateLanes(PlainLanes):
    """As slow as a device can be: nothing is even copied in before somebody waits for it."""

    late: deque[tuple[int, Work]] = field(default_factory=deque)

    def queue(self, work: Work) -> Batch:
        batch = self._noted()
        self.late.append((batch.number, work))
        return batch

    @torch.inference_mode()
    def reach(self, number: int) -> None:
        super().reach(number)
        while self.late and self.late[0][0] <= number:
            _, work = self.late.popleft()
            work.copy_in()
            work.compute()
            work.copy_out()

    def release(self) -> None:
        super().release()
        assert not self.late
