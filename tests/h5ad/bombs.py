"""Chunks that inflate to far more than their dataset declares, and heaps that hang the HDF5 library."""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import cache
from typing import Any

import h5py
import hdf5plugin

from shared.h5ad.source import BytesSource

BOMB_BYTES = 2**29
COMPRESSIONS: Mapping[str, Mapping[str, Any]] = {
    "gzip": {"compression": "gzip"},
    "zstd": hdf5plugin.Zstd(),
    "lz4": hdf5plugin.LZ4(),
    "blosc": hdf5plugin.Blosc(),
    "blosc2": hdf5plugin.Blosc2(),
    "bitshuffle": hdf5plugin.Bitshuffle(),
    "bzip2": hdf5plugin.BZip2(),
}


def packed_zeros(compression: Mapping[str, Any], size_bytes: int = BOMB_BYTES) -> bytes:
    """So many zeros as the filter itself stores them."""
    return _packed(tuple(compression.items()), size_bytes)


@cache
def _packed(compression: tuple[tuple[str, Any], ...], size_bytes: int) -> bytes:
    with h5py.File(io.BytesIO(), "w") as file:
        made = file.create_dataset("x", (size_bytes,), "u1", chunks=(size_bytes,), **dict(compression))
        made[:1] = 0
        return bytes(made.id.read_direct_chunk((0,))[1])


def with_broken_heap(data: bytes, marker: bytes) -> BytesSource:
    """The header of the heap object that holds ``marker`` is zeroed: HDF5 looks for the next one for ever."""
    spoilt = bytearray(data)
    at = spoilt.find(marker)
    assert at > 0
    spoilt[at - 16 : at] = bytes(16)
    return BytesSource(bytes(spoilt))
