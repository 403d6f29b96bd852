"""The in-process bus and the subprocess job runner keep their contracts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from typing_extensions import override

from shared.adapters.local.bus import Chaos, InProcessBus
from shared.adapters.local.event_log import EmbeddedBus
from shared.domain.submission import Topic
from shared.ports.events import Message
from tests.contracts.bus_contract import Arrivals, EventBusContract
from tests.contracts.job_contract import JobRunnerContract, JobWorld
from tests.contracts.task_desk import SubprocessWorld


class _Subscriber:
    def __init__(self, bus: InProcessBus) -> None:
        self._bus = bus
        self._messages: dict[Topic, list[Message]] = {topic: [] for topic in Topic}
        for topic in Topic:
            bus.subscribe(topic, self._messages[topic].append)

    def wait_for(self, topic: Topic, n: int) -> list[Message]:
        del n  # Whatever is to come is due by now.
        self._bus.deliver_pending()
        return self._messages[topic]


class TestInProcessBus(EventBusContract):
    @pytest.fixture
    def bus(self) -> InProcessBus:
        return InProcessBus()

    @pytest.fixture
    def arrivals(self, bus: InProcessBus) -> Arrivals:
        return _Subscriber(bus)


class TestInProcessBusWithChaos(TestInProcessBus):
    @pytest.fixture
    def bus(self) -> InProcessBus:
        return InProcessBus(chaos=Chaos(seed=7, duplicate=0.5, reorder=True))


class _Logged(_Subscriber):
    """Jobs come to a subscriber, and events to the log, which keeps their data alone."""

    def __init__(self, bus: EmbeddedBus, log: Path) -> None:
        super().__init__(bus)
        self._log = log

    @override
    def wait_for(self, topic: Topic, n: int) -> list[Message]:
        if topic is Topic.EVENTS:
            return [Message("", line) for line in self._log.read_bytes().splitlines()]
        return super().wait_for(topic, n)


class TestEmbeddedBus(EventBusContract):
    @pytest.fixture
    def log(self, tmp_path: Path) -> Path:
        return tmp_path / "events.jsonl"

    @pytest.fixture
    def bus(self, log: Path) -> EmbeddedBus:
        return EmbeddedBus(log)

    @pytest.fixture
    def arrivals(self, bus: EmbeddedBus, log: Path) -> Arrivals:
        return _Logged(bus, log)


class TestSubprocessJobRunner(JobRunnerContract):
    @pytest.fixture(params=[False, True], ids=["commands", "forked"])
    def world(self, scratch: Path, request: pytest.FixtureRequest) -> Iterator[JobWorld]:
        world = SubprocessWorld(scratch, forked=request.param)
        yield world
        world.close()
