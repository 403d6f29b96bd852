"""The bus and the job runner in memory keep their contracts."""

from __future__ import annotations

import pytest

from shared.domain.submission import Topic
from shared.ports.events import Message
from shared.ports.jobs import ExecutionReport, ExecutionState, JobRunner
from tests.contracts.bus_contract import Arrivals, EventBusContract
from tests.contracts.job_contract import JobRunnerContract, JobWorld, Told
from tests.fakes.bus import MemoryBus
from tests.fakes.jobs import RecordedJobRunner


class _Published:
    def __init__(self, bus: MemoryBus) -> None:
        self._bus = bus

    def wait_for(self, topic: Topic, n: int) -> list[Message]:
        del n
        return self._bus.messages(topic)


class TestMemoryBus(EventBusContract):
    @pytest.fixture
    def bus(self) -> MemoryBus:
        return MemoryBus()

    @pytest.fixture
    def arrivals(self, bus: MemoryBus) -> Arrivals:
        return _Published(bus)


class _RecordedWorld:
    def __init__(self) -> None:
        self._recorded = RecordedJobRunner()

    @property
    def runner(self) -> JobRunner:
        return self._recorded

    def tasks(self, execution: str) -> list[Told]:
        request = self._recorded.requests[execution]
        count = 1 if request.finalize_only else request.n_tasks
        return [
            Told(request.submission_id, request.epoch, request.finalize_only, execution, index, count, 0)
            for index in range(count)
        ]

    def end(self, execution: str, *, well: bool) -> None:
        state = ExecutionState.SUCCEEDED if well else ExecutionState.FAILED
        self._recorded.end(execution, state, "" if well else "exit status 3")

    def over(self, execution: str) -> ExecutionReport:
        return self._recorded.describe(execution)


class TestRecordedJobRunner(JobRunnerContract):
    @pytest.fixture
    def world(self) -> JobWorld:
        return _RecordedWorld()
