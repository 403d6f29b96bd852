"""A computation that costs nothing and hides nothing: every row says who wrote it, and the merge believes nobody."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import google_crc32c

from jobs.inference.task.protocol import Computation, TaskIdentity
from shared.domain.errors import BlobNotFoundError, CorruptBlobError, InputChangedError, InternalError
from shared.domain.geometry import Rows
from shared.domain.outputs import MANIFEST
from shared.domain.submission import Receipt, Result, Submission
from shared.ports.blobs import BlobStore

ROWS_NAME = "rows.jsonl"


@dataclass(frozen=True, slots=True)
class Ledger(Computation):
    """Rows that are told, block by block, as the engine would compute them.

    Attributes:
        block_s: What a block takes: time for a killer to come.
    """

    blobs: BlobStore
    me: TaskIdentity
    work_bucket: str
    results_bucket: str
    block_s: float = 0.0

    def annotate(self, record: Submission, rows: Rows, part_name: str, beat: Callable[[int], None]) -> Receipt:
        self._check_input(record)
        told = self._told(record, rows, beat)
        info = self.blobs.write(self.work_bucket, part_name, told, if_generation=0)
        assert info.crc32c is not None
        return Receipt(info.ref, info.size_bytes, info.crc32c, rows)

    def merge(self, record: Submission, receipts: Sequence[Receipt], prefix: str, beat: Callable[[], None]) -> Result:
        self._check_input(record)
        merged = self._merged(record, receipts, beat)
        rows = self.blobs.write(self.results_bucket, f"{prefix}{ROWS_NAME}", merged, if_generation=0)
        content = {"id": record.id, "epoch": record.epoch, "rows": rows.ref.name, "crc32c": rows.crc32c}
        name = f"{prefix}{MANIFEST.name}"
        manifest = self.blobs.write(self.results_bucket, name, [json.dumps(content).encode()], if_generation=0)
        return Result(self.results_bucket, prefix, manifest.ref, {"n_bytes": rows.size_bytes})

    def discard(self, prefix: str) -> None:
        for info in list(self.blobs.list(self.results_bucket, prefix)):
            self.blobs.delete(self.results_bucket, info.ref.name)

    def _check_input(self, record: Submission) -> None:
        try:
            info = self.blobs.stat(record.source.bucket, record.source.name)
        except BlobNotFoundError as error:
            raise InputChangedError("the object is gone") from error
        if info.ref != record.source:
            raise InputChangedError("the object was replaced")

    def _told(self, record: Submission, rows: Rows, beat: Callable[[int], None]) -> Iterator[bytes]:
        who = {
            "epoch": self.me.epoch,
            "execution": self.me.execution,
            "attempt": self.me.attempt,
            "generation": record.source.generation,
        }
        for block in rows.blocks():
            time.sleep(self.block_s)
            yield b"".join(json.dumps({"row": row, **who}).encode() + b"\n" for row in range(block.start, block.stop))
            beat(block.stop - rows.start)

    def _merged(self, record: Submission, receipts: Sequence[Receipt], beat: Callable[[], None]) -> Iterator[bytes]:
        covered = 0
        for receipt in sorted(receipts, key=lambda receipt: receipt.rows.start):
            beat()
            content = self.blobs.read(receipt.part)
            if google_crc32c.value(content) != receipt.crc32c:
                raise CorruptBlobError("a part is not what its receipt says", where=receipt.part.name)
            if receipt.rows.start != covered:
                raise InternalError(f"a part begins at row {receipt.rows.start}", expected=f"row {covered}")
            time.sleep(self.block_s)
            yield content
            covered = receipt.rows.stop
        assert record.plan is not None
        if covered != record.plan.n_cells:
            raise InternalError(f"parts of {covered} rows", expected=f"{record.plan.n_cells}")
