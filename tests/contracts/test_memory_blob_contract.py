"""The blob store in memory keeps the contract, between threads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor

import pytest

from shared.ports.blobs import BlobStore
from tests.contracts.blob_contract import BlobStoreContract, RawBlobs
from tests.contracts.racing import BlobDoor
from tests.fakes.blobs import MemoryBlobStore


class _Objects:
    def __init__(self, store: MemoryBlobStore) -> None:
        self._store = store

    def get(self, bucket: str, name: str) -> bytes | None:
        found = self._store.objects.get((bucket, name))
        return found[1] if found else None

    def put(self, bucket: str, name: str, data: bytes) -> None:
        info = self._store.write(bucket, name, [data])
        self._store.objects[bucket, name] = (info, data)


class TestMemoryBlobStore(BlobStoreContract):
    @pytest.fixture
    def bucket(self) -> str:
        return "results"

    @pytest.fixture
    def other_bucket(self) -> str:
        return "work"

    @pytest.fixture
    def memory(self, bucket: str, other_bucket: str) -> MemoryBlobStore:
        return MemoryBlobStore(buckets={bucket, other_bucket})

    @pytest.fixture
    def door(self, memory: MemoryBlobStore) -> BlobDoor:
        return lambda: memory

    @pytest.fixture
    def raw(self, memory: MemoryBlobStore) -> RawBlobs:
        return _Objects(memory)

    @pytest.fixture
    def racers(self, threads: Executor) -> Executor:
        return threads

    @pytest.fixture
    def fresh(self) -> Callable[[], tuple[BlobStore, str]]:
        return lambda: (MemoryBlobStore(), "b")
