"""Slices that the HDF5 library reads, once no chunk of theirs is known to grow beyond what its dataset declares.

The library inflates a chunk as far as it goes, whatever the dataset says of its size: some megabytes become gigabytes.
So a chunk's own header is asked first, where its compressor writes one; else it is inflated once within the bound.
"""

from __future__ import annotations

import bz2
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import deflate
import h5py
from h5py import h5t

from shared.domain.errors import TruncatedFileError, UnsafeFileError
from shared.h5ad.read.filters import (
    BITSHUFFLE,
    BLOSC,
    BLOSC2,
    BZIP2,
    COMPRESSORS,
    DEFLATE,
    LZ4,
    LZF,
    SCALE_OFFSET,
    SZIP,
    ZSTD,
)

_HARMLESS_BYTES = 256 * 2**20
"""What a small chunk may grow to is not looked into: DEFLATE makes 1,032 of one at most."""
_MOST_OF_DEFLATE, _MOST_OF_LZF = 1032, 88
_CHECKSUM_BYTES = 4
_FILLED_UP = 4
_SLACK_BYTES = 64 * 1024
_ANEW = 'Write the file again with adata.write_h5ad(FILE, compression="gzip").'
_Grown = Callable[[bytes, int], int]
"""From a stored chunk, and what it may become: what it would become, or any number beyond."""


def sliced(
    dataset: h5py.Dataset,
    start: int = 0,
    stop: int | None = None,
    field: str | None = None,
    seen: set[tuple[int, ...]] | None = None,
) -> Any:  # noqa: ANN401  # as h5py
    """Values ``start`` to ``stop`` along the first axis; of one field, where there are fields.

    Args:
        seen: Where chunks begin that were looked at before: those are not again, and others are added.

    Raises:
        UnsafeFileError: A chunk would grow far beyond what is declared.
        TruncatedFileError: A chunk is stored as more than it can be.
    """
    check_inflation(dataset, start, stop, seen)
    return (dataset if field is None else dataset.fields(field))[start:stop]


def check_inflation(
    dataset: h5py.Dataset, start: int = 0, stop: int | None = None, seen: set[tuple[int, ...]] | None = None
) -> None:
    """Look at the chunks that hold values ``start`` to ``stop`` along the first axis.

    Raises:
        UnsafeFileError: One would grow far beyond what is declared.
        TruncatedFileError: One is stored as more than it can be.
    """
    compressor = _compressor(dataset)
    if compressor is None:
        return
    seen = set() if seen is None else seen
    for offset in _offsets(dataset, start, int(dataset.shape[0]) if stop is None else stop):
        if offset in seen:
            continue
        # To ask where a chunk lies would walk the whole index of the dataset; to read it does not.
        with suppress(OSError, RuntimeError, ValueError):  # Never written, or damaged: the library will say so.
            mask, data = dataset.id.read_direct_chunk(offset)
            _check_chunk(dataset, offset, compressor, mask, data)
        seen.add(offset)


def _check_chunk(
    dataset: h5py.Dataset, offset: tuple[int, ...], compressor: _Compressor, mask: int, data: bytes
) -> None:
    if mask >> compressor.place & 1:
        return
    if len(data) > 2 * compressor.raw_bytes + _SLACK_BYTES:
        raise _damaged(dataset, len(data), compressor.raw_bytes)
    if compressor.may_burst(len(data)) and compressor.grown(data):
        raise _unsafe(dataset, offset, compressor.raw_bytes)


@dataclass(frozen=True, slots=True)
class _Compressor:
    """The one filter of a dataset that makes values smaller.

    Attributes:
        place: In the pipeline.
        raw_bytes: What a chunk is declared to be.
    """

    number: int
    place: int
    options: tuple[int, ...]
    raw_bytes: int

    def may_burst(self, stored_bytes: int) -> bool:
        """Whether so much can become what is too much."""
        most = {DEFLATE: _MOST_OF_DEFLATE, LZF: _MOST_OF_LZF}.get(self.number)
        return most is None or most * stored_bytes > max(self.raw_bytes, _HARMLESS_BYTES)

    def grown(self, data: bytes) -> bool:
        """Whether a stored chunk would become more than is declared."""
        most = self.raw_bytes + _CHECKSUM_BYTES
        if self.number == SCALE_OFFSET:  # It writes as many values as its options say, before those come to an end.
            return len(self.options) < 5 or self.options[2] * self.options[4] > most
        if self.number == BITSHUFFLE and not any(self.options[4:5]):
            return False
        return _GROWN[self.number](data, most) > most


