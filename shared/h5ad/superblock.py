"""The HDF5 superblock, read without the HDF5 library: is this HDF5, is it whole, was it closed."""

from __future__ import annotations

from dataclasses import dataclass

from shared.domain.errors import NotHdf5Error, TruncatedFileError
from shared.h5ad.source import RangeSource
from shared.ports.blobs import ByteRange

SIGNATURE = b"\x89HDF\r\n\x1a\n"
WRITE_ACCESS = 0x01
SWMR_WRITE = 0x04
_LONGEST = 96
_USER_BLOCKS = (0, *(512 << step for step in range(11)))
"""Where a superblock may start: 0, 512, 1024 … 512 KiB. (HDF5 would go on doubling; nobody does.)"""


@dataclass(frozen=True, slots=True)
class Superblock:
    """What the first bytes of an HDF5 file say.

    Attributes:
        end: One past the last byte that the file should have.
        flags: Consistency flags; set while a writer has the file open. Only version 3 keeps them.
    """

    start: int
    version: int
    end: int
    flags: int


def check_superblock(source: RangeSource) -> Superblock:
    """Find and check the superblock.

    Raises:
        NotHdf5Error: There is none.
        TruncatedFileError: It promises more bytes than there are, or a writer never closed the file.
    """
    start, data = _find(source)
    block = _parse(start, data)
    if block.end > source.size_bytes:
        raise TruncatedFileError(
            f"the file has {source.size_bytes:,} bytes",
            expected=f"the {block.end:,} that its header promises",
            hint="The upload or copy stopped early: send the file again and compare sizes.",
        )
    if block.version >= 3 and block.flags & (WRITE_ACCESS | SWMR_WRITE):
        raise TruncatedFileError(
            "the file is still marked as open for writing",
            expected="a file that its writer closed",
            hint="Close the program that writes it and copy again; if none does: h5clear -s FILE.",
        )
    return block


def _find(source: RangeSource) -> tuple[int, bytes]:
    for start in _USER_BLOCKS:
        if start >= source.size_bytes:
            break
        data = source.read(ByteRange(start, _LONGEST))
        if data.startswith(SIGNATURE):
            return start, data
    head = source.read(ByteRange(0, 8))
    raise NotHdf5Error(
        f"the file starts with {head!r}" if head else "the file is empty",
        expected="an HDF5 file, as every .h5ad is",
        hint=_guess(head),
    )


def _guess(head: bytes) -> str:
    if head.startswith(b"\x1f\x8b"):
        return "It is gzip-compressed: decompress it first (gunzip FILE), the .h5ad inside is what is wanted."
    if head.startswith(b"PK"):
        return "It is a zip archive: unpack it, or write a zarr store again with adata.write_h5ad()."
    return "Save the data with adata.write_h5ad() and send that file."


def _parse(start: int, data: bytes) -> Superblock:
    version = data[8] if len(data) > 8 else 0
    try:
        if version in {0, 1}:
            return _parse_old(start, version, data)
        if version in {2, 3}:
            return _parse_new(start, version, data)
    except IndexError:
        pass
    raise TruncatedFileError(
        f"an HDF5 header of version {version} in {len(data)} bytes",
        expected="a whole header of version 0 to 3",
        hint="The file is damaged: send it again.",
    )


def _parse_old(start: int, version: int, data: bytes) -> Superblock:
    width = data[13]
    addresses = 24 if version == 0 else 28
    end = _number(data, addresses + 2 * width, width)
    return Superblock(start, version, end + start - _number(data, addresses, width), 0)


def _parse_new(start: int, version: int, data: bytes) -> Superblock:
    width = data[9]
    end = _number(data, 12 + 2 * width, width)
    return Superblock(start, version, end + start - _number(data, 12, width), data[11])


def _number(data: bytes, offset: int, width: int) -> int:
    if width not in {2, 4, 8} or offset + width > len(data):
        raise IndexError(offset)
    return int.from_bytes(data[offset : offset + width], "little")
