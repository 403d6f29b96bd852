"""A blob store that counts what is asked of another one, and may take its time as one over a network does."""

from __future__ import annotations

import builtins
import time
from collections import Counter
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
        asked: Requests by the port's method.
        written: Bytes of the latest object of each name, ``BUCKET/NAME``.
    """

    inner: BlobStore
    latency_s: float = 0.0
    requests: int = 0
    log: list[int] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    written: dict[str, int] = field(default_factory=dict)

    @property
    def bytes_read(self) -> int:
        return sum(self.log)

    @override
    def stat(self, bucket: str, name: str) -> BlobInfo:
        self._wait("stat")
        return self.inner.stat(bucket, name)

    @override
    def read(self, ref: ObjectRef, span: ByteRange | None = None) -> bytes:
        self._wait("read")
        data = self.inner.read(ref, span)
        self.log.append(len(data))
        return data

    @override
    def read_many(self, ref: ObjectRef, spans: Sequence[ByteRange]) -> builtins.list[bytes]:
        self._wait("read", len(spans))
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
        self._wait("write")
        info = self.inner.write(
            bucket, name, chunks, if_generation=if_generation, content_type=content_type, metadata=metadata
        )
        self.written[f"{bucket}/{name}"] = info.size_bytes
        return info

    @override
    def list(self, bucket: str, prefix: str = "") -> Iterator[BlobInfo]:
        self._wait("list")
        return self.inner.list(bucket, prefix)

    @override
    def delete(self, bucket: str, name: str, *, if_generation: int | None = None) -> None:
        self._wait("delete")
        self.inner.delete(bucket, name, if_generation=if_generation)

    def _wait(self, method: str, requests: int = 1) -> None:
        self.asked[method] += requests
        self.requests += requests
        time.sleep(self.latency_s * -(-requests // PARALLEL))
