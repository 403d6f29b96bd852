"""The stand-in for annotating and merging: a few bytes that say where they come from, in as many port calls."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import google_crc32c

from shared.domain.errors import CorruptBlobError, InternalError, StaleWorkerError
from shared.domain.geometry import Rows
from shared.domain.submission import ObjectRef, Receipt, Result, Submission
from shared.h5ad.source import BlobSource
from shared.ports.blobs import BlobStore, ByteRange
from tests.simulation.world import World

MOST_BLOCK_S = 4.0
MOST_FILE_S = 6.0
MOST_INPUT_BYTES = 100


SLOW_FILE_S = (130.0, 240.0)
"""While a merge is slow: longer than the finalizer's lease, 120 s, and without a beat."""


def _nothing(*_: str) -> None:
    return


@dataclass(slots=True)
class Pace:
    """How the computing goes; the faults turn these knobs.

    Attributes:
        slow_until_s: Until then, each file of a merge takes longer than its lease.
        broken: Submissions with which something of ours goes wrong, each time.
        native: Submissions whose cells crash the process, each time.
        merging: Merges that are at work.
    """

    slow_until_s: float = 0.0
    broken: set[str] = field(default_factory=set)
    native: set[str] = field(default_factory=set)
    merging: int = 0


@dataclass(frozen=True, slots=True)
class Tracer:
    """A computation whose results tell which attempt computed which rows from which bytes.

    Attributes:
        crash: Has the running process die of a native fault, and the platform learn where.
        slowed: Learns that the running process takes longer than its lease for a file.
    """

    world: World
    blobs: BlobStore
    pace: Pace = field(default_factory=Pace, kw_only=True)
    crash: Callable[[str], None] = field(default=_nothing, kw_only=True)
    slowed: Callable[[], None] = field(default=_nothing, kw_only=True)

    def annotate(self, record: Submission, rows: Rows, part_name: str, beat: Callable[[int], None]) -> Receipt:
        """As the protocol says: reads the pinned input block by block, and writes one part."""
        seen: list[str] = []
        for block in rows.blocks():
            self._break_on(record)
            seen.append(self.read(record.source))
            self.world.sleep(self.world.between(0.1, MOST_BLOCK_S))
            beat(block.stop - rows.start)
        told = {"part": part_name, "rows": [rows.start, rows.stop], "input": seen, "at": self.world.now_s}
        info = self.blobs.write("work", part_name, [json.dumps(told).encode()], if_generation=0)
        assert info.crc32c is not None
        return Receipt(info.ref, info.size_bytes, info.crc32c, rows)

    def merge(self, record: Submission, receipts: Sequence[Receipt], prefix: str, beat: Callable[[], None]) -> Result:
        """As the protocol says: reads every part, checks it, and writes two files."""
        self.pace.merging += 1
        try:
            return self._merge(record, receipts, prefix, beat)
        except StaleWorkerError:
            raise
        except Exception:
            self.world.failed()
            raise
        finally:
            self.pace.merging -= 1

    def _merge(self, record: Submission, receipts: Sequence[Receipt], prefix: str, beat: Callable[[], None]) -> Result:
        seen = self.read(record.source)
        parts = []
        for receipt in receipts:
            self._work()
            beat()
            self._break_on(record)
            parts.append(self._part(receipt))
        annotations = self.blobs.write(
            "results", f"{prefix}annotations.parquet", [json.dumps(parts).encode()], if_generation=0
        )
        self._work()
        beat()
        named: dict[str, Any] = {
            "submission": record.id,
            "input": seen,
            "annotations": [annotations.ref.name, annotations.ref.generation],
            "parts": [[part.part.name, part.part.generation, part.crc32c] for part in receipts],
        }
        manifest = self.blobs.write("results", f"{prefix}manifest.json", [json.dumps(named).encode()], if_generation=0)
        return Result("results", prefix, manifest.ref, {"n_parts": len(parts)})

    def discard(self, prefix: str) -> None:
        """As the protocol says."""
        for info in list(self.blobs.list("results", prefix)):
            self.blobs.delete("results", info.ref.name)

    def read(self, ref: ObjectRef) -> str:
        """The bytes of the pinned generation, or InputChangedError."""
        return BlobSource(self.blobs, ref, MOST_INPUT_BYTES).read(ByteRange(0, MOST_INPUT_BYTES)).decode()

    def _work(self) -> None:
        if slow := self.world.now_s < self.pace.slow_until_s:
            self.slowed()
        self.world.sleep(self.world.between(*(SLOW_FILE_S if slow else (0.1, MOST_FILE_S))))

    def _break_on(self, record: Submission) -> None:
        if record.id in self.pace.broken:
            raise InternalError("an invariant did not hold", expected="it to hold")
        if record.id in self.pace.native:
            self.crash("SIGSEGV in inflate")

    def _part(self, receipt: Receipt) -> Any:
        data = self.blobs.read(receipt.part)
        if len(data) != receipt.size_bytes or google_crc32c.value(data) != receipt.crc32c:
            raise CorruptBlobError("a part is not what its receipt says", where=receipt.part.name)
        return json.loads(data)
