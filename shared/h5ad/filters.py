"""The HDF5 filters that a file may use, and their registration."""

from __future__ import annotations

DEFLATE = 1
SHUFFLE = 2
FLETCHER32 = 3

ALLOWED = {
    DEFLATE: "gzip",
    SHUFFLE: "shuffle",
    FLETCHER32: "fletcher32",
    6: "scale-offset",
    32000: "lzf",
    32001: "blosc",
    32004: "lz4",
    32015: "zstd",
    32026: "blosc2",
}
"""Filters that the libraries we ship can decode; anything else would be looked for among plug-ins."""


def register() -> None:
    """Make lz4, zstd and blosc known to HDF5; harmless when done again."""
    import hdf5plugin  # noqa: PLC0415  # importing it loads native libraries: only processes that read matrices should

    hdf5plugin.register(("blosc", "blosc2", "lz4", "zstd"))
