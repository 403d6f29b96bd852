"""A source that counts what is asked of it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from shared.h5ad.source import RangeSource
from shared.ports.blobs import ByteRange


@dataclass(slots=True)
class CountingSource:
    """Counts what is asked of another source.

    Attributes:
        calls: ``read`` or ``read_many``: what must wait for one another.
        requests: Ranges asked for.
        bytes_read: Bytes that came back.
    """

    inner: RangeSource
    calls: int = 0
    requests: int = 0
    bytes_read: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def size_bytes(self) -> int:
        """Size of the whole file."""
        return self.inner.size_bytes

    def read(self, span: ByteRange) -> bytes:
        """The bytes of ``span``, counted."""
        data = self.inner.read(span)
        self._count([data])
        return data

    def read_many(self, spans: Sequence[ByteRange]) -> list[bytes]:
        """Several ranges, counted."""
        parts = self.inner.read_many(spans)
        self._count(parts)
        return parts

    def _count(self, parts: list[bytes]) -> None:
        with self._lock:
            self.calls += 1
            self.requests += len(parts)
            self.bytes_read += sum(map(len, parts))
