"""Opening an inspected file for the task: ranged reads, our filters, our errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import h5py

from shared.h5ad import filters
from shared.h5ad.chunk_index import Foresight
from shared.h5ad.decoding import decoding
from shared.h5ad.source import CACHE_BYTES, RangedFile, RangeSource


@dataclass(frozen=True, slots=True)
class OpenFile:
    """An open file, and what knows where to read in it."""

    file: h5py.File
    foresight: Foresight


@contextmanager
def open_file(source: RangeSource, *, cache_bytes: int = CACHE_BYTES) -> Iterator[OpenFile]:
    """The file as h5py sees it; only for files that ``inspect`` has passed.

    Raises:
        TruncatedFileError: The HDF5 library cannot open it.
        InputChangedError: The pinned generation is gone.
    """
    filters.register()
    with RangedFile(source, cache_bytes=cache_bytes) as raw:
        with decoding("file"):
            file = h5py.File(raw, "r")
        with file:
            yield OpenFile(file, Foresight(raw, file.userblock_size))
