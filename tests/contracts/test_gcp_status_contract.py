"""The Firestore status store keeps the contract, against Google's own emulator."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import Any

import pytest
from google.cloud.firestore import Client

from shared.adapters.gcp.status import FirestoreStatusStore
from shared.records.documents import Document
from tests.contracts.racing import StatusDoor
from tests.contracts.status_contract import FreshDoors, StatusStoreContract
from tests.contracts.unreadable_contract import Rewrite

pytest_plugins = ["tests.cloud.emulators_session"]


class TestFirestoreStatusStore(StatusStoreContract):
    @pytest.fixture
    def database(self, new_database: Callable[[], Client]) -> Client:
        return new_database()

    @pytest.fixture
    def door(self, database: Client) -> StatusDoor:
        return lambda: FirestoreStatusStore(database)

    @pytest.fixture
    def raw(self, database: Client) -> Callable[[str], Document]:
        def document(submission_id: str) -> Any:
            return json.loads(database.document(f"submissions/{submission_id}").get().get("record"))

        return document

    @pytest.fixture
    def rewrite(self, database: Client) -> Rewrite:
        def rewrite(submission_id: str, text: str) -> None:
            database.document(f"submissions/{submission_id}").update({"record": text})

        return rewrite

    @pytest.fixture
    def racers(self, threads: Executor) -> Executor:
        return threads

    @pytest.fixture
    def fresh_doors(self, new_database: Callable[[], Client]) -> FreshDoors:
        return lambda: [partial(FirestoreStatusStore, new_database())]
