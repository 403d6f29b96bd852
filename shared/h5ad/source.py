"""Bytes of one immutable file, asked for by range."""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

from shared.domain.errors import BlobNotFoundError, InputChangedError, TruncatedFileError
from shared.domain.submission import ObjectRef
from shared.ports.blobs import BlobStore, ByteRange

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BLOCK_BYTES = 16 * 1024
MISS_BYTES = 64 * 1024
"""Read at least, where a block is missing that nobody foresaw."""
HEAD_BYTES = 256 * 1024
TAIL_BYTES = 2 * 1024 * 1024
MISS_BLOCKS = MISS_BYTES // BLOCK_BYTES
CACHE_BYTES = 8 * 1024 * 1024
READ_AHEAD_BYTES = 1024 * 1024

NEWER_FILE = (
    "Leave a file alone until its results are there. A newer one that was dropped in the inbox is annotated by itself; "
    "a file elsewhere must be asked for again."
)
"""What to do about an input that was replaced: only the inbox is watched."""


class RangeSource(Protocol):
    """A file that never changes, of which parts can be had; calls may come from several threads."""

    @property
    def size_bytes(self) -> int:
        """Size of the whole file."""
        ...

    def read(self, span: ByteRange) -> bytes:
        """The bytes of ``span``, cut at the end of the file.

        Raises:
            InputChangedError: The pinned generation is gone.
        """
        ...

    def read_many(self, spans: Sequence[ByteRange]) -> list[bytes]:
        """Several ranges, in the order asked.

        Raises:
            InputChangedError: The pinned generation is gone.
        """
        ...


@dataclass(frozen=True, slots=True)
class BlobSource:
    """One generation of an object in a blob store."""

    store: BlobStore
    ref: ObjectRef
    size_bytes: int

    def read(self, span: ByteRange) -> bytes:
        """The bytes of ``span``.

        Raises:
            InputChangedError: The pinned generation is gone.
        """
        try:
            return self.store.read(self.ref, span)
        except BlobNotFoundError as error:
            raise self._changed() from error

    def read_many(self, spans: Sequence[ByteRange]) -> list[bytes]:
        """Several ranges, side by side where the store can.

        Raises:
            InputChangedError: The pinned generation is gone.
        """
        try:
            return self.store.read_many(self.ref, spans)
        except BlobNotFoundError as error:
            raise self._changed() from error

    def _changed(self) -> InputChangedError:
        return InputChangedError(
            "the file was replaced or deleted while it was being read",
            expected=f"generation {self.ref.generation}",
            where=f"{self.ref.bucket}/{self.ref.name}",
            hint=NEWER_FILE,
        )


