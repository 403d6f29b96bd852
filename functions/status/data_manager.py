"""Reads the files of a committed result: those under the prefix that the commit names, and no others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from shared.domain.errors import CorruptBlobError, ResultFileNotFoundError
from shared.domain.submission import Result
from shared.ports.blobs import BlobInfo, BlobStore, ByteRange

CHUNK_BYTES = 4 * 2**20
"""Bytes read and sent at a time. Memory use stays at this, whatever the file's size."""


@dataclass(frozen=True, slots=True)
class ResultFile:
    """One file of a committed result.

    Attributes:
        name: The name that users see: the object's name without the result's prefix. It may contain a slash.
    """

    name: str
    info: BlobInfo


@dataclass(frozen=True, slots=True)
class ResultData:
    """Committed results in the blob store. Files of a failed attempt lie under other prefixes and are never shown."""

    blobs: BlobStore

    def files(self, result: Result) -> tuple[ResultFile, ...]:
        """List every file of the result, sorted by name.

        Raises:
            UnavailableError: The store did not answer.
        """
        found = self.blobs.list(result.bucket, result.prefix)
        named = (ResultFile(info.ref.name.removeprefix(result.prefix), info) for info in found)
        return tuple(file for file in named if file.name)

    def find(self, result: Result, name: str) -> ResultFile:
        """Find a file by name. It is looked up in the list of files; no path is ever built from ``name``.

        Raises:
            ResultFileNotFoundError: The result has no such file.
            UnavailableError: The store did not answer.
        """
        files = self.files(result)
        for file in files:
            if file.name == name:
                return file
        raise ResultFileNotFoundError(
            "the result has no file with that name",
            expected="one of " + ", ".join(file.name for file in files),
            hint="The submission lists its files, each with its URL.",
        )

    def stream(self, file: ResultFile, span: ByteRange) -> Iterator[bytes]:
        """Read a byte range in chunks, all from the same generation of the file.

        Raises:
            BlobNotFoundError: The file was deleted or replaced while it was read.
            CorruptBlobError: The file is shorter than its recorded size.
            UnavailableError: The store did not answer.
        """
        offset, end = span.offset, span.offset + span.length
        while offset < end:
            chunk = self.blobs.read(file.info.ref, ByteRange(offset, min(CHUNK_BYTES, end - offset)))
            if not chunk:
                raise CorruptBlobError(
                    f"{file.name} ends at byte {offset:,}", expected=f"{file.info.size_bytes:,} bytes"
                )
            offset += len(chunk)
            yield chunk
