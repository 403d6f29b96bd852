"""The merge: parts of one submission, streamed in row order as groups with fixed absolute boundaries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa

from jobs.inference.merge.calls import Calls, Vocabulary, annotation_table, calls_from
from jobs.inference.parts.part import PartLayout, read_part
from shared.domain.errors import InternalError
from shared.domain.geometry import BLOCK_ROWS, Rows
from shared.domain.submission import Receipt
from shared.ports.blobs import BlobStore

GROUP_ROWS = 65_536
"""Rows of a row group; a multiple of BLOCK_ROWS, so that no block is ever cut."""


@dataclass(frozen=True, slots=True)
class Group:
    """A run of merged cells; ``rows.start`` is a multiple of the group size.

    Attributes:
        batches: As they lie in the parts, for the columns that ``calls`` leaves out.
    """

    rows: Rows
    batches: list[pa.RecordBatch]
    calls: Calls


@dataclass(frozen=True, slots=True)
class Merge:
    """A submission's whole set of parts; every pass streams them anew and checks every byte against its receipt.

    One part or a hundred give the same groups. A pass holds one group at a time.

    Attributes:
        receipts: In row order and without gaps, as ``ordered`` returns them.
        min_score: Below it a cell abstains; None never.
    """

    store: BlobStore
    receipts: tuple[Receipt, ...]
    layout: PartLayout
    vocabulary: Vocabulary
    min_score: float | None = None

    def groups(self, group_rows: int = GROUP_ROWS) -> Iterator[Group]:
        """The cells in row order, ``group_rows`` at a time, which is a multiple of BLOCK_ROWS.

        Raises:
            CorruptBlobError: A part that is not what its receipt says; known at the latest after the last group.
            BlobNotFoundError: A part that is gone.
        """
        start = stop = 0
        held: list[pa.RecordBatch] = []
        for batch in self._batches():
            held.append(batch)
            stop += batch.num_rows
            if stop - start == group_rows:
                yield self._group(Rows(start, stop), held)
                start, held = stop, []
        if held:
            yield self._group(Rows(start, stop), held)

    def tables(self) -> Iterator[pa.Table]:
        """The annotation table, a row group at a time.

        Raises:
            CorruptBlobError: As ``groups``.
            BlobNotFoundError: As ``groups``.
        """
        for group in self.groups():
            yield annotation_table(group.calls, self.vocabulary, self.layout.top_k)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        for receipt in self.receipts:
            yield from read_part(self.store, receipt, self.layout)

    def _group(self, rows: Rows, batches: list[pa.RecordBatch]) -> Group:
        return Group(rows, batches, calls_from(batches, self.min_score))


def ordered(receipts: Iterable[Receipt], n_cells: int) -> tuple[Receipt, ...]:
    """Receipts in row order, once they are known to cover every cell exactly once.

    Raises:
        InternalError: A gap, an overlap, or a part that does not begin at a block.
    """
    in_order = tuple(sorted(receipts, key=lambda receipt: (receipt.rows.start, receipt.rows.stop)))
    covered = 0
    for receipt in in_order:
        if receipt.rows.start != covered or (len(receipt.rows) and covered % BLOCK_ROWS):
            raise InternalError(
                f"a part of rows {receipt.rows.start} to {receipt.rows.stop}", expected=f"row {covered}"
            )
        covered = receipt.rows.stop
    if covered != n_cells:
        raise InternalError(f"parts of {covered:,} cells", expected=f"{n_cells:,}")
    return in_order
