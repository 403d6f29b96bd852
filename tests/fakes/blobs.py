"""The blob store in memory."""

from __future__ import annotations

import builtins
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime

import google_crc32c
from typing_extensions import override

from shared.domain.errors import BlobNotFoundError, PreconditionFailedError, SettingsError
from shared.domain.submission import ObjectRef
from shared.ports.blobs import BlobInfo, BlobStore, ByteRange
from tests.fakes.calls import Hook, call, nothing
from tests.fakes.clock import SettableClock


class MemoryBlobStore(BlobStore):
    """Objects in a dictionary.

    Args:
        buckets: The buckets that there are; None for all that anybody names.
    """

    def __init__(
        self,
        clock: Callable[[], datetime] | None = None,
        hook: Hook = nothing,
        buckets: Collection[str] | None = None,
    ) -> None:
        self.hook = hook
        self._buckets = buckets
        self.objects: dict[tuple[str, str], tuple[BlobInfo, bytes]] = {}
        self._clock = clock or SettableClock()
        self._generation = 1_000
        self._lock = threading.Lock()

    @override
    def stat(self, bucket: str, name: str) -> BlobInfo:
        with call(self.hook, "blobs.stat"), self._lock:
            found = self.objects.get((bucket, name))
            if found is None:
                raise BlobNotFoundError(f"no object {name!r}", where=bucket)
            return found[0]

    @override
    def read(self, ref: ObjectRef, span: ByteRange | None = None) -> bytes:
        with call(self.hook, "blobs.read"):
            return self._read(ref, span)

    @override
    def read_many(self, ref: ObjectRef, spans: Sequence[ByteRange]) -> builtins.list[bytes]:
        with call(self.hook, "blobs.read_many"):
            return [self._read(ref, span) for span in spans]

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
        data = b"".join(chunks)
        with call(self.hook, "blobs.write"), self._lock:
            self._check_bucket(bucket)
            self._check(bucket, name, if_generation)
            self._generation += 1
            ref = ObjectRef(bucket, name, self._generation)
            crc32c = google_crc32c.value(data)
            info = BlobInfo(ref, len(data), crc32c, self._clock(), content_type, dict(metadata or {}))
            self._put(info, data)
            return info

    @override
    def list(self, bucket: str, prefix: str = "") -> Iterator[BlobInfo]:
        with call(self.hook, "blobs.list"), self._lock:
            self._check_bucket(bucket)
            found = [
                info for (place, name), (info, _) in self.objects.items() if place == bucket and name.startswith(prefix)
            ]
        yield from sorted(found, key=lambda info: info.ref.name)

    @override
    def delete(self, bucket: str, name: str, *, if_generation: int | None = None) -> None:
        with call(self.hook, "blobs.delete"), self._lock:
            if (bucket, name) in self.objects:
                self._check(bucket, name, if_generation)
                self._remove(bucket, name)

    def _read(self, ref: ObjectRef, span: ByteRange | None) -> bytes:
        with self._lock:
            found = self.objects.get((ref.bucket, ref.name))
        if found is None or found[0].ref != ref:
            raise BlobNotFoundError(f"{ref} is not there")
        data = found[1]
        return data if span is None else data[span.offset : span.offset + span.length]

    def _put(self, info: BlobInfo, data: bytes) -> None:
        self.objects[info.ref.bucket, info.ref.name] = (info, data)

    def _remove(self, bucket: str, name: str) -> None:
        del self.objects[bucket, name]

    def _check_bucket(self, bucket: str) -> None:
        if self._buckets is not None and bucket not in self._buckets:
            raise SettingsError(f"there is no bucket {bucket!r}")

    def _check(self, bucket: str, name: str, if_generation: int | None) -> None:
        there = self.objects.get((bucket, name))
        found = there[0].ref.generation if there else 0
        if if_generation not in {None, found}:
            raise PreconditionFailedError(
                f"{name!r} is at generation {found}", expected=f"{if_generation}", where=bucket
            )
