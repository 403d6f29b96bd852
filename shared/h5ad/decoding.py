"""What the HDF5 library's failures mean to the user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from shared.domain.errors import TruncatedFileError


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
    """What the library's own words, which are for the log, come down to."""
    return TruncatedFileError(
        "a part of the file cannot be decoded: it is damaged, or not as AnnData writes it",
        expected="a whole, undamaged file",
        where=where,
        hint="Check that adata = anndata.read_h5ad(FILE) works, then write and send it again.",
    )
