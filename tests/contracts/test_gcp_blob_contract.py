"""The Cloud Storage blob store keeps the contract, against a strict stand-in and against an emulator."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Executor

import google_crc32c
import pytest
from google.cloud.storage import Client  # type: ignore[import-untyped]  # it ships no types

from shared.adapters.gcp.blobs import CloudBlobStore
from shared.adapters.gcp.blobs_upload import QUANTUM_BYTES
from shared.ports.blobs import BlobStore
from tests.cloud.emulators import STORAGE_VARIABLE
from tests.cloud.emulators_doors import StorageDoor
from tests.cloud.emulators_promises import Promise
from tests.cloud.emulators_storage import StorageStandIn
from tests.contracts.blob_contract import BlobStoreContract, FreshDoors, RawBlobs
from tests.contracts.racing import BlobDoor

pytest_plugins = ["tests.cloud.emulators_session"]

CONDITIONS = frozenset({Promise.WRITE_CONDITIONS, Promise.READ_CONDITIONS, Promise.DELETE_CONDITIONS})
NEEDS = {
    "test_an_object_is_described_as_it_was_written": frozenset({Promise.METADATA}),
    "test_a_new_generation_keeps_nothing_of_the_old_ones_description": frozenset({Promise.METADATA}),
    "test_many_spans_of_a_replaced_generation_are_refused": frozenset({Promise.READ_CONDITIONS}),
    "test_a_replaced_generation_cannot_be_read": frozenset({Promise.READ_CONDITIONS}),
    "test_an_object_made_again_has_a_new_generation": frozenset({Promise.READ_CONDITIONS}),
    "test_create_only_refuses_what_is_there": frozenset({Promise.WRITE_CONDITIONS}),
    "test_a_write_over_another_generation_is_refused": frozenset({Promise.WRITE_CONDITIONS}),
    "test_an_object_that_appears_during_a_create_only_write_wins": frozenset({Promise.WRITE_CONDITIONS}),
    "test_deleting_another_generation_is_refused": frozenset({Promise.DELETE_CONDITIONS}),
    "test_of_racing_create_only_writers_one_wins_each_name": frozenset({Promise.WRITE_CONDITIONS}),
    "test_racing_conditional_writers_lose_no_count": frozenset({Promise.WRITE_CONDITIONS}),
    "test_a_pinned_reader_never_gets_a_mix": frozenset({Promise.READ_CONDITIONS}),
    "test_any_sequence_of_calls_does_as_a_dictionary_would": CONDITIONS,
}
"""Tests of the contract that an emulator can pass only if it keeps a promise."""


class CloudBlobStoreContract(BlobStoreContract):
    """Fixture to give: ``storage``."""

    @pytest.fixture
    def bucket(self, storage: StorageDoor) -> str:
        return storage.new_bucket()

    @pytest.fixture
    def other_bucket(self, storage: StorageDoor) -> str:
        return storage.new_bucket()

    @pytest.fixture
    def client(self, storage: StorageDoor) -> Iterator[Client]:
        with storage.client() as client:
            yield client

    @pytest.fixture
    def door(self, client: Client) -> BlobDoor:
        return lambda: CloudBlobStore(client)

    @pytest.fixture
    def raw(self, storage: StorageDoor) -> RawBlobs:
        return storage

    @pytest.fixture
    def racers(self, threads: Executor) -> Executor:
        return threads

    @pytest.fixture
    def fresh_doors(self, storage: StorageDoor, door: BlobDoor) -> FreshDoors:
        return lambda: ([door], storage.new_bucket())

    @pytest.mark.parametrize("size_bytes", [2 * QUANTUM_BYTES, 5 * QUANTUM_BYTES + 1])
    @pytest.mark.parametrize("if_generation", [None, 0])
    def test_a_long_stream_is_stored_whole(
        self, client: Client, raw: RawBlobs, bucket: str, size_bytes: int, if_generation: int | None
    ) -> None:
        data = os.urandom(size_bytes)
        store = CloudBlobStore(client, piece_bytes=2 * QUANTUM_BYTES)
        chunks = (data[i : i + 100_000] for i in range(0, size_bytes, 100_000))
        info = store.write(bucket, "long", chunks, if_generation=if_generation)
        assert (info.size_bytes, info.crc32c) == (size_bytes, google_crc32c.value(data))
        assert store.read(info.ref) == data == raw.get(bucket, "long")

    def test_any_name_can_be_kept(self, store: BlobStore, bucket: str) -> None:
        name = "lab ü/größe #1?%20&+=.h5ad"
        info = store.write(bucket, name, [b"data"], if_generation=0)
        assert [found.ref for found in store.list(bucket, "lab ü/")] == [info.ref] == [store.stat(bucket, name).ref]
        assert store.read(info.ref) == b"data"
        store.delete(bucket, name, if_generation=info.ref.generation)
        assert list(store.list(bucket)) == []


class TestCloudBlobStore(CloudBlobStoreContract):
    @pytest.fixture
    def storage(self, stand_in: StorageStandIn) -> StorageDoor:
        return StorageDoor(stand_in.url)


class TestCloudBlobStoreOnAnEmulator(CloudBlobStoreContract):
    """Another's idea of Cloud Storage; what it does not promise is not asked of it, unless somebody chose it."""

    @pytest.fixture
    def storage(self, storage_url: str) -> StorageDoor:
        return StorageDoor(storage_url)

    @pytest.fixture(autouse=True)
    def asked_only_what_is_promised(
        self, request: pytest.FixtureRequest, storage: StorageDoor, promises: frozenset[Promise]
    ) -> None:
        missing = NEEDS.get(request.node.originalname, frozenset()) - promises
        if not missing:
            return
        reason = f"{storage.url} does not keep: {'; '.join(sorted(missing))}"
        if STORAGE_VARIABLE in os.environ and missing != {Promise.METADATA}:
            pytest.fail(reason)
        pytest.skip(reason)


def test_what_is_asked_of_an_emulator_is_in_the_contract() -> None:
    assert set(NEEDS) <= set(dir(BlobStoreContract))
