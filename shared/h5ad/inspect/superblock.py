"""The HDF5 superblock, read without the HDF5 library: is this HDF5, is it whole, was it closed."""

from __future__ import annotations

from dataclasses import dataclass

from shared.domain.errors import TruncatedFileError
from shared.h5ad.foreign.recognising import SIGNATURE, recognise
from shared.h5ad.source import RangeSource
from shared.ports.blobs import ByteRange

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


def check_superblock(source: RangeSource, name: str = "") -> Superblock:
    """Find and check the superblock.

    Args:
        name: The object's name, where there is one, for what is no HDF5 file.

    Raises:
        NotHdf5Error: There is none; the error says what the file is instead.
        TruncatedFileError: It promises more bytes than there are, or a writer never closed the file.
    """
    start, data = _find(source, name)
    block = _parse(start, data)
    if block.end > source.size_bytes:
        raise TruncatedFileError(
            f"the file is cut short: it has {source.size_bytes:,} bytes",
            expected=f"the {block.end:,} that its header promises",
            hint="The upload or copy stopped early: send the file again and compare sizes.",
        )
    if block.version >= 3 and block.flags & (WRITE_ACCESS | SWMR_WRITE):
        raise TruncatedFileError(
            "the file is still marked as open for writing",
            expected="a file that its writer closed",
            hint="Close the program that writes it and send it again; if none does: h5clear -s FILE (HDF5's own tool).",
        )
    return block


def _find(source: RangeSource, name: str) -> tuple[int, bytes]:
    for start in _USER_BLOCKS:
        if start >= source.size_bytes:
            break
        data = source.read(ByteRange(start, _LONGEST))
        if data.startswith(SIGNATURE):
            return start, data
    raise recognise(source, name).refusal()


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
