"""The status store in memory keeps the contract, between threads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from datetime import timedelta

import pytest

from shared.records.documents import Document, submission_document
from tests.contracts.racing import StatusDoor
from tests.contracts.status_contract import StatusStoreContract
from tests.contracts.unreadable_contract import Rewrite
from tests.fakes.clock import SettableClock
from tests.fakes.status import MemoryStatusStore

TICK = timedelta(microseconds=1)


class TestMemoryStatusStore(StatusStoreContract):
    @pytest.fixture
    def memory(self) -> MemoryStatusStore:
        return MemoryStatusStore(SettableClock(tick=TICK))

    @pytest.fixture
    def door(self, memory: MemoryStatusStore) -> StatusDoor:
        return lambda: memory

    @pytest.fixture
    def raw(self, memory: MemoryStatusStore) -> Callable[[str], Document]:
        return lambda submission_id: submission_document(memory.records[submission_id].value)

    @pytest.fixture
    def rewrite(self, memory: MemoryStatusStore) -> Rewrite:
        return lambda submission_id, _text: memory.unreadable.add(submission_id)

    @pytest.fixture
    def racers(self, threads: Executor) -> Executor:
        return threads

    @pytest.fixture
    def fresh(self) -> StatusDoor:
        return lambda: MemoryStatusStore(SettableClock(tick=TICK))
