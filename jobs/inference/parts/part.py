"""The part file: the scores that a task attempt wrote for its rows, as an Arrow IPC file with a batch per block."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import google_crc32c
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.ipc

from jobs.engine.facts import STEPS, CellFacts
from jobs.engine.sampling import NO_CELLS, SampledCells, every
from jobs.inference.parts.arrays import F32Array, column_of, fixed_lists, text_column, values_of
from jobs.inference.parts.others import OtherLayout, OtherScores
from jobs.inference.parts.ranking import best_first
from jobs.inference.parts.sink import ChunkSink
from shared.domain.errors import CelldropError, CorruptBlobError, InternalError
from shared.domain.geometry import Rows
from shared.domain.submission import Receipt
from shared.ports.blobs import BlobStore, ByteRange

CONTENT_TYPE = "application/vnd.apache.arrow.file"
MAP_CELLS = 3000
FORMAT = b"6"
_CHUNK_BYTES = 1 << 20
_READ_BYTES = 4 << 20
_MAGIC_BYTES = 8
_START = b"start"

FACTS: Mapping[str, pa.Field] = {
    "total_n": pa.field("n_counts", pa.float32()),
    "n_genes_n": pa.field("n_genes", pa.int32(), nullable=False),
    "note_n": pa.field("note", pa.uint8(), nullable=False),
    "unfamiliarity_n": pa.field("unfamiliarity", pa.float32()),
    "mito_n": pa.field("mito_share", pa.float32()),
}
"""The column of each field of ``CellFacts``. Nulls are read as NaN."""


@dataclass(frozen=True, slots=True)
class PartLayout:
    """The layout of the parts of a submission, which is the same for any number of tasks.

    Attributes:
        n_cells: Number of cells of the whole file.
        top_k: The requested number of labels for each cell.
        full: Whether all labels' probabilities are kept, as ``scores=full`` asks or the model needs.
        dimensions: Number of coordinates of the embedding that are kept for each cell; 0 for none.
        n_features: Number of the model's features, of which the sampled rows keep the expressed ones.
        others: What is kept of the further models of a consensus.
    """

    n_cells: int
    n_labels: int
    top_k: int
    full: bool = False
    dimensions: int = 0
    n_features: int = 0
    others: tuple[OtherLayout, ...] = ()

    @property
    def kept(self) -> int:
        """The number of labels kept for each cell: ``top_k``, but at least the two best."""
        return min(max(self.top_k, 2), self.n_labels)

    @property
    def map_stride(self) -> int:
        """The distance between rows that are sampled for the map and the evidence, at most ``MAP_CELLS`` in all."""
        return max(1, -(-self.n_cells // MAP_CELLS))

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema. Labels are indices into the model's labels, best first, not names."""
        index = pa.int16() if self.n_labels <= np.iinfo(np.int16).max else pa.int32()
        feature = pa.uint16() if self.n_features <= np.iinfo(np.uint16).max else pa.int32()
        fields = [
            pa.field("cell_id", pa.string(), nullable=False),
            pa.field("top_label", pa.list_(index, self.kept), nullable=False),
            pa.field("top_score", pa.list_(pa.float32(), self.kept), nullable=False),
            *FACTS.values(),
            pa.field("decision", pa.list_(pa.float32())),
            pa.field("feature", pa.list_(feature)),
            pa.field("expression", pa.list_(pa.float32())),
            pa.field("genes", pa.list_(pa.string())),
        ]
        if self.full:
            fields.append(pa.field("probability", pa.list_(pa.float32(), self.n_labels), nullable=False))
        if self.dimensions:
            fields.append(pa.field("embedding", pa.list_(pa.int16(), self.dimensions), nullable=False))
        for place, other in enumerate(self.others):
            fields += other.fields(place)
        return pa.schema(fields, metadata={b"celldrop.part": FORMAT})


@dataclass(frozen=True, slots=True)
class AnnotatedBlock:
    """The scores of one block, ready to be written.

    Attributes:
        probability_nl: Probabilities, cells x labels, float32, 0 to 1.
        decision_nl: Decision scores, cells x labels, float32. They rank the labels.
        facts: The cells' facts. The totals are None if the matrix has no counts.
        embedding_nd: Coordinates, cells x dimensions, int16; None if the layout keeps none.
        sampled: The expression of the sampled cells; None if there is none.
        genes: With the block of row 0, the file's name of each feature, which spares the merge reading them; None for a
            feature that the file lacks.
        others: The scores of the further models of a consensus.
    """

    rows: Rows
    cell_ids: list[str]
    probability_nl: F32Array
    decision_nl: F32Array
    facts: CellFacts
    embedding_nd: npt.NDArray[np.int16] | None = None
    sampled: SampledCells | None = None
    genes: tuple[str | None, ...] | None = None
    others: tuple[OtherScores, ...] = ()

    def __post_init__(self) -> None:
        n_cells = len(self.rows)
        lengths = {len(self.cell_ids), len(self.probability_nl), len(self.decision_nl), len(self.facts.n_genes_n)}
        if lengths != {n_cells} or self.probability_nl.shape != self.decision_nl.shape:
            raise InternalError(f"a block of rows {self.rows} with columns of {sorted(lengths)} rows")


