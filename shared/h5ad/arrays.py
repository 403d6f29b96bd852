"""One-dimensional stored arrays as byte ranges, so that any stretch of them is a few reads away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import deflate
import h5py
import numpy as np
import numpy.typing as npt

from shared.domain.errors import TruncatedFileError
from shared.h5ad.filters import DEFLATE, SHUFFLE
from shared.h5ad.safety import check_chunks, check_stored
from shared.h5ad.source import RangeSource, whole
from shared.ports.blobs import ByteRange

Values = npt.NDArray[np.generic]
GAP_BYTES = 64 * 1024
READ_BYTES = 4 * 1024 * 1024
_UNALLOCATED = -1


class StoredArray(Protocol):
    """Numbers in a file: first say which bytes are needed, then make values of them."""

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of the values as stored."""
        ...

    @property
    def chunk_bytes(self) -> int:
        """What is inflated at least, for a single value."""
        ...

    def spans(self, start: int, stop: int) -> list[ByteRange]:
        """The bytes that ``decode`` needs for these values."""
        ...

    def decode(self, start: int, stop: int, parts: Sequence[memoryview]) -> Values:
        """Values from the bytes of ``spans``.

        Raises:
            TruncatedFileError: They do not decode.
        """
        ...


def open_array(dataset: h5py.Dataset, size_bytes: int) -> StoredArray:
    """The fastest way to read a one-dimensional dataset: by ranges where its storage is understood, else by h5py."""
    if dataset.chunks is None and _plain_numbers(dataset):
        return _contiguous(dataset, size_bytes)
    plist = dataset.id.get_create_plist()
    pipeline = tuple(int(plist.get_filter(place)[0]) for place in range(plist.get_nfilters()))
    if not _plain_numbers(dataset) or pipeline not in {(), (DEFLATE,), (SHUFFLE,), (SHUFFLE, DEFLATE)}:
        check_stored(dataset, size_bytes)
        return SlicedArray(dataset)
    return _chunked(dataset, size_bytes, pipeline)


def _plain_numbers(dataset: h5py.Dataset) -> bool:
    """Whether the bytes are the values, without conversion by the HDF5 library."""
    if dataset.dtype.kind not in "iuf":
        return False
    return bool(dataset.id.get_type().equal(h5py.h5t.py_create(dataset.dtype)))


def _contiguous(dataset: h5py.Dataset, size_bytes: int) -> StoredArray:
    offset = dataset.id.get_offset()
    if offset is None:
        return SlicedArray(dataset)
    check_chunks(dataset, size_bytes, iter([(int(offset), int(dataset.nbytes))]))
    return ContiguousArray(dataset.dtype, int(offset))


