"""One-dimensional datasets in chunks of equal length, deflated or not, shuffled or not: decoded by us, not by HDF5."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import deflate
import h5py
import numpy as np
import numpy.typing as npt

from shared.domain.errors import TruncatedFileError
from shared.h5ad.read.chunk_index import Foresight
from shared.h5ad.read.filters import DEFLATE, SHUFFLE
from shared.h5ad.read.native import DEFLATED, SHUFFLED, StoredChunks
from shared.h5ad.read.safety import check_chunks
from shared.ports.blobs import ByteRange

Values = npt.NDArray[np.generic]
PIPELINES = frozenset({(), (DEFLATE,), (SHUFFLE,), (SHUFFLE, DEFLATE)})
"""The filters that are understood, in their order."""
LARGE_BYTES = 4 * 1024 * 1024
"""Raw size above which a chunk is kept for the next values, as doing it twice would hurt."""
_UNALLOCATED = -1
_FARTHEST = np.iinfo(np.int64).max
_STEPS = {DEFLATE: DEFLATED, SHUFFLE: SHUFFLED}


@dataclass(frozen=True, slots=True)
class Places:
    """Where consecutive chunks lie.

    Attributes:
        first: The number of the first one.
        offsets: Byte offset of each; -1 where it was never written and holds the fill value.
        masks: Bit i set: filter i was left out for this chunk.
    """

    first: int
    offsets: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    masks: npt.NDArray[np.uint32]

    @classmethod
    def unknown(cls, numbers: range) -> Places:
        """None of them written, as far as is known."""
        count = len(numbers)
        offsets = np.full(count, _UNALLOCATED, np.int64)
        return cls(numbers.start, offsets, np.zeros(count, np.int64), np.zeros(count, np.uint32))

    def note(self, number: int, offset: int, size: int, mask: int) -> None:
        """One that is written.

        Raises:
            IndexError: It is not among them.
        """
        if not 0 <= number - self.first < len(self.offsets):
            raise IndexError(number)
        at = number - self.first
        # A damaged file may say any number: what is out of bounds stays so, and is refused with the others.
        self.offsets[at], self.sizes[at], self.masks[at] = min(offset, _FARTHEST), min(size, _FARTHEST), mask


def open_chunked(
    dataset: h5py.Dataset, size_bytes: int, pipeline: tuple[int, ...], foresight: Foresight
) -> ChunkedArray:
    """A dataset whose chunks are found as they are needed.

    Args:
        pipeline: Its filters, one of PIPELINES.
    """
    length = int(dataset.chunks[0])

    def places(numbers: range) -> Places:
        found = _looked_up(dataset, numbers, foresight) or _listed(dataset)
        stored = found.offsets != _UNALLOCATED
        spans = zip(found.offsets[stored].tolist(), found.sizes[stored].tolist(), strict=True)
        check_chunks(dataset, size_bytes, spans)
        return found

    n_values, where = int(dataset.shape[0]), str(dataset.name)
    return ChunkedArray(dataset.dtype, n_values, length, pipeline, dataset.fillvalue, where, places)


def _looked_up(dataset: h5py.Dataset, numbers: range, foresight: Foresight) -> Places | None:
    """By the file's own index, as far as these chunks go; None where that cannot be made sense of."""
    length = int(dataset.chunks[0])
    chunks = foresight.chunks(dataset, [range(numbers.start * length, numbers.stop * length)])
    if chunks is None:
        return None
    places = Places.unknown(numbers)
    for chunk in chunks:
        number, rest = divmod(chunk.first, length)
        if rest:
            return None
        if number in numbers:  # Where some were never written, the one before comes along.
            places.note(number, chunk.offset, chunk.size_bytes, chunk.mask)
    return places