def iter_part(blocks: Iterable[AnnotatedBlock], layout: PartLayout) -> Iterator[bytes]:
    """Stream the bytes of a part while blocks arrive. Holds one block and at most 1 MiB.

    The same blocks give the same bytes.

    Args:
        blocks: In row order and without gaps.

    Raises:
        InternalError: A block does not start where the previous one ends.
    """
    sink = ChunkSink()
    schema = layout.schema
    expected: int | None = None
    with pa.ipc.new_file(sink, schema) as writer:
        for block in blocks:
            if expected is not None and block.rows.start != expected:
                raise InternalError(f"a block starts at row {block.rows.start}", expected=f"row {expected}")
            expected = block.rows.stop
            writer.write_batch(_batch(block, layout, schema), custom_metadata={_START: b"%d" % block.rows.start})
            if sink.pending_bytes >= _CHUNK_BYTES:
                yield sink.drain()
    yield sink.drain()


def read_part(store: BlobStore, receipt: Receipt, layout: PartLayout) -> Iterator[pa.RecordBatch]:
    """Stream a part's blocks in row order, from the generation in the receipt.

    The checksum is only verified after the last batch, so the caller must not publish anything before.

    Raises:
        CorruptBlobError: The bytes, columns or rows do not match the receipt and the layout.
        BlobNotFoundError: That generation is gone.
    """
    stream = _CheckedStream(store, receipt)
    try:
        yield from _batches(stream, receipt, layout)
    except (pa.ArrowException, OSError, ValueError) as error:
        stream.finish()
        raise _corrupt(receipt, f"a part that cannot be read: {error}") from error
    stream.finish()


def top_labels(block: AnnotatedBlock, kept: int) -> tuple[npt.NDArray[np.int64], F32Array]:
    """The best labels of each cell and their probabilities, by decision score, ties in the model's order.

    Returns:
        Indices of labels and their probabilities, both cells x kept.
    """
    order_nk = best_first(block.decision_nl, kept)
    return order_nk, np.take_along_axis(block.probability_nl, order_nk, axis=1)


def _batch(block: AnnotatedBlock, layout: PartLayout, schema: pa.Schema) -> pa.RecordBatch:
    order_nk, score_nk = top_labels(block, layout.kept)
    columns = [
        text_column(block.cell_ids),
        fixed_lists(order_nk, schema.field("top_label").type),
        fixed_lists(score_nk, schema.field("top_score").type),
        *(_fact(block, name, field.type) for name, field in FACTS.items()),
        _sampled(block, layout.map_stride),
        *_expression(block, schema.field("feature").type),
        _genes(block),
    ]
    if layout.full:
        columns.append(fixed_lists(block.probability_nl, schema.field("probability").type))
    if layout.dimensions:
        assert block.embedding_nd is not None
        columns.append(fixed_lists(block.embedding_nd, schema.field("embedding").type))
    for scores, other in zip(block.others, layout.others, strict=True):
        columns += scores.columns(other)
    return pa.record_batch(columns, schema=schema)


def facts_from(table: pa.Table) -> CellFacts:
    """The facts in the columns of a part."""
    columns = {name: table[field.name].combine_chunks() for name, field in FACTS.items()}
    return CellFacts(**{name: values_of(column, np.nan) for name, column in columns.items()})


def coordinates_of(batch: pa.RecordBatch) -> npt.NDArray[np.int16]:
    """The coordinates of a batch's cells in steps, cells x dimensions."""
    coordinates: npt.NDArray[np.int16] = values_of(batch["embedding"].flatten()).reshape(batch.num_rows, -1)
    return coordinates


def places_of(batches: Iterable[pa.RecordBatch]) -> F32Array:
    """The coordinates of the cells of some batches, cells x dimensions."""
    return np.concatenate([coordinates_of(batch) for batch in batches]).astype(np.float32) / np.float32(STEPS)


def names_in_file(batch: pa.RecordBatch) -> tuple[str | None, ...]:
    """The file's names of the features, in the first row of the first part; None for a feature that it lacks."""
    names = batch["genes"].slice(0, 1).to_pylist()[0] or ()
    return tuple(name or None for name in names)


def _fact(block: AnnotatedBlock, name: str, kind: pa.DataType) -> pa.Array:
    values_n = getattr(block.facts, name)
    return pa.nulls(len(block.rows), kind) if values_n is None else column_of(values_n)