def _chunked(dataset: h5py.Dataset, size_bytes: int, pipeline: tuple[int, ...]) -> StoredArray:
    length = int(dataset.chunks[0])
    count = -(-int(dataset.shape[0]) // length)
    offsets = np.full(count, _UNALLOCATED, np.int64)
    sizes, masks = np.zeros(count, np.int64), np.zeros(count, np.uint32)

    def note(chunk: h5py.h5d.StoreInfo) -> None:
        place = chunk.chunk_offset[0] // length
        offsets[place], sizes[place], masks[place] = chunk.byte_offset, chunk.size, chunk.filter_mask

    if count:
        dataset.id.chunk_iter(note)
    stored = offsets != _UNALLOCATED
    check_chunks(dataset, size_bytes, zip(offsets[stored].tolist(), sizes[stored].tolist(), strict=True))
    return ChunkedArray(dataset.dtype, length, offsets, sizes, masks, pipeline, dataset.fillvalue, str(dataset.name))


@dataclass(frozen=True, slots=True)
class SlicedArray:
    """Any dataset, through h5py: slower, and one slice at a time."""

    dataset: h5py.Dataset

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of the values."""
        found: np.dtype[np.generic] = self.dataset.dtype
        return found

    @property
    def chunk_bytes(self) -> int:
        """Raw size of a chunk."""
        return int(self.dataset.chunks[0]) * self.dtype.itemsize if self.dataset.chunks else 0

    def spans(self, start: int, stop: int) -> list[ByteRange]:
        """None: h5py does the reading."""
        del start, stop
        return []

    def decode(self, start: int, stop: int, parts: Sequence[memoryview]) -> Values:
        """A slice."""
        del parts
        values: Values = np.asarray(self.dataset[start:stop])
        return values.astype(np.int8) if values.dtype.kind == "b" else values


@dataclass(frozen=True, slots=True)
class ContiguousArray:
    """Values one after the other, uncompressed."""

    dtype: np.dtype[np.generic]
    offset: int
    chunk_bytes: int = 0

    def spans(self, start: int, stop: int) -> list[ByteRange]:
        """Exactly these values' bytes, in pieces that can be fetched side by side."""
        first, last = (self.offset + place * self.dtype.itemsize for place in (start, stop))
        return [ByteRange(at, min(READ_BYTES, last - at)) for at in range(first, last, READ_BYTES)]

    def decode(self, start: int, stop: int, parts: Sequence[memoryview]) -> Values:
        """The bytes as values."""
        del start, stop
        return np.frombuffer(parts[0] if len(parts) == 1 else b"".join(parts), dtype=self.dtype)


@dataclass(frozen=True, slots=True)
class ChunkedArray:
    """Values in chunks of equal length, deflated or not, shuffled or not.

    Attributes:
        offsets: Byte offset of each chunk; -1 where it was never written and holds the fill value.
        masks: Bit i set: filter i was left out for this chunk.
        kept: The chunk decoded last, where chunks are so large that doing it twice would hurt.
    """

    dtype: np.dtype[np.generic]
    length: int
    offsets: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    masks: npt.NDArray[np.uint32]
    pipeline: tuple[int, ...]
    fill: object
    where: str
    kept: dict[int, Values] = field(default_factory=dict)

    @property
    def chunk_bytes(self) -> int:
        """Raw size of a chunk."""
        return self.length * self.dtype.itemsize

    def spans(self, start: int, stop: int) -> list[ByteRange]:
        """The stored bytes of the chunks that these values lie in."""
        return [ByteRange(int(self.offsets[place]), int(self.sizes[place])) for place in self._needed(start, stop)]

    def decode(self, start: int, stop: int, parts: Sequence[memoryview]) -> Values:
        """Inflate, unshuffle and join."""
        stored = dict(zip(self._needed(start, stop), parts, strict=True))
        known = dict(self.kept)
        out = np.empty(stop - start, self.dtype)
        for place in self._chunks(start, stop):
            first = place * self.length
            low, high = max(start, first), min(stop, first + self.length)
            out[low - start : high - start] = self._values(place, stored, known)[low - first : high - first]
        return out

    def _chunks(self, start: int, stop: int) -> range:
        return range(start // self.length, -(-stop // self.length)) if stop > start else range(0)

    def _needed(self, start: int, stop: int) -> list[int]:
        return [p for p in self._chunks(start, stop) if self.offsets[p] != _UNALLOCATED and p not in self.kept]

    def _values(self, place: int, stored: dict[int, memoryview], known: dict[int, Values]) -> Values:
        if place in known:
            return known[place]
        if place not in stored:
            return np.full(self.length, self.fill, self.dtype)
        values = self._decoded(stored[place], int(self.masks[place]))
        if self.chunk_bytes > READ_BYTES:
            self.kept.clear()
            self.kept[place] = values
        return values

    def _decoded(self, data: memoryview, mask: int) -> Values:
        raw: memoryview | bytearray = data
        for number, kind in reversed(list(enumerate(self.pipeline))):
            if mask >> number & 1:
                continue
            raw = self._inflated(raw) if kind == DEFLATE else self._unshuffled(raw)
        if len(raw) != self.chunk_bytes:
            raise self._damaged(f"a chunk of {len(raw):,} bytes")
        return np.frombuffer(raw, dtype=self.dtype)

    def _inflated(self, data: memoryview | bytearray) -> bytearray:
        try:
            return bytearray(0) if not data else deflate.zlib_decompress(data, self.chunk_bytes)
        except deflate.DeflateError as error:
            raise self._damaged("a chunk that does not inflate") from error

    def _unshuffled(self, data: memoryview | bytearray) -> memoryview | bytearray:
        width = self.dtype.itemsize
        if len(data) != self.chunk_bytes:
            raise self._damaged(f"a chunk of {len(data):,} bytes")
        return memoryview(np.frombuffer(data, np.uint8).reshape(width, -1).T.tobytes())

    def _damaged(self, found: str) -> TruncatedFileError:
        return TruncatedFileError(
            found,
            expected=f"{self.chunk_bytes:,} bytes of values",
            where=self.where,
            hint="The file is damaged: write and send it again.",
        )


def fetch(source: RangeSource, spans: Sequence[ByteRange]) -> list[memoryview]:
    """Several ranges by as few reads as make sense: those less than 64 KiB apart are read together, up to 4 MiB."""
    order = sorted(range(len(spans)), key=lambda place: spans[place].offset)
    groups: list[list[int]] = []
    begin = end = 0
    for place in order:
        span = spans[place]
        last = span.offset + span.length
        if groups and span.offset - end <= GAP_BYTES and last - begin <= READ_BYTES:
            groups[-1].append(place)
            end = max(end, last)
        else:
            groups.append([place])
            begin, end = span.offset, last
    return _read(source, spans, groups)


def _read(source: RangeSource, spans: Sequence[ByteRange], groups: list[list[int]]) -> list[memoryview]:
    joined = []
    for group in groups:
        begin = spans[group[0]].offset
        joined.append(ByteRange(begin, max(spans[p].offset + spans[p].length for p in group) - begin))
    found: list[memoryview] = [memoryview(b"")] * len(spans)
    parts = source.read_many(joined) if joined else []
    for group, span, data in zip(groups, joined, parts, strict=True):
        view = memoryview(whole(data, span))
        for place in group:
            start = spans[place].offset - span.offset
            found[place] = view[start : start + spans[place].length]
    return found