def _compressor(dataset: h5py.Dataset) -> _Compressor | None:
    if dataset.chunks is None or 0 in dataset.shape:
        return None
    plist = dataset.id.get_create_plist()
    for place in range(plist.get_nfilters()):
        number, _, options, _ = plist.get_filter(place)
        if number in COMPRESSORS:
            raw_bytes = prod(dataset.chunks) * stored_bytes(dataset.id.get_type())
            return _Compressor(int(number), place, tuple(map(int, options)), raw_bytes)
    return None


def stored_bytes(kind: h5t.TypeID) -> int:
    """Of one value, at most: what has any length is stored as 16 bytes, of which the library tells 8, a pointer's."""
    return int(kind.get_size()) * (2 if any(map(kind.detect_class, (h5t.VLEN, h5t.STRING, h5t.REFERENCE))) else 1)


def _offsets(dataset: h5py.Dataset, start: int, stop: int) -> Iterator[tuple[int, ...]]:
    """Where the chunks begin that hold these rows."""
    length, *widths = dataset.chunks
    rows = range(start // length * length, min(stop, int(dataset.shape[0])), length)
    others = (range(0, int(size), width) for size, width in zip(dataset.shape[1:], widths, strict=True))
    return product(rows, *others)


def _inflated(data: bytes, most: int) -> int:
    try:
        return len(deflate.zlib_decompress(data, most))
    except deflate.DeflateError:  # Too large, or damaged, which is the library's to say.
        pass
    try:
        return len(zlib.decompressobj().decompress(data, most + 1))
    except zlib.error:
        return 0


def _unpacked(data: bytes, most: int) -> int:
    try:
        return len(bz2.BZ2Decompressor().decompress(data, most + 1))
    except (OSError, EOFError):
        return 0


def _unpacked_lzf(data: bytes, most: int) -> int:
    """The lengths of its literals and repeats, added up: there is no reader of it at hand that knows a bound."""
    place = size = 0
    while place + 1 < len(data) and size <= most:
        control = data[place]
        if control < 32:
            size += control + 1
            place += control + 2
            continue
        far = control >> 5 == 7
        size += (control >> 5) + 2 + (data[place + 1] if far else 0)
        place += 3 if far else 2
    return size


def _told(form: str, place: int) -> _Grown:
    """What the header of a chunk says; nothing where it has none, which the compressor's own reader refuses."""
    number = struct.Struct(form)

    def told(data: bytes, _: int) -> int:
        return int(number.unpack_from(data, place)[0]) if len(data) >= place + number.size else 0

    return told


def _told_by_zstd(data: bytes, most: int) -> int:
    """RFC 8878, 3.1.1.1: the length is optional, and without it the filter gives up."""
    if len(data) < 18 or data[:4] != b"\x28\xb5\x2f\xfd":
        return 0
    descriptor = data[4]
    single, length = bool(descriptor & 0x20), descriptor >> 6
    if not single and not length:
        return most + 1
    place = 5 + (not single) + (0, 1, 2, 4)[descriptor & 3]
    size = (1, 2, 4, 8)[length]
    return int.from_bytes(data[place : place + size], "little") + (256 if length == 1 else 0)


def _told_by_blosc2(data: bytes, most: int) -> int:
    """A frame tells all its bytes and those of a chunk; what is none begins like a chunk of blosc.

    Frames of several dimensions are filled up to whole blocks, to less than twice the length of each.
    """
    if data[2:9] == b"b2frame":
        return max(_told(">q", 30)(data, most), _told(">i", 58)(data, most)) // _FILLED_UP
    return _told("<I", 4)(data, most)


_GROWN: Mapping[int, _Grown] = {
    DEFLATE: _inflated,
    BZIP2: _unpacked,
    LZF: _unpacked_lzf,
    SZIP: _told("<I", 0),
    LZ4: _told(">Q", 0),
    BITSHUFFLE: _told(">Q", 0),
    BLOSC: _told("<I", 4),
    BLOSC2: _told_by_blosc2,
    ZSTD: _told_by_zstd,
}


def _unsafe(dataset: h5py.Dataset, offset: tuple[int, ...], raw_bytes: int) -> UnsafeFileError:
    return UnsafeFileError(
        f"a chunk at {', '.join(map(str, offset))} that inflates to more than is declared",
        expected=f"{raw_bytes:,} bytes",
        where=str(dataset.name),
        hint=_ANEW,
    )


def _damaged(dataset: h5py.Dataset, stored_bytes: int, raw_bytes: int) -> TruncatedFileError:
    return TruncatedFileError(
        f"a chunk stored as {stored_bytes:,} bytes",
        expected=f"not much more than the {raw_bytes:,} bytes of its values",
        where=str(dataset.name),
        hint="The file is damaged: write and send it again.",
    )