def _sampled(block: AnnotatedBlock, stride: int) -> pa.Array:
    """Decision scores of the sampled rows, null for the others: a null in a variable-size list takes no space."""
    chosen_n = np.zeros(len(block.rows), np.bool_)
    chosen_n[every(stride, block.rows.start, len(block.rows))] = True
    length_n = np.where(chosen_n, block.decision_nl.shape[1], 0)
    return _lists(chosen_n, length_n, column_of(block.decision_nl[chosen_n].reshape(-1)))


def _expression(block: AnnotatedBlock, feature: pa.ListType) -> tuple[pa.Array, pa.Array]:
    """Features and expression of the sampled rows, null for the others."""
    cells = NO_CELLS if block.sampled is None else block.sampled
    chosen_n, length_n = np.zeros(len(block.rows), np.bool_), np.zeros(len(block.rows), np.int32)
    chosen_n[cells.place_m] = True
    length_n[cells.place_m] = np.diff(cells.indptr_m)
    feature_z = cells.feature_z.astype(feature.value_type.to_pandas_dtype())
    lists = [_lists(chosen_n, length_n, column_of(values)) for values in (feature_z, cells.value_z)]
    return lists[0], lists[1]


def _genes(block: AnnotatedBlock) -> pa.Array:
    """The names of the genes in row 0, null for the others. Names are not empty: that stands for none."""
    chosen_n = np.zeros(len(block.rows), np.bool_)
    names = [name or "" for name in block.genes or ()]
    if names:
        chosen_n[0] = True
    return _lists(chosen_n, np.where(chosen_n, len(names), 0), text_column(names))


def _lists(chosen_n: npt.NDArray[np.bool_], length_n: npt.NDArray[np.integer], values: pa.Array) -> pa.Array:
    """A column of lists, null where not ``chosen_n``."""
    ends = np.cumsum([0, *length_n], dtype=np.int32)
    buffers = [pa.py_buffer(np.packbits(chosen_n, bitorder="little")), pa.py_buffer(ends)]
    return pa.Array.from_buffers(pa.list_(values.type), len(chosen_n), buffers, children=[values])


def _batches(stream: _CheckedStream, receipt: Receipt, layout: PartLayout) -> Iterator[pa.RecordBatch]:
    # An IPC file is a magic number, an IPC stream and a footer. Reading the stream needs one pass and no seeking.
    stream.read(_MAGIC_BYTES)
    start = receipt.rows.start
    with pa.ipc.open_stream(stream) as reader:
        if not reader.schema.equals(layout.schema, check_metadata=True):
            raise _corrupt(receipt, f"a part of {len(reader.schema)} columns")
        for batch, metadata in reader.iter_batches_with_custom_metadata():
            batch.validate(full=True)
            if metadata is None or metadata.get(_START) != b"%d" % start:
                raise _corrupt(receipt, f"a part with blocks out of order at row {start}")
            start += batch.num_rows
            yield batch
    if start != receipt.rows.stop:
        raise _corrupt(receipt, f"a part that ends before row {start}")


class _CheckedStream(io.RawIOBase):
    """Reads one generation sequentially, in ranges, and computes its checksum."""

    def __init__(self, store: BlobStore, receipt: Receipt) -> None:
        self._store = store
        self._receipt = receipt
        self._crc32c = 0
        self._offset = 0
        self._buffer = memoryview(b"")

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Read ``size`` bytes, or fewer at the end; without a size, all that is left."""
        wanted = self._receipt.size_bytes if size < 0 else size
        pieces: list[bytes] = []
        while wanted and self._fill():
            piece = bytes(self._buffer[:wanted])
            self._buffer = self._buffer[len(piece) :]
            wanted -= len(piece)
            pieces.append(piece)
        return b"".join(pieces)

    def finish(self) -> None:
        """Read the rest, and compare size and checksum with the receipt."""
        while self._fill():
            self._buffer = memoryview(b"")
        if (self._offset, self._crc32c) != (self._receipt.size_bytes, self._receipt.crc32c):
            raise _corrupt(self._receipt, f"{self._offset} bytes with crc32c {self._crc32c:08x}")

    def _fill(self) -> bool:
        if not self._buffer and self._offset < self._receipt.size_bytes:
            length = min(_READ_BYTES, self._receipt.size_bytes - self._offset)
            data = self._store.read(self._receipt.part, ByteRange(self._offset, length))
            self._crc32c = google_crc32c.extend(self._crc32c, data)
            self._offset += len(data)
            self._buffer = memoryview(data)
        return bool(self._buffer)


def _corrupt(receipt: Receipt, found: str) -> CelldropError:
    return CorruptBlobError(
        found,
        expected=f"{receipt.size_bytes} bytes with crc32c {receipt.crc32c:08x}, as in its receipt",
        where=str(receipt.part),
        hint="Submit the file again. If it happens again, check the storage of the work bucket.",
    )
