"""A bus that counts what is published to another one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from typing_extensions import override

from shared.domain.submission import Topic
from shared.ports.events import EventBus, Message

LEAST_BYTES = 1000
"""What Pub/Sub counts a smaller request as."""


@dataclass
class CountedBus(EventBus):
    """Passing on to ``inner``.

    Attributes:
        messages: Published, by topic.
        bytes_published: Data and attributes, each message as at least ``LEAST_BYTES``.
        largest_bytes: Of one message.
    """

    inner: EventBus
    messages: Counter[Topic] = field(default_factory=Counter)
    bytes_published: int = 0
    largest_bytes: int = 0

    @override
    def publish(self, topic: Topic, message: Message) -> None:
        self.inner.publish(topic, message)
        size_bytes = len(message.data) + sum(
            len(f"{name}{value}".encode()) for name, value in message.attributes.items()
        )
        self.messages[topic] += 1
        self.bytes_published += max(LEAST_BYTES, size_bytes)
        self.largest_bytes = max(self.largest_bytes, size_bytes)
