"""How metered tasks run: all have begun before any computes, by the measurer's clock, over a store of checksums."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import google_crc32c
from typing_extensions import override

from jobs.inference.task.protocol import Computation
from shared.domain.geometry import Rows
from shared.domain.submission import Receipt, Result, Submission
from shared.ports.blobs import BlobInfo
from tests.fakes.counted import CountedBlobStore


class SummedBlobStore(CountedBlobStore):
    """Knows the checksum of every object, as Cloud Storage does; a folder would have the merge read the file for it."""

    @override
    def stat(self, bucket: str, name: str) -> BlobInfo:
        info = super().stat(bucket, name)
        if info.crc32c is None:
            info = replace(info, crc32c=google_crc32c.value(self.inner.read(info.ref)))
        return info


class Gate:
    """Where tasks wait for the last to have begun."""

    def __init__(self, n: int) -> None:
        self._arrived = 0
        self._n = n
        self._changed = threading.Condition()
        self._open = threading.Event()

    def arrive(self) -> None:
        """One more has begun, or will not."""
        with self._changed:
            self._arrived += 1
            self._changed.notify_all()

    def wait_for(self, n: int) -> None:
        """Until so many have arrived."""
        with self._changed:
            self._changed.wait_for(lambda: self._arrived >= n)

    def let_go(self) -> None:
        """Let everybody through, now and later."""
        self._open.set()

    def pass_through(self) -> None:
        """Arrive, and wait to be let go."""
        self.arrive()
        self._open.wait()


@dataclass(frozen=True)
class Together(Computation):
    """The real computation, begun together and done one at a time: memory is this machine's, not a cloud's.

    Attributes:
        beats: Shown by each task and by the merge, whatever more the time that they take calls for.
    """

    inner: Computation
    gate: Gate
    lock: threading.Lock
    beats: int = 0

    def annotate(self, record: Submission, rows: Rows, part_name: str, beat: Callable[[int], None]) -> Receipt:
        """As the protocol says."""
        self.gate.pass_through()
        for _ in range(self.beats):
            beat(0)
        with self.lock:
            return self.inner.annotate(record, rows, part_name, beat)

    def merge(self, record: Submission, receipts: Sequence[Receipt], prefix: str, beat: Callable[[], None]) -> Result:
        """As the protocol says."""
        for _ in range(self.beats):
            beat()
        with self.lock:
            return self.inner.merge(record, receipts, prefix, beat)

    def discard(self, prefix: str) -> None:
        """As the protocol says."""
        self.inner.discard(prefix)


class Always:
    """A clock that moves by the same step at every reading."""

    def __init__(self, step_s: float) -> None:
        self._now_s = 0.0
        self._step_s = step_s

    def __call__(self) -> float:
        """Seconds."""
        self._now_s += self._step_s
        return self._now_s
