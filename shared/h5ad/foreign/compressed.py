"""The first bytes inside a compressed file, however much it would unpack to."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable
from dataclasses import dataclass

MOST_BYTES = 256 * 1024
"""Unpacked at most: enough to see what it is, and the first names of an archive."""
_MEMORY_BYTES = 64 * 2**20
_FAILURES = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError)


@dataclass(frozen=True, slots=True)
class Packing:
    """A way to compress a file.

    Attributes:
        command: Undoes it.
        unpack: The first bytes inside; None where nothing here can.
    """

    magic: bytes
    title: str
    command: str
    unpack: Callable[[bytes], bytes] | None = None

    @property
    def adjective(self) -> str:
        """As in ``gzip-compressed``."""
        return f"{self.title}-compressed"


def _gunzip(data: bytes) -> bytes:
    return zlib.decompressobj(wbits=31).decompress(data, MOST_BYTES)


def _bunzip(data: bytes) -> bytes:
    return bz2.BZ2Decompressor().decompress(data, MOST_BYTES)


def _unxz(data: bytes) -> bytes:
    return lzma.LZMADecompressor(memlimit=_MEMORY_BYTES).decompress(data, MOST_BYTES)


PACKINGS = (
    Packing(b"\x1f\x8b", "gzip", "gunzip", _gunzip),
    Packing(b"BZh", "bzip2", "bunzip2", _bunzip),
    Packing(b"\xfd7zXZ\x00", "xz", "unxz", _unxz),
    Packing(b"]\x00\x00", "lzma", "unlzma", _unxz),
    Packing(b"\x28\xb5\x2f\xfd", "zstd", "unzstd"),
    Packing(b"\x04\x22\x4d\x18", "lz4", "unlz4"),
    Packing(b"\x1f\x9d", "compress", "uncompress"),
)


def packing_of(head: bytes) -> Packing | None:
    """How a file is compressed, by its first bytes; None where it is not."""
    return next((packing for packing in PACKINGS if head.startswith(packing.magic)), None)


def unpacked(head: bytes, packing: Packing) -> bytes | None:
    """The first bytes inside; empty where it is damaged, None where it cannot be looked into here."""
    if packing.unpack is None:
        return None
    try:
        return packing.unpack(head)
    except _FAILURES:
        return b""
