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
        crc32c: The CRC-32C of the whole content, as an unsigned integer; None if the store has not computed it.
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
    """A store with Cloud Storage's guarantees: atomic whole-object writes, generations, preconditions, ranged reads.

    Every method raises UnavailableError if the store does not answer. A bucket that does not exist has no objects; only
    listing it, or writing to it, raises an error of its own.
    """

    def stat(self, bucket: str, name: str) -> BlobInfo:
        """Look up the newest generation of an object.

        Raises:
            BlobNotFoundError: There is no such object.
        """
        ...

    def read(self, ref: ObjectRef, span: ByteRange | None = None) -> bytes:
        """Read bytes of exactly this generation: a range, or all. A range that exceeds the object is shortened.

        Raises:
            BlobNotFoundError: This generation no longer exists (it was deleted or replaced).
        """
        ...

    def read_many(self, ref: ObjectRef, spans: Sequence[ByteRange]) -> list[bytes]:
        """Read several ranges of one generation, concurrently if that is faster. Results keep the order of ``spans``.

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
        """Write an object atomically from a stream. It becomes visible only when complete.

        Args:
            if_generation: 0 writes only if there is no object; another number only over that generation; None always.

        Raises:
            PreconditionFailedError: There is another generation (or any, for 0).
            SettingsError: There is no such bucket.
        """
        ...

    def list(self, bucket: str, prefix: str = "") -> Iterator[BlobInfo]:
        """List the newest generations under a prefix, sorted by name.

        Raises:
            SettingsError: There is no such bucket.
        """
        ...

    def delete(self, bucket: str, name: str, *, if_generation: int | None = None) -> None:
        """Delete an object. It is not an error if there is none.

        Raises:
            PreconditionFailedError: There is another generation.
        """
        ...
