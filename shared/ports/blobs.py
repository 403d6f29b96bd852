"""The blob store: named bytes with generations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from shared.domain.submission import ObjectRef


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """One generation of an object, without its bytes.

    Attributes:
        crc32c: Of the whole content (Castagnoli), as an unsigned integer; None where the store has not computed it.
    """

    ref: ObjectRef
    size_bytes: int
    crc32c: int | None
    updated_at: datetime
    content_type: str = "application/octet-stream"
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ByteRange:
    """``length`` bytes from ``offset``."""

    offset: int
    length: int


class BlobStore(Protocol):
    """Cloud Storage's promises, and no more: atomic whole-object writes, generations, preconditions, ranged reads.

    Every method raises UnavailableError when the store does not answer.
    """

    def stat(self, bucket: str, name: str) -> BlobInfo:
        """The newest generation.

        Raises:
            BlobNotFoundError: No such object.
        """
        ...

    def read(self, ref: ObjectRef, span: ByteRange | None = None) -> bytes:
        """Bytes of exactly that generation; all of them without ``span``. A span past the end is cut there.

        Raises:
            BlobNotFoundError: That generation is not to be had (deleted or replaced).
        """
        ...

    def read_many(self, ref: ObjectRef, spans: Sequence[ByteRange]) -> list[bytes]:
        """Several ranges of one generation, fetched side by side where that helps; in the order asked.

        Raises:
            BlobNotFoundError: As ``read``.
        """
        ...

    def write(
        self,
        bucket: str,
        name: str,
        chunks: Iterable[bytes],
        *,
        if_generation: int | None = None,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
    ) -> BlobInfo:
        """Write an object whole or not at all, streaming; visible only when finished.

        Args:
            if_generation: 0 writes only where nothing is; a number only over that generation; None always.

        Raises:
            PreconditionFailedError: Another generation (or any, for 0) is there.
        """
        ...

    def list(self, bucket: str, prefix: str = "") -> Iterator[BlobInfo]:
        """The newest generations under a prefix, by name."""
        ...

    def delete(self, bucket: str, name: str, *, if_generation: int | None = None) -> None:
        """Remove an object; one that is already gone is fine.

        Raises:
            PreconditionFailedError: Another generation is there.
        """
        ...
