"""Emulators for a test session, as a pytest plugin: skipped where they cannot run, unless the environment insists."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from uuid import uuid4

import pytest
from google.cloud.firestore import Client

from tests.cloud.emulators import firestore_emulator, storage_emulator
from tests.cloud.emulators_doors import StorageDoor, firestore_at
from tests.cloud.emulators_promises import Promise, kept_promises
from tests.cloud.emulators_storage import StorageStandIn, storage_stand_in
from tests.cloud.pubsub_emulator import EmulatorMissingError
from tests.cloud.pubsub_session import INSISTING


@pytest.fixture(scope="session")
def firestore_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with _or_skipped(), firestore_emulator(tmp_path_factory.mktemp("firestore")) as host:
        yield host


@pytest.fixture
def new_database(firestore_host: str) -> Iterator[Callable[[], Client]]:
    """Each call gives a client of an empty database of its own."""
    with ExitStack() as opened:
        yield lambda: opened.enter_context(firestore_at(firestore_host, f"test-{uuid4().hex}"))


@pytest.fixture(scope="session")
def storage_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with _or_skipped(), storage_emulator(tmp_path_factory.mktemp("storage")) as url:
        yield url


@pytest.fixture(scope="session")
def promises(storage_url: str) -> frozenset[Promise]:
    return kept_promises(StorageDoor(storage_url))


@pytest.fixture
def stand_in() -> Iterator[StorageStandIn]:
    with storage_stand_in() as server:
        yield server


@contextmanager
def _or_skipped() -> Iterator[None]:
    try:
        yield
    except EmulatorMissingError as error:
        if any(name in os.environ for name in INSISTING):
            pytest.fail(str(error))
        pytest.skip(str(error))
