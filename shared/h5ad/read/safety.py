"""The safety scan: walks every link of an open file without following any that could lead out of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod

import h5py
from h5py import h5d, h5g, h5l, h5o, h5s

from shared.domain.errors import TruncatedFileError, UnsafeFileError
from shared.domain.words import cut
from shared.h5ad.read.filters import ALLOWED, COMPRESSORS, FLETCHER32, name_of
from shared.h5ad.read.limits import DEFAULT_LIMITS, InspectionLimits

_CONVERT = "Open the file with anndata on a machine you trust, check it, and write it anew with adata.write_h5ad()."
_SLACK_BYTES = 1024 * 1024
_WORDS = 200
"""Of a path, in our messages."""
_NOTES = "/uns"
_Place = tuple[h5g.GroupID, str, int]
"""A group, its path and its depth."""
_CHUNK_SLACK_BYTES = 64 * 1024


def scan(file: h5py.File, size_bytes: int, limits: InspectionLimits = DEFAULT_LIMITS) -> None:
    """Refuse whatever could reach outside the file, or claims to be far larger than it is.

    Raises:
        UnsafeFileError: What was found, and where.
    """
    _Scan(size_bytes, limits).run(file.id)


def check_chunks(dataset: h5py.Dataset, size_bytes: int, offsets: Iterator[tuple[int, int]]) -> None:
    """Check that every stored chunk of ``dataset`` lies in the file, and is not much larger than its values.

    Args:
        offsets: Byte offset and stored size of each chunk.

    Raises:
        TruncatedFileError: One does not.
    """
    raw_bytes = prod(dataset.chunks or dataset.shape) * int(dataset.dtype.itemsize)
    longest = min(size_bytes, 2 * raw_bytes + _CHUNK_SLACK_BYTES)
    for offset, length in offsets:
        if offset < 0 or not 0 <= length <= longest or offset + length > size_bytes:
            raise TruncatedFileError(
                f"a chunk stored as {length:,} bytes at byte {offset:,}",
                expected=f"at most {longest:,} bytes, inside the file's {size_bytes:,}",
                where=str(dataset.name),
                hint="The file is damaged: write and send it again.",
            )


def check_stored(dataset: h5py.Dataset, size_bytes: int) -> None:
    """Check the chunks of a dataset that h5py itself will read.

    Raises:
        TruncatedFileError: One lies outside the file, or is larger than it can be.
    """
    if dataset.chunks is None or 0 in dataset.shape:
        return
    found: list[tuple[int, int]] = []
    dataset.id.chunk_iter(lambda chunk: found.append((int(chunk.byte_offset), int(chunk.size))))
    check_chunks(dataset, size_bytes, iter(found))


@dataclass(slots=True)
class _Scan:
    """One walk.

    Attributes:
        notes_left: Objects of uns that will still be looked at; the rest of it is nobody's to read (ADR 0010).
    """

    size_bytes: int
    limits: InspectionLimits
    notes_left: int = 0
    seen: set[int] = field(default_factory=set)
    links: int = 0
    aliases: int = 0
    declared_bytes: int = 0

    def run(self, root: h5g.GroupID) -> None:
        self.seen.add(h5g.get_objinfo(root).objno[0])
        self.notes_left = self.limits.notes
        # Last of all uns, so that what it shares with the rest is looked at as a part of the rest.
        later = self._walk([(root, "", 0)])
        self._walk(later)

    def _walk(self, groups: list[_Place]) -> list[_Place]:
        """Look at everything below some groups; uns itself is left for later."""
        later: list[_Place] = []
        while groups:
            group, path, depth = groups.pop()
            for child, name in self._children(group, path):
                if isinstance(child, h5g.GroupID):
                    self._check_depth(depth + 1, name)
                    (later if name == _NOTES else groups).append((child, name, depth + 1))
                elif isinstance(child, h5d.DatasetID):
                    self._check_dataset(child, name)
        return later

    def _children(self, group: h5g.GroupID, path: str) -> Iterator[tuple[object, str]]:
        """Objects in a group that were not met before; hard links may form cycles."""
        if not self._affordable(int(group.get_num_objs()), path):
            return
        names: list[bytes] = []
        group.links.iterate(names.append)
        for raw in names:
            name = f"{path}/{raw.decode('utf-8', 'replace')}"
            # h5o.get_info would also tell the index's size, and walk every node of it for that.
            address = _checked_link(group, raw, name)
            if address not in self.seen:
                self.seen.add(address)
                yield h5o.open(group, raw), name
            else:
                self._check_alias(name)

    def _affordable(self, count: int, path: str) -> bool:
        """Whether a group of so many links is looked at; in uns the first ones are, elsewhere all must be."""
        if _in_notes(path):
            self.notes_left -= count
            return self.notes_left >= 0
        self.links += count
        if self.links > self.limits.objects:
            raise _unsafe(f"more than {self.limits.objects:,} objects", path or "/", "far fewer")
        return True

    def _check_alias(self, name: str) -> None:
        self.aliases += not _in_notes(name)
        if self.aliases > self.limits.aliases:
            found = f"more than {self.limits.aliases:,} names that lead to what another name leads to"
            raise _unsafe(found, cut(name, _WORDS), "one name for each object")

    def _check_depth(self, depth: int, name: str) -> None:
        if depth > self.limits.depth:
            raise _unsafe(f"groups nested {depth} deep", name[:200], f"at most {self.limits.depth}")

    def _check_dataset(self, dataset: h5d.DatasetID, name: str) -> None:
        layout = dataset.get_create_plist()
        if layout.get_external_count():
            raise _unsafe("data kept in another file (external storage)", name)
        if layout.get_layout() == h5d.VIRTUAL:
            raise _unsafe("data mapped from other datasets (a virtual dataset)", name)
        _check_filters(layout, name)
        self._check_size(dataset, layout, name)

    def _check_size(self, dataset: h5d.DatasetID, layout: h5py.h5p.PropDCID, name: str) -> None:
        itemsize = dataset.get_type().get_size()
        chunked = layout.get_layout() == h5d.CHUNKED
        declared = _elements(dataset.get_space()) * itemsize
        self.declared_bytes += declared
        bound = self.size_bytes * self.limits.expansion + _SLACK_BYTES if chunked else self.size_bytes + _SLACK_BYTES
        if declared > bound or self.declared_bytes > self.size_bytes * self.limits.expansion + _SLACK_BYTES:
            raise _unsafe(
                f"{declared:,} bytes declared in a file of {self.size_bytes:,}", name, f"at most {bound:,} bytes"
            )
        if chunked:
            self._check_chunk(layout, itemsize, name)

    def _check_chunk(self, layout: h5py.h5p.PropDCID, itemsize: int, name: str) -> None:
        size = itemsize * prod(layout.get_chunk())
        if size > self.limits.chunk_bytes:
            raise _unsafe(
                f"one chunk of {size:,} bytes",
                name,
                f"chunks of at most {self.limits.chunk_bytes:,} bytes",
                hint="Write the file again with adata.write_h5ad(), which makes small chunks.",
            )


def _in_notes(path: str) -> bool:
    return path == _NOTES or path.startswith(f"{_NOTES}/")


def _checked_link(group: h5g.GroupID, raw: bytes, name: str) -> int:
    """The address in this file that a link leads to."""
    link = group.links.get_info(raw)
    if link.type == h5l.TYPE_HARD:
        return int(link.u)
    words = {h5l.TYPE_SOFT: "a soft link", h5l.TYPE_EXTERNAL: "a link to another file"}
    raise _unsafe(words.get(link.type, f"a user-defined link of type {link.type}"), name)


def _check_filters(layout: h5py.h5p.PropDCID, name: str) -> None:
    numbers = [int(layout.get_filter(place)[0]) for place in range(layout.get_nfilters())]
    unknown = [number for number in numbers if number not in ALLOWED]
    if unknown:
        raise _unsafe(
            f"the HDF5 filter {name_of(unknown[0])}",
            name,
            f"one of {', '.join(ALLOWED.values())}",
            hint='Write the file again with adata.write_h5ad(FILE, compression="gzip").',
        )
    compressors = [place for place, number in enumerate(numbers) if number in COMPRESSORS]
    names = " and ".join(name_of(number) for number in numbers[:4])
    anew = 'Write the file again with adata.write_h5ad(FILE, compression="gzip").'
    if len(compressors) > 1:
        words = " and ".join(name_of(numbers[place]) for place in compressors[:4])
        found = f"values compressed {len(compressors)} times over, by {words}"
        raise _unsafe(found, name, "one compressor", hint=anew)
    if len(set(numbers)) < len(numbers) or any(set(numbers[place + 1 :]) - {FLETCHER32} for place in compressors):
        raise _unsafe(f"the filters {names}, in that order", name, "a shuffle at most, then one compressor", hint=anew)


def _elements(space: h5s.SpaceID) -> int:
    # Python's integers: the library's own product wraps around.
    return prod(space.get_simple_extent_dims()) if space.get_simple_extent_type() == h5s.SIMPLE else 1


def _unsafe(
    found: str, where: str, expected: str = "data stored in the file itself", hint: str = ""
) -> UnsafeFileError:
    return UnsafeFileError(found, expected=expected, where=where, hint=hint or _CONVERT)
