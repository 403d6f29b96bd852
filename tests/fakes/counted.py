"""A blob store that counts what is asked of another one, and may take its time as one over a network does."""

from __future__ import annotations

import builtins
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from typing_extensions import override

from shared.domain.submission import ObjectRef
from shared.ports.blobs import BlobInfo, BlobStore, ByteRange

PARALLEL = 8
"""Requests at a time, as the store of Cloud Storage makes them."""


@dataclass
class CountedBlobStore(BlobStore):
    """Reading through to ``inner``.

    Attributes:
        latency_s: Of each request.
        requests: Looking up and listing are one each, a page of names at most.
        bytes_read: Content alone.
        log: Size of each answer with content.
    """

    inner: BlobStore
    latency_s: float = 0.0
    requests: int = 0
    log: list[int] = field(default_factory=list)

    @property
    def bytes_read(self) -> int:
        return sum(self.log)

    @override
    def stat(self, bucket: str, name: str) -> BlobInfo:
        self._wait(1)
        return self.inner.stat(bucket, name)

    @override
    def read(self, ref: ObjectRef, span: ByteRange | None = None) -> bytes:
        self._wait(1)
        data = self.inner.read(ref, span)
        self.log.append(len(data))
        return data

    @override
    def read_many(self, ref: ObjectRef, spans: Sequence[ByteRange]) -> builtins.list[bytes]:
        self._wait(len(spans))
        parts = self.inner.read_many(ref, spans)
        self.log += [len(part) for part in parts]
        return parts

    @override
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
        self._wait(1)
        return self.inner.write(
            bucket, name, chunks, if_generation=if_generation, content_type=content_type, metadata=metadata
        )

    @override
    def list(self, bucket: str, prefix: str = "") -> Iterator[BlobInfo]:
        self._wait(1)
        return self.inner.list(bucket, prefix)

    @override
    def delete(self, bucket: str, name: str, *, if_generation: int | None = None) -> None:
        self._wait(1)
        self.inner.delete(bucket, name, if_generation=if_generation)

    def _wait(self, requests: int) -> None:
        self.requests += requests
        time.sleep(self.latency_s * -(-requests // PARALLEL))
