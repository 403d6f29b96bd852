"""What every event bus must do. Subclass it, and say with fixtures what to open and how to see what arrives."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import pytest

from shared.domain.submission import Topic
from shared.ports.events import EventBus, Message


class Arrivals(Protocol):
    """A subscription to both topics that was there before the test."""

    def wait_for(self, topic: Topic, n: int) -> list[Message]:
        """At least n messages of a topic; fewer only when no more will come."""
        ...


class EventBusContract:
    """Fixtures to give: ``bus``, ``arrivals``."""

    @pytest.mark.parametrize(
        "message",
        [
            Message("s1/job/1", b'{"a": 1}', {"kind": "job"}),
            Message("bytes", bytes(range(256))),
            Message("words", b"x", {"größe": "ä ö 細胞", "ce-type": "celldrop.submission.failed.v1"}),
        ],
        ids=lambda message: message.id,
    )
    def test_a_message_arrives_as_it_was_published(self, bus: EventBus, arrivals: Arrivals, message: Message) -> None:
        bus.publish(Topic.JOBS, message)
        found = arrivals.wait_for(Topic.JOBS, 1)
        assert found
        assert all(got == message for got in found)

    def test_topics_are_apart(self, bus: EventBus, arrivals: Arrivals) -> None:
        bus.publish(Topic.JOBS, Message("job", b"1"))
        bus.publish(Topic.EVENTS, Message("event", b"2"))
        assert {message.data for message in arrivals.wait_for(Topic.EVENTS, 1)} == {b"2"}
        assert {message.data for message in arrivals.wait_for(Topic.JOBS, 1)} == {b"1"}

    def test_a_job_that_arrived_arrives_again_if_it_is_published_again(self, bus: EventBus, arrivals: Arrivals) -> None:
        """Its first copy may have been lost with whoever received it."""
        bus.publish(Topic.JOBS, Message("same", b"x"))
        before = len(arrivals.wait_for(Topic.JOBS, 1))
        bus.publish(Topic.JOBS, Message("same", b"x"))
        assert len(arrivals.wait_for(Topic.JOBS, before + 1)) > before

    def test_an_event_published_again_stays_and_hides_no_other(self, bus: EventBus, arrivals: Arrivals) -> None:
        for data in (b"1", b"1", b"2", b"1"):
            bus.publish(Topic.EVENTS, Message("same", data))
        assert {message.data for message in arrivals.wait_for(Topic.EVENTS, 4)} == {b"1", b"2"}

    def test_messages_of_many_threads_all_arrive(self, bus: EventBus, arrivals: Arrivals) -> None:
        messages = [Message(str(i), str(i).encode()) for i in range(60)]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda message: bus.publish(Topic.JOBS, message), messages))
        found = Counter(message.id for message in arrivals.wait_for(Topic.JOBS, 60))
        assert set(found) == {message.id for message in messages}
