"""The event bus: messages published to topics, delivered at least once and in any order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from shared.domain.submission import Topic


@dataclass(frozen=True, slots=True)
class Message:
    """Bytes with attributes.

    Attributes:
        id: Our own id, the same if published again, so that receivers can deduplicate. Not the bus's message id.
    """

    id: str
    data: bytes
    attributes: Mapping[str, str] = field(default_factory=dict)


class EventBus(Protocol):
    """The publishing side. Messages are received by a function's push endpoint, or in the embedded bus's loop."""

    def takes(self, topic: Topic) -> bool:
        """Whether this process may publish to a topic. If not, another process does."""
        del topic
        return True

    def holds(self, topic: Topic, message_id: str) -> bool:
        """Whether a message that was published still waits in this process, so that it need not be published again.

        A bus that hands messages over to a service says no: whether they still wait there is not known.
        """
        del topic, message_id
        return False

    def publish(self, topic: Topic, message: Message) -> None:
        """Publish a message, and return once the bus has confirmed it.

        A bus may drop a message that equals one that it still keeps. Only a job that was delivered is delivered again.

        Raises:
            UnavailableError: The bus did not confirm the message, which may be published nevertheless.
        """
        ...
