"""Merges the parts of a submission: streams their cells in row order, in groups with fixed row boundaries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import pyarrow as pa

from jobs.inference.merge.calls import Calls, Rules, Vocabulary, calls_from
from jobs.inference.merge.clusters import Membership
from jobs.inference.merge.columns import annotation_table
from jobs.inference.merge.coverage import Coverage, EmptyGenes
from jobs.inference.parts.arrays import F32Array
from jobs.inference.parts.others import as_if_alone
from jobs.inference.parts.part import PartLayout, places_of, read_part
from shared.domain.errors import InternalError
from shared.domain.geometry import BLOCK_ROWS, GROUP_ROWS, Rows
from shared.domain.submission import Receipt
from shared.ports.blobs import BlobStore

_PIECE_ROWS = 16 * BLOCK_ROWS

_PLAIN = Rules()


@dataclass(frozen=True, slots=True)
class Group:
    """Consecutive merged cells; ``rows.start`` is a multiple of the group size.

    Attributes:
        batches: The batches of the parts, for the columns that ``calls`` leaves out.
    """

    rows: Rows
    batches: list[pa.RecordBatch]
    calls: Calls


@dataclass(frozen=True, slots=True)
class Merge:
    """All parts of a submission. Every pass streams them again, and checks every part against its receipt.

    The groups do not depend on the number of parts. A pass holds one group at a time; rules may hold 4 bytes per cell
    for clusters, and 4 for the samples of a composition.

    Attributes:
        receipts: In row order and without gaps, as returned by ``ordered``.
        rules: How scores become calls.
        other: Whose scores these are: the place of a further model of a consensus; None for the model itself.
        empty: The genes that the file has by name only; None if there are none, or nobody has looked.
    """

    store: BlobStore
    receipts: tuple[Receipt, ...]
    layout: PartLayout
    vocabulary: Vocabulary
    rules: Rules = _PLAIN
    other: int | None = None
    empty: EmptyGenes | None = None

    @property
    def coverage(self) -> Coverage:
        """How much of the model's features the file has."""
        place = 0 if self.other is None else self.other + 1
        named = next((one.coverage[place] for one in self.receipts if place < len(one.coverage)), None)
        return Coverage(named, self.empty)

    def groups(self, group_rows: int = GROUP_ROWS) -> Iterator[Group]:
        """The cells in row order, in groups of ``group_rows``, a multiple of BLOCK_ROWS.

        Raises:
            CorruptBlobError: A part does not match its receipt. Raised after its last group at the latest.
            BlobNotFoundError: A part is gone.
        """
        start = stop = 0
        held: list[pa.RecordBatch] = []
        for batch in self.batches():
            held.append(batch)
            stop += batch.num_rows
            if stop - start == group_rows:
                yield self.group(Rows(start, stop), held)
                start, held = stop, []
        if held:
            yield self.group(Rows(start, stop), held)

    def tables(self) -> Iterator[pa.Table]:
        """The annotation table, one row group at a time.

        Raises:
            CorruptBlobError: As in ``groups``.
            BlobNotFoundError: As in ``groups``.
        """
        for group in self.groups():
            yield annotation_table(group.calls, self.vocabulary, self.layout.top_k)

    def coordinates(self) -> Iterator[F32Array]:
        """The cells' embedding, cells x dimensions, in pieces.

        Raises:
            CorruptBlobError: As in ``groups``.
            BlobNotFoundError: As in ``groups``.
        """
        held: list[pa.RecordBatch] = []
        for batch in self.batches():
            held.append(batch)
            if sum(one.num_rows for one in held) >= _PIECE_ROWS:
                yield places_of(held)
                held = []
        if held:
            yield places_of(held)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The batches of all parts, in row order.

        Raises:
            CorruptBlobError: As in ``groups``.
            BlobNotFoundError: As in ``groups``.
        """
        for receipt in self.receipts:
            yield from read_part(self.store, receipt, self.layout)

    def group(self, rows: Rows, batches: list[pa.RecordBatch]) -> Group:
        """Make a group of the batches of these rows."""
        own = batches if self.other is None else [as_if_alone(batch, self.other) for batch in batches]
        calls, clusters = calls_from(own, self.rules, self.vocabulary, rows.start), self.rules.clusters
        if clusters is not None:
            calls = replace(calls, membership=Membership(clusters.code_n[rows.start : rows.stop], clusters))
        return Group(rows, batches, calls)


def ordered(receipts: Iterable[Receipt], n_cells: int) -> tuple[Receipt, ...]:
    """Sort receipts by row, and check that they cover every cell exactly once.

    Raises:
        InternalError: There is a gap or an overlap, or a part does not start at a block.
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
