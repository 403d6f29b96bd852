"""Opening an inspected file for the task: ranged reads, our filters, our errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import h5py

from shared.domain.errors import TruncatedFileError
from shared.h5ad.read import filters
from shared.h5ad.read.chunk_index import Foresight
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


@contextmanager
def decoding(where: str) -> Iterator[None]:
    """Turn h5py's own exceptions into ours.

    Raises:
        TruncatedFileError: The library could not read what it was asked for.
    """
    try:
        yield
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise undecodable(where) from error


def undecodable(where: str = "") -> TruncatedFileError:
    """The error for what HDF5 cannot decode, in words for a user. Its own words go to the log."""
    return TruncatedFileError(
        "a part of the file cannot be decoded: it is damaged, or not as AnnData writes it",
        expected="a whole, undamaged file",
        where=where,
        hint="Check that adata = anndata.read_h5ad(FILE) works, then write and send it again.",
    )
