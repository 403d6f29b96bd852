"""One-dimensional stored arrays as byte ranges, so that any stretch of them is a few reads away."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import h5py
import numpy as np

from shared.h5ad.read import filters
from shared.h5ad.read.chunk_index import Foresight
from shared.h5ad.read.chunked import PIPELINES, Values, open_chunked
from shared.h5ad.read.inflating import sliced
from shared.h5ad.read.native import StoredChunks
from shared.h5ad.read.safety import check_chunks, check_stored
from shared.h5ad.source import RangeSource, whole
from shared.ports.blobs import ByteRange
from shared.telemetry import event

log = logging.getLogger(__name__)

GAP_BYTES = 64 * 1024
READ_BYTES = 4 * 1024 * 1024


class Window(Protocol):
    """A stretch of numbers in a file: first say which bytes are needed, then make values of them."""

    def spans(self, start: int, stop: int) -> list[ByteRange]:
        """The bytes that ``decode`` needs for these values."""
        ...

    def decode(self, start: int, stop: int, parts: Sequence[memoryview]) -> Values:
        """Values from the bytes of ``spans``.

        Raises:
            TruncatedFileError: They do not decode.
        """
        ...

    def stored(self, start: int, stop: int, parts: Sequence[memoryview]) -> StoredChunks | None:
        """The same bytes, for whoever decodes them faster; None where they are not plainly there."""
        ...


class StoredArray(Protocol):
    """Numbers in a file."""

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of the values as stored."""
        ...

    @property
    def chunk_bytes(self) -> int:
        """What is inflated at least, for a single value."""
        ...

    def window(self, start: int, stop: int) -> Window:
        """A stretch of them, once it is known where they lie; places count as in the whole.

        Raises:
            TruncatedFileError: They lie outside the file.
        """
        ...


def open_array(dataset: h5py.Dataset, size_bytes: int, foresight: Foresight) -> StoredArray:
    """The fastest way to read a one-dimensional dataset: by ranges where its storage is understood, else by h5py.

    That the slower way is taken is said in the log.
    """
    if dataset.chunks is None and _plain_numbers(dataset):
        return _contiguous(dataset, size_bytes)
    plist = dataset.id.get_create_plist()
    pipeline = tuple(int(plist.get_filter(place)[0]) for place in range(plist.get_nfilters()))
    if not _plain_numbers(dataset) or pipeline not in PIPELINES:
        check_stored(dataset, size_bytes)
        names = "+".join(filters.ALLOWED.get(number, str(number)) for number in pipeline) or "no filter"
        event(
            log,
            "read by the HDF5 library, one chunk at a time",
            dataset=dataset.name,
            found=f"{dataset.dtype}, {names}",
        )
        return SlicedArray(dataset)
    return open_chunked(dataset, size_bytes, pipeline, foresight)


def is_read_by_us(dataset: h5py.Dataset, foresight: Foresight) -> bool:
    """Whether ``open_array`` neither has the HDF5 library read its values nor look for its chunks."""
    if not _plain_numbers(dataset):
        return False
    if dataset.chunks is None:
        return True
    plist = dataset.id.get_create_plist()
    pipeline = tuple(int(plist.get_filter(place)[0]) for place in range(plist.get_nfilters()))
    return pipeline in PIPELINES and foresight.chunks(dataset, [range(min(1, len(dataset)))]) is not None


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


@dataclass(frozen=True, slots=True)
class SlicedArray:
    """Any dataset, through h5py: slower, and one slice at a time."""

    dataset: h5py.Dataset
    seen: set[tuple[int, ...]] = field(default_factory=set)

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of the values."""
        found: np.dtype[np.generic] = self.dataset.dtype
        return found

    @property
    def chunk_bytes(self) -> int:
        """Raw size of a chunk."""
        return int(self.dataset.chunks[0]) * self.dtype.itemsize if self.dataset.chunks else 0

    def window(self, start: int, stop: int) -> SlicedArray:
        """Any stretch is sliced alike."""
        del start, stop
        return self

    def spans(self, start: int, stop: int) -> list[ByteRange]:
        """None: h5py does the reading."""
        del start, stop
        return []

    def decode(self, start: int, stop: int, parts: Sequence[memoryview]) -> Values:
        """A slice."""
        del parts
        values: Values = np.asarray(sliced(self.dataset, start, stop, seen=self.seen))
        return values.astype(np.int8) if values.dtype.kind == "b" else values

    def stored(self, start: int, stop: int, parts: Sequence[memoryview]) -> StoredChunks | None:
        """Never."""
        del start, stop, parts
        return None


@dataclass(frozen=True, slots=True)
class ContiguousArray:
    """Values one after the other, uncompressed."""

    dtype: np.dtype[np.generic]
    offset: int
    chunk_bytes: int = 0

    def window(self, start: int, stop: int) -> ContiguousArray:
        """Any stretch lies where it is counted to lie."""
        del start, stop
        return self

    def spans(self, start: int, stop: int) -> list[ByteRange]:
        """Exactly these values' bytes, in pieces that can be fetched side by side."""
        first, last = (self.offset + place * self.dtype.itemsize for place in (start, stop))
        return [ByteRange(at, min(READ_BYTES, last - at)) for at in range(first, last, READ_BYTES)]

    def decode(self, start: int, stop: int, parts: Sequence[memoryview]) -> Values:
        """The bytes as values."""
        del start, stop
        return np.frombuffer(parts[0] if len(parts) == 1 else b"".join(parts), dtype=self.dtype)

    def stored(self, start: int, stop: int, parts: Sequence[memoryview]) -> StoredChunks | None:
        """Each piece as it is."""
        each = READ_BYTES // self.dtype.itemsize
        starts = np.append(np.arange(start, stop, each, dtype=np.int64), stop)
        return StoredChunks(self.dtype, starts, parts, np.zeros(len(parts), np.uint8))


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
