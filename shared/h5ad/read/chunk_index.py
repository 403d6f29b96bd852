"""Finds the chunks that hold given values, and fetches them ahead, all at the same time.

HDF5 finds a chunk by a tree, and its library reads one node after the other, then the chunk, then starts anew for the
next: of a file in a bucket, each is a request that waits for the one before. And to tell where all chunks lie it walks
the whole tree. The tree of version 1, which is what the library writes by default, is walked here level by level, and
only as far as the values that are wanted. An index of another kind, or one that makes no sense, is left to the library.

Format: HDF5 File Format Specification 3.0, III.A.1 (version 1 B-trees), IV.A.1.a (object headers), IV.A.2.i (layout).
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import h5py
from h5py import h5g

from shared.h5ad.source import RangedFile
from shared.ports.blobs import ByteRange

MOST_BYTES = 24 * 2**20
"""Of chunks at hand at a time; more would push one another out of the cache."""
NODES_AT_ONCE = 256
"""Fetched side by side; 4 MiB of the cache."""
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
_FARTHEST = 1 << 62


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """A chunk of a one-dimensional dataset; in a node above the lowest, the first one below it.

    Attributes:
        first: The place of its first value.
        offset: In the file; of the node below, where it is one.
        mask: Bit i set: filter i was left out.
    """

    first: int
    offset: int
    size_bytes: int
    mask: int


@dataclass(frozen=True, slots=True)
class Foresight:
    """Knows where to read in an open file before the library does.

    Attributes:
        base: Where the file's addresses count from: the size of its user block.
    """

    raw: RangedFile
    base: int

    def expect(self, dataset: h5py.Dataset, wanted: Sequence[range]) -> None:
        """Have at hand what reading these values of a one-dimensional dataset will ask for, where that is known.

        Args:
            wanted: Places of values.

        Raises:
            InputChangedError: The pinned generation is gone.
        """
        chunks = self.chunks(dataset, wanted) or []
        if sum(chunk.size_bytes for chunk in chunks) <= MOST_BYTES:
            self.raw.load([ByteRange(chunk.offset, chunk.size_bytes) for chunk in chunks])

    def chunks(self, dataset: h5py.Dataset, wanted: Sequence[range]) -> list[StoredChunk] | None:
        """The stored chunks that hold these values of a dataset, by place; None where the index is of another kind.

        What the file says of itself is taken as it is, and may be nonsense.

        Args:
            wanted: Places of values.

        Raises:
            InputChangedError: The pinned generation is gone.
        """
        if dataset.chunks is None or len(dataset.shape) != 1:
            return None
        spans = [span for span in wanted if span]
        most = sum((span.stop - 1) // dataset.chunks[0] - span.start // dataset.chunks[0] + 1 for span in spans)
        try:
            return self._descend(self._root(h5g.get_objinfo(dataset.id).objno[0]), spans, most) if spans else []
        except (struct.error, ValueError):
            return None

    def _descend(self, root: int, wanted: Sequence[range], most: int) -> list[StoredChunk]:
        stops = {root: _FARTHEST}  # Of each node: the place before which its values end.
        for _ in range(_DEEPEST):
            found = list(self._nodes(list(stops)))
            ends = stops.values()
            chosen = [
                pair for (_, entries), stop in zip(found, ends, strict=True) for pair in _holding(entries, wanted, stop)
            ]
            if not any(level for level, _ in found):
                return [entry for entry, _ in chosen]
            stops = {entry.offset: stop for entry, stop in sorted(chosen, key=lambda pair: pair[0].offset)}
            if len(stops) > most:
                raise ValueError(stops)
        raise ValueError(root)

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

    def _nodes(self, nodes: Sequence[int]) -> Iterator[tuple[int, list[StoredChunk]]]:
        """Each node's level, 0 above the chunks themselves, and its entries in order."""
        for start in range(0, len(nodes), NODES_AT_ONCE):
            together = nodes[start : start + NODES_AT_ONCE]
            self.raw.load([ByteRange(node, _USUAL_NODE_BYTES) for node in together])
            yield from map(self._entries, together)

    def _entries(self, node: int) -> tuple[int, list[StoredChunk]]:
        mark, kind, level, count = _NODE.unpack(self._read(node, _NODE.size))
        if (mark, kind) != (b"TREE", _CHUNK_NODE):
            raise ValueError(mark, kind)
        body = self._read(node + _NODE.size, count * _ENTRY.size)
        entries = [
            StoredChunk(first, self.base + child, size, mask)
            for size, mask, first, _, child in _ENTRY.iter_unpack(body)
        ]
        if any(max(entry.first, entry.offset) > _FARTHEST for entry in entries):
            raise ValueError(node)
        return level, entries

    def _read(self, offset: int, length: int) -> bytes:
        self.raw.seek(offset)
        return self.raw.read(length)


def _holding(entries: list[StoredChunk], wanted: Sequence[range], stop: int) -> Iterator[tuple[StoredChunk, int]]:
    """The entries below which these values lie, each with the place before which its values end.

    Args:
        stop: The place before which the node's values end.
    """

    def place(value: int) -> int:
        return bisect_right(entries, value, key=lambda entry: entry.first) - 1

    within = [span for span in wanted if span.start < stop]
    found = {at for span in within for at in range(max(0, place(span.start)), place(span.stop - 1) + 1)}
    ends = [*(entry.first for entry in entries[1:]), stop]
    return ((entries[at], ends[at]) for at in sorted(found))


def _messages(block: bytes) -> Iterator[tuple[int, bytes]]:
    place = 0
    while place + _MESSAGE.size <= len(block):
        kind, size, _ = _MESSAGE.unpack_from(block, place)
        place += _MESSAGE.size
        yield kind, block[place : place + size]
        place += size