def _listed(dataset: h5py.Dataset) -> Places:
    """All of them, by the HDF5 library."""
    length = int(dataset.chunks[0])
    places = Places.unknown(range(-(-int(dataset.shape[0]) // length)))

    def note(chunk: h5py.h5d.StoreInfo) -> None:
        places.note(chunk.chunk_offset[0] // length, chunk.byte_offset, chunk.size, chunk.filter_mask)

    if len(places.offsets):
        dataset.id.chunk_iter(note)
    return places


@dataclass(frozen=True, slots=True)
class ChunkedArray:
    """A dataset in chunks.

    Attributes:
        n_values: In all.
        length: Values in a chunk, of which the last may hold fewer.
        places_of: Finds chunks by their numbers.
        kept: The chunk decoded last, where chunks are large.
    """

    dtype: np.dtype[np.generic]
    n_values: int
    length: int
    pipeline: tuple[int, ...]
    fill: object
    where: str
    places_of: Callable[[range], Places]
    kept: dict[int, Values] = field(default_factory=dict)

    @property
    def chunk_bytes(self) -> int:
        """Raw size of a chunk."""
        return self.length * self.dtype.itemsize

    def window(self, start: int, stop: int) -> ChunkWindow:
        """These values, once it is known where their chunks lie.

        Raises:
            TruncatedFileError: One lies outside the file.
        """
        return ChunkWindow(self, self.places_of(_chunks(start, stop, self.length)))


@dataclass(frozen=True, slots=True)
class ChunkWindow:
    """A stretch of a chunked dataset."""

    array: ChunkedArray
    places: Places

    def spans(self, start: int, stop: int) -> list[ByteRange]:
        """The stored bytes of the chunks that these values lie in."""
        first, places = self.places.first, self.places
        return [
            ByteRange(int(places.offsets[number - first]), int(places.sizes[number - first]))
            for number in self._needed(start, stop)
        ]

    def decode(self, start: int, stop: int, parts: Sequence[memoryview]) -> Values:
        """Inflate, unshuffle and join."""
        stored = dict(zip(self._needed(start, stop), parts, strict=True))
        known = dict(self.array.kept)
        length = self.array.length
        out = np.empty(stop - start, self.array.dtype)
        for number in _chunks(start, stop, length):
            first = number * length
            low, high = max(start, first), min(stop, first + length)
            out[low - start : high - start] = self._values(number, stored, known)[low - first : high - first]
        return out

    def stored(self, start: int, stop: int, parts: Sequence[memoryview]) -> StoredChunks | None:
        """The chunks as they are, from the bytes of ``spans``; None where one was never written, or is kept."""
        numbers = _chunks(start, stop, self.array.length)
        if len(parts) != len(numbers) or self.array.chunk_bytes > LARGE_BYTES:
            return None
        starts = np.arange(numbers.start, numbers.stop + 1, dtype=np.int64) * self.array.length
        first = numbers.start - self.places.first
        masks = self.places.masks[first : first + len(numbers)]
        steps = np.zeros(len(numbers), np.uint8)
        for place, kind in enumerate(self.array.pipeline):
            steps |= np.where(masks >> place & 1, 0, _STEPS[kind]).astype(np.uint8)
        return StoredChunks(self.array.dtype, starts, parts, steps)

    def _needed(self, start: int, stop: int) -> list[int]:
        numbers = _chunks(start, stop, self.array.length)
        first, offsets = self.places.first, self.places.offsets
        return [n for n in numbers if offsets[n - first] != _UNALLOCATED and n not in self.array.kept]

    def _values(self, number: int, stored: dict[int, memoryview], known: dict[int, Values]) -> Values:
        array = self.array
        if number in known:
            return known[number]
        # A chunk may be declared far larger than all that it is to hold: no more than that is unshuffled and kept.
        n_held = min(array.length, array.n_values - number * array.length)
        if number not in stored:
            return np.full(n_held, array.fill, array.dtype)
        values = self._decoded(stored[number], int(self.places.masks[number - self.places.first]), n_held)
        if array.chunk_bytes > LARGE_BYTES:
            array.kept.clear()
            array.kept[number] = values
        return values

    def _decoded(self, data: memoryview, mask: int, n_held: int) -> Values:
        """The first ``n_held`` values; filters were a shuffle and a compressor at most, in that order."""
        raw: memoryview | bytearray = data
        steps = [kind for place, kind in enumerate(self.array.pipeline) if not mask >> place & 1]
        if DEFLATE in steps:
            raw = self._inflated(raw)
        if len(raw) != self.array.chunk_bytes:
            raise self._damaged(f"a chunk of {len(raw):,} bytes")
        if len(steps) > (DEFLATE in steps):
            return self._unshuffled(raw, n_held)
        values = np.frombuffer(raw, dtype=self.array.dtype)
        return values if n_held == len(values) else values[:n_held].copy()

    def _inflated(self, data: memoryview | bytearray) -> bytearray:
        try:
            return bytearray(0) if not data else deflate.zlib_decompress(data, self.array.chunk_bytes)
        except deflate.DeflateError as error:
            raise self._damaged("a chunk that does not inflate") from error

    def _unshuffled(self, data: memoryview | bytearray, n_held: int) -> Values:
        bytes_of_values = np.frombuffer(data, np.uint8).reshape(self.array.dtype.itemsize, -1)[:, :n_held]
        return np.frombuffer(bytes_of_values.T.tobytes(), dtype=self.array.dtype)

    def _damaged(self, found: str) -> TruncatedFileError:
        return TruncatedFileError(
            found,
            expected=f"{self.array.chunk_bytes:,} bytes of values",
            where=self.array.where,
            hint="The file is damaged: write and send it again.",
        )


def _chunks(start: int, stop: int, length: int) -> range:
    return range(start // length, -(-stop // length)) if stop > start else range(0)
