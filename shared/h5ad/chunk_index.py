"""Fetches chunks before they are asked for: those that hold certain values, all side by side.

HDF5 finds a chunk by a tree, and its library reads one node after the other, then the chunk, then starts anew for the
next: of a file in a bucket, each is a request that waits for the one before. The tree of version 1, which is what the
library writes by default, is walked here level by level instead, for all values that are wanted, so that the library
then finds everything in the cache. What is read here tells where to read next and nothing else: an index of another
kind, or one that makes no sense, costs time alone.

Format: HDF5 File Format Specification 3.0, III.A.1 (version 1 B-trees), IV.A.1.a (object headers), IV.A.2.i (layout).
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import h5py
from h5py import h5g

from shared.h5ad.source import RangedFile
from shared.ports.blobs import ByteRange

MOST_BYTES = 24 * 2**20
"""Of chunks at a time; more would push one another out of the cache."""
MOST_NODES = 512
"""On one level."""
MOST_HEADER_BYTES = 64 * 1024

_HEADER = struct.Struct("<BxHII4x")
_MESSAGE = struct.Struct("<HHB3x")
_LAYOUT = struct.Struct("<BBBQ")
_CONTINUATION = struct.Struct("<QQ")
_LAYOUT_TYPE, _CONTINUATION_TYPE = 0x08, 0x10
_CHUNKED = 2
_NODE = struct.Struct("<4sBBH16x")
_ENTRY = struct.Struct("<IIQQQ")
_CHUNK_NODE = 1
_USUAL_NODE_BYTES = _NODE.size + 64 * _ENTRY.size + _ENTRY.size
_DEEPEST = 8


@dataclass(frozen=True, slots=True)
class Foresight:
    """Has chunks of an open file at hand before they are read.

    Attributes:
        base: Where the file's addresses count from: the size of its user block.
    """

    raw: RangedFile
    base: int

    def expect(self, dataset: h5py.Dataset, wanted: Sequence[range]) -> None:
        """Fetch what reading these values of a one-dimensional dataset will ask for.

        Args:
            wanted: Places of values.

        Raises:
            InputChangedError: The pinned generation is gone.
        """
        if dataset.chunks is None or len(dataset.shape) != 1 or not wanted:
            return
        try:
            self._fetch(list(self._chunks(dataset, [span for span in wanted if span])))
        except (struct.error, ValueError):
            return  # Not a tree of version 1; the library knows the others.

    def _chunks(self, dataset: h5py.Dataset, wanted: Sequence[range]) -> Iterator[ByteRange]:
        """The stored bytes of the chunks that hold these values."""
        nodes = [self._root(h5g.get_objinfo(dataset.id).objno[0])]
        for _ in range(_DEEPEST):
            self._fetch([ByteRange(node, _USUAL_NODE_BYTES) for node in nodes])
            found = [self._entries(node) for node in nodes]
            chosen = list(chain.from_iterable(_holding(entries, wanted) for _, entries in found))
            if not any(level for level, _ in found):
                yield from (ByteRange(entry.child, entry.size_bytes) for entry in chosen)
                return
            nodes = sorted({entry.child for entry in chosen})
            if len(nodes) > MOST_NODES:
                raise ValueError(nodes)

    def _root(self, header: int) -> int:
        """The address of the tree's root, from the dataset's object header."""
        version, _, _, size = _HEADER.unpack(self._read(self.base + header, _HEADER.size))
        blocks = [(self.base + header + _HEADER.size, size)]
        if version != 1:
            raise ValueError(version)
        for start, length in blocks:  # It grows as continuations are met.
            for kind, body in _messages(self._read(start, min(length, MOST_HEADER_BYTES))):
                if kind == _LAYOUT_TYPE:
                    return self._root_of(body)
                if kind == _CONTINUATION_TYPE and len(blocks) < _DEEPEST:
                    address, more = _CONTINUATION.unpack_from(body)
                    blocks.append((self.base + address, more))
        raise ValueError(header)

    def _root_of(self, layout: bytes) -> int:
        version, kind, _, address = _LAYOUT.unpack_from(layout)
        if (version, kind) != (3, _CHUNKED):
            raise ValueError(version, kind)
        return self.base + int(address)

    def _entries(self, node: int) -> tuple[int, list[_Entry]]:
        """A node's level, 0 above the chunks themselves, and its entries in order."""
        mark, kind, level, count = _NODE.unpack(self._read(node, _NODE.size))
        if (mark, kind) != (b"TREE", _CHUNK_NODE):
            raise ValueError(mark, kind)
        body = self._read(node + _NODE.size, count * _ENTRY.size)
        return level, [_Entry(size, first, self.base + child) for size, _, first, _, child in _ENTRY.iter_unpack(body)]

    def _fetch(self, spans: Sequence[ByteRange]) -> None:
        if sum(span.length for span in spans) > MOST_BYTES:
            raise ValueError(len(spans))
        self.raw.load(spans)

    def _read(self, offset: int, length: int) -> bytes:
        self.raw.seek(offset)
        return self.raw.read(length)


@dataclass(frozen=True, slots=True)
class _Entry:
    """One child of a node.

    Attributes:
        size_bytes: Of the chunk as stored, where the child is one.
        first: The place of its first value.
        child: Its offset in the file.
    """

    size_bytes: int
    first: int
    child: int


def _holding(entries: list[_Entry], wanted: Sequence[range]) -> Iterator[_Entry]:
    """The entries below which these values lie."""

    def place(value: int) -> int:
        return bisect_right(entries, value, key=lambda entry: entry.first) - 1

    found = {at for span in wanted for at in range(max(0, place(span.start)), place(span.stop - 1) + 1)}
    return (entries[at] for at in sorted(found))


def _messages(block: bytes) -> Iterator[tuple[int, bytes]]:
    place = 0
    while place + _MESSAGE.size <= len(block):
        kind, size, _ = _MESSAGE.unpack_from(block, place)
        place += _MESSAGE.size
        yield kind, block[place : place + size]
        place += size
