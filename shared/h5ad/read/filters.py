"""The HDF5 filters that a file may use, and their registration."""

from __future__ import annotations

from functools import cache

DEFLATE = 1
SHUFFLE = 2
FLETCHER32 = 3
SZIP = 4
SCALE_OFFSET = 6
BZIP2 = 307
LZF = 32000
BLOSC = 32001
LZ4 = 32004
BITSHUFFLE = 32008
ZSTD = 32015
BLOSC2 = 32026

_OF_THE_LIBRARY = {
    DEFLATE: "gzip",
    SHUFFLE: "shuffle",
    FLETCHER32: "fletcher32",
    SZIP: "szip",
    SCALE_OFFSET: "scale-offset",
    LZF: "lzf",
}
PLUGINS = {BZIP2: "bzip2", BLOSC: "blosc", LZ4: "lz4", BITSHUFFLE: "bshuf", ZSTD: "zstd", BLOSC2: "blosc2"}
"""Filters that hdf5plugin brings, by its own names."""

ALLOWED = _OF_THE_LIBRARY | PLUGINS | {BITSHUFFLE: "bitshuffle"}
"""Filters that the libraries we ship can decode; anything else would be looked for among plug-ins."""

COMPRESSORS = ALLOWED.keys() - {SHUFFLE, FLETCHER32}
"""Filters that make values smaller; one after the other, they multiply what a chunk can grow to."""

_REFUSED = {
    5: "n-bit",
    32013: "zfp",
    32017: "sz",
    32018: "fcidecomp",
    32019: "jpeg",
    32024: "sz3",
    32028: "sperr",
    32033: "htj2k",
}


def name_of(number: int) -> str:
    """What people call a filter, whether or not a file may use it."""
    names = _REFUSED | ALLOWED
    return names.get(number, f"number {number}")


@cache
def register() -> None:
    """Make the plug-ins known to HDF5, which importing them does, once in a process."""
    import hdf5plugin  # noqa: PLC0415, F401  # it loads native libraries: only processes that read matrices should