def opening_spans(size_bytes: int) -> list[ByteRange]:
    """Head and tail of a file, in whole blocks: where HDF5 keeps most of what it needs to open an AnnData file."""
    head = min(HEAD_BYTES, size_bytes)
    tail = max(head, -(-size_bytes // BLOCK_BYTES) * BLOCK_BYTES - TAIL_BYTES)
    if tail == head:
        return [ByteRange(0, size_bytes)] if size_bytes else []
    return [ByteRange(0, head), ByteRange(tail, size_bytes - tail)]


@dataclass(frozen=True, slots=True)
class OpenedSource:
    """A source whose head and tail came with the first request: looking for the header, and then parsing, wait once.

    Attributes:
        kept: Spans, with their bytes.
    """

    inner: RangeSource
    kept: Sequence[tuple[ByteRange, bytes]]

    @classmethod
    def of(cls, inner: RangeSource) -> OpenedSource:
        """Ask for head and tail.

        Raises:
            InputChangedError: The pinned generation is gone.
        """
        spans = opening_spans(inner.size_bytes)
        return cls(inner, list(zip(spans, inner.read_many(spans), strict=True)))

    @property
    def size_bytes(self) -> int:
        """Size of the whole file."""
        return self.inner.size_bytes

    def read(self, span: ByteRange) -> bytes:
        """The bytes of ``span``."""
        return self.read_many([span])[0]

    def read_many(self, spans: Sequence[ByteRange]) -> list[bytes]:
        """Several ranges; only those are asked for that are not kept."""
        found = [self._kept(span) for span in spans]
        missing = [span for span, data in zip(spans, found, strict=True) if data is None]
        asked = iter(self.inner.read_many(missing) if missing else ())
        return [next(asked) if data is None else data for data in found]

    def _kept(self, span: ByteRange) -> bytes | None:
        for whole, data in self.kept:
            start = span.offset - whole.offset
            if start >= 0 and start + span.length <= len(data):
                return data[start : start + span.length]
        return None


@dataclass(frozen=True, slots=True)
class BytesSource:
    """A file held in memory."""

    data: bytes

    @property
    def size_bytes(self) -> int:
        """Size of the whole file."""
        return len(self.data)

    def read(self, span: ByteRange) -> bytes:
        """The bytes of ``span``."""
        return self.data[span.offset : span.offset + span.length]

    def read_many(self, spans: Sequence[ByteRange]) -> list[bytes]:
        """Several ranges."""
        return [self.read(span) for span in spans]


class RangedFile(io.RawIOBase):
    """A read-only file object over a source, for ``h5py.File``; always close the h5py file with ``with``.

    Blocks of 16 KiB are cached, at most ``cache_bytes`` of them. Head and tail come in one request. A miss brings
    64 KiB, and one that follows another more.
    """

    def __init__(self, source: RangeSource, *, cache_bytes: int = CACHE_BYTES) -> None:
        super().__init__()
        self._source = source
        self._size = source.size_bytes
        self._position = 0
        self._most_blocks = max(cache_bytes, HEAD_BYTES + TAIL_BYTES + READ_AHEAD_BYTES) // BLOCK_BYTES
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._next_miss = -1
        self._run = 1
        self.load(opening_spans(self._size))

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """Where the next read starts."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move the position; past the end is allowed, and reads nothing there."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill ``buffer`` as far as the file goes."""
        view = memoryview(buffer).cast("B")
        stop = min(self._position + len(view), self._size)
        start = min(self._position, stop)
        filled = 0
        for piece in self._pieces(start, stop):
            view[filled : filled + len(piece)] = piece
            filled += len(piece)
        self._position = start + filled
        return filled

    def load(self, spans: Sequence[ByteRange]) -> None:
        """Have these parts of the file in the cache, as far as it goes; what is missing comes side by side."""
        cut = [(max(0, span.offset), min(span.offset + span.length, self._size)) for span in spans]
        wanted = {number for start, stop in cut for number in _blocks_of(start, stop)}
        self._fetch(sorted(wanted - self._blocks.keys()))
        self._evict()

    def _pieces(self, start: int, stop: int) -> Iterator[memoryview]:
        if stop - start > self._most_blocks * BLOCK_BYTES // 2:
            yield memoryview(self._source.read(ByteRange(start, stop - start)))
            return
        wanted = _blocks_of(start, stop)
        self._load(wanted)
        for number in wanted:
            offset = number * BLOCK_BYTES
            yield memoryview(self._blocks[number])[max(0, start - offset) : stop - offset]

    def _load(self, wanted: range) -> None:
        for number in wanted:
            if number in self._blocks:
                self._blocks.move_to_end(number)
        missing = [number for number in wanted if number not in self._blocks]
        if not missing:
            return
        around = range(missing[0] // MISS_BLOCKS * MISS_BLOCKS, self._ahead(missing[0], missing[-1]))
        missing = [number for number in around if number not in self._blocks]
        self._fetch(missing)
        self._next_miss = missing[-1] + 1
        self._evict()

    def _evict(self) -> None:
        while len(self._blocks) > self._most_blocks:
            self._blocks.popitem(last=False)

    def _ahead(self, first: int, last: int) -> int:
        """Where to stop: after twice as many blocks each time that misses follow one another."""
        self._run = min(self._run * 2, READ_AHEAD_BYTES // MISS_BYTES) if first == self._next_miss else 1
        end = -(-(last + 1) // MISS_BLOCKS) + self._run - 1
        return min(end * MISS_BLOCKS, -(-self._size // BLOCK_BYTES))

    def _fetch(self, numbers: list[int]) -> None:
        runs = _runs(numbers)
        spans = [ByteRange(run.start * BLOCK_BYTES, self._end_of(run) - run.start * BLOCK_BYTES) for run in runs]
        parts = self._source.read_many(spans) if spans else []
        for run, span, data in zip(runs, spans, parts, strict=True):
            whole(data, span)
            for place, number in enumerate(run):
                self._blocks[number] = data[place * BLOCK_BYTES : (place + 1) * BLOCK_BYTES]

    def _end_of(self, run: range) -> int:
        return min(run.stop * BLOCK_BYTES, self._size)


def whole(data: bytes, span: ByteRange) -> bytes:
    """``data``, if it is as long as was asked for.

    Raises:
        TruncatedFileError: The file ends before its recorded size.
    """
    if len(data) != span.length:
        raise TruncatedFileError(
            f"{len(data)} of {span.length} bytes came back from byte {span.offset}",
            expected="the whole range",
            hint="Upload the file again.",
        )
    return data


def _blocks_of(start: int, stop: int) -> range:
    return range(start // BLOCK_BYTES, -(-stop // BLOCK_BYTES))


def _runs(numbers: list[int]) -> list[range]:
    """Consecutive numbers as ranges; ``numbers`` ascend."""
    if not numbers:
        return []
    cuts = [place for place, (left, right) in enumerate(pairwise(numbers), start=1) if right != left + 1]
    edges = [0, *cuts, len(numbers)]
    return [range(numbers[first], numbers[last - 1] + 1) for first, last in pairwise(edges)]
