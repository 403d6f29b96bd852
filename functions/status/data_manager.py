"""What status reads of a result: the files under the prefix that the commit names, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from shared.domain.errors import CorruptBlobError, ResultFileNotFoundError
from shared.domain.submission import Result
from shared.ports.blobs import BlobInfo, BlobStore, ByteRange

CHUNK_BYTES = 4 * 2**20
"""Read and passed on at a time: memory stays at this, whatever the file's size."""


@dataclass(frozen=True, slots=True)
class ResultFile:
    """One file of a committed result.

    Attributes:
        name: As users know it: the object's name without the result's prefix; may hold a slash.
    """

    name: str
    info: BlobInfo


@dataclass(frozen=True, slots=True)
class ResultData:
    """Committed results in the blob store; a loser's leftovers lie under other prefixes and are never seen."""

    blobs: BlobStore

    def files(self, result: Result) -> tuple[ResultFile, ...]:
        """Every file of the result, by name.

        Raises:
            UnavailableError: The store did not answer.
        """
        found = self.blobs.list(result.bucket, result.prefix)
        named = (ResultFile(info.ref.name.removeprefix(result.prefix), info) for info in found)
        return tuple(file for file in named if file.name)

    def find(self, result: Result, name: str) -> ResultFile:
        """The file of that name, looked up among those that are there: no path is ever made from ``name``.

        Raises:
            ResultFileNotFoundError: The result has no such file.
            UnavailableError: The store did not answer.
        """
        files = self.files(result)
        for file in files:
            if file.name == name:
                return file
        raise ResultFileNotFoundError(
            "the result has no file of that name",
            expected="one of " + ", ".join(file.name for file in files),
            hint="The submission lists its files with the address of each.",
        )

    def stream(self, file: ResultFile, span: ByteRange) -> Iterator[bytes]:
        """The bytes of a span, a chunk at a time, all of one generation.

        Raises:
            BlobNotFoundError: The file was deleted or replaced meanwhile.
            CorruptBlobError: It ended before its own size.
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
