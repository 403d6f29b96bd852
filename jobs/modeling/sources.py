"""A file on disk as a source of byte ranges, for the reader of user files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from shared.domain.errors import InputChangedError, InputNotFoundError
from shared.ports.blobs import ByteRange


@dataclass(frozen=True, slots=True)
class FileSource:
    """An open file. Reads are by position, so that threads can share it."""

    descriptor: int
    size_bytes: int

    def read(self, span: ByteRange) -> bytes:
        """Read the bytes of ``span``, or fewer at the end of the file."""
        return os.pread(self.descriptor, span.length, span.offset)

    def read_many(self, spans: Sequence[ByteRange]) -> list[bytes]:
        """Read several ranges, in the given order."""
        return [self.read(span) for span in spans]


@contextmanager
def open_source(path: Path) -> Iterator[FileSource]:
    """Open a file within a context.

    Raises:
        InputNotFoundError: The file does not exist or cannot be opened.
        InputChangedError: The file changed within the context.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise InputNotFoundError(
            f"cannot open the file: {error.strerror or error}",
            expected="an .h5ad file",
            where=str(path),
            hint="Check the path and that the file may be read.",
        ) from error
    with file:
        before = os.fstat(file.fileno())
        yield FileSource(file.fileno(), before.st_size)
        after = os.fstat(file.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise InputChangedError(
            "the file changed while it was read", where=str(path), hint="Wait until it is complete, and try again."
        )


def sha256_of(path: Path) -> str:
    """The sha256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
