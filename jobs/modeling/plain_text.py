"""Reads text files in UTF-8, UTF-16 or Latin-1, compressed or not, with any line ending."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from pathlib import Path

MAX_BYTES = 64 * 2**20
"""A table of all genes of a species has about 2 MB."""
_GZIP = b"\x1f\x8b"
_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_LOOKED_AT = 200


def read_text(path: Path, max_bytes: int = MAX_BYTES) -> str:
    """Read a whole text file.

    Args:
        max_bytes: The most bytes that it may have, uncompressed.

    Raises:
        OSError: It cannot be read.
        ValueError: It is not a text, too long, or damaged; the message says which.
    """
    with path.open("rb") as file:
        data = file.read(max_bytes + 1)
    if data.startswith(_GZIP):
        data = _inflated(data, max_bytes)
    if len(data) > max_bytes:
        raise ValueError(f"it has more than {max_bytes:,} bytes")
    return _decoded(data)


def lines_of(text: str) -> Iterator[str]:
    """The lines without their ending, which is that of Unix, Windows or classic Mac OS, and no other separator."""
    with io.StringIO(text, newline=None) as file:
        for line in file:
            yield line.rstrip("\n")


def _inflated(data: bytes, max_bytes: int) -> bytes:
    """Decompress all members of a gzip file, up to one byte more than the limit."""
    parts: list[bytes] = []
    left = max_bytes + 1
    while data.startswith(_GZIP) and left > 0:
        inflater = zlib.decompressobj(wbits=31)
        try:
            parts.append(inflater.decompress(data, left))
        except zlib.error as error:
            raise ValueError(f"it does not decompress: {error}") from error
        left -= len(parts[-1])
        if left > 0 and not inflater.eof:
            raise ValueError("it ends before its last compressed byte")
        data = inflater.unused_data
    return b"".join(parts)


def _decoded(data: bytes) -> str:
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), None) or _utf_16(data)
    if encoding is None and b"\0" in data:
        raise ValueError("it is not a text")
    for name in [encoding] if encoding else ["utf-8", "cp1252", "latin-1"]:
        try:
            return data.decode(name)
        except UnicodeDecodeError:
            continue
    raise ValueError(f"it is not valid {encoding}")


def _utf_16(data: bytes) -> str | None:
    """Recognise UTF-16 without a byte order mark: in ASCII text, every second byte is 0."""
    head = data[:_LOOKED_AT]
    half = len(head) // 2
    if half and head[1::2].count(0) > 0.8 * half and not head[::2].count(0):
        return "utf-16-le"
    return "utf-16-be" if half and head[::2].count(0) > 0.8 * half and not head[1::2].count(0) else None
