"""The event bus: messages published to topics, at least once, in no order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from shared.domain.submission import Topic


@dataclass(frozen=True, slots=True)
class Message:
    """Bytes with attributes.

    Attributes:
        id: Ours, constant over republishing: receivers may deduplicate by it. Not the bus's own message id.
    """

    id: str
    data: bytes
    attributes: Mapping[str, str] = field(default_factory=dict)


class EventBus(Protocol):
    """Publishing; receiving is a push to a function's door, or the embedded bus's loop."""

    def takes(self, topic: Topic) -> bool:
        """Whether this process may publish to a topic; where not, somebody else does."""
        del topic
        return True

    def publish(self, topic: Topic, message: Message) -> None:
        """Return once the bus has taken the message.

        Raises:
            UnavailableError: The bus did not take it, or did not say so; it may have been taken all the same.
        """
        ...
