"""The event bus as a list."""

from __future__ import annotations

from typing_extensions import override

from shared.domain.submission import Topic
from shared.ports.events import EventBus, Message
from tests.fakes.calls import Hook, call, nothing


class MemoryBus(EventBus):
    """Keeps what was published; a test takes it and hands it on as it likes: late, twice, never."""

    def __init__(self, hook: Hook = nothing) -> None:
        self.hook = hook
        self.published: list[tuple[Topic, Message]] = []

    @override
    def publish(self, topic: Topic, message: Message) -> None:
        with call(self.hook, "bus.publish"):
            self.published.append((topic, message))

    def messages(self, topic: Topic) -> list[Message]:
        return [message for place, message in self.published if place is topic]

    def outcomes(self) -> list[Message]:
        """The events that tell how something ended."""
        return [message for message in self.messages(Topic.EVENTS) if ".accepted." not in message.attributes["ce-type"]]

    def take(self, topic: Topic) -> list[Message]:
        """The messages of a topic, which are then no longer here."""
        taken = self.messages(topic)
        self.published = [(place, message) for place, message in self.published if place is not topic]
        return taken
