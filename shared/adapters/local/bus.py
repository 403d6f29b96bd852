"""Topics within one process: the event bus of the local backend."""

from __future__ import annotations

import logging
import random
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from typing_extensions import override

from shared.domain.errors import CelldropError
from shared.domain.submission import Topic
from shared.ports.events import EventBus, Message

MAX_DELIVERIES = 10
MAX_DEAD_LETTERS = 100
"""The messages given up that are kept for whoever looks; older ones are only in the log."""

Handler: TypeAlias = Callable[[Message], None]
Ready: TypeAlias = Callable[[Message], bool]
"""Whether a message can be delivered now. If not, it waits, and other messages go first."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that could not be handled, with the last error."""

    topic: Topic
    message: Message
    error: Exception
    deliveries: int


@dataclass(frozen=True, slots=True)
class Chaos:
    """Deliberate faults, reproducible from a seed: a bus may deliver twice and in any order.

    Attributes:
        duplicate: The probability that a published message is delivered once more.
    """

    seed: int
    duplicate: float = 0.0
    reorder: bool = False


@dataclass(frozen=True, slots=True)
class _Delivery:
    topic: Topic
    handler: Handler
    message: Message
    ready: Ready
    number: int = 1


def always(_message: Message) -> bool:
    """Ready for every message."""
    return True


class InProcessBus(EventBus):
    """An event bus within one process: at least once, in any order; thread-safe.

    Messages are lost with the process, but their outbox entries are not. A topic keeps its messages until its first
    subscription; after that, each subscription gets its own copy.
    """

    def __init__(self, *, chaos: Chaos | None = None, max_deliveries: int = MAX_DELIVERIES) -> None:
        self._chaos = chaos or Chaos(0)
        self._random = random.Random(self._chaos.seed)  # noqa: S311  # repeated on purpose, keeps no secret
        self._max_deliveries = max_deliveries
        self._changed = threading.Condition()
        self._handlers: dict[Topic, list[tuple[Handler, Ready]]] = defaultdict(list)
        self._unclaimed: dict[Topic, list[Message]] = defaultdict(list)
        self._due: deque[_Delivery] = deque()
        self._held: list[_Delivery] = []
        self._later: list[_Delivery] = []
        self._here: Counter[tuple[Topic, str]] = Counter()
        self._dead: deque[DeadLetter] = deque(maxlen=MAX_DEAD_LETTERS)

    @property
    def dead_letters(self) -> tuple[DeadLetter, ...]:
        """The latest messages that were given up, oldest first."""
        with self._changed:
            return tuple(self._dead)

    @property
    def waiting(self) -> tuple[Message, ...]:
        """The messages that wait until their handler is ready, in order."""
        with self._changed:
            return tuple(held.message for held in self._held)

    @override
    def holds(self, topic: Topic, message_id: str) -> bool:
        with self._changed:
            return self._here[topic, message_id] > 0 or any(
                message.id == message_id for message in self._unclaimed.get(topic, ())
            )

    @override
    def publish(self, topic: Topic, message: Message) -> None:
        with self._changed:
            copies = 1 + (self._random.random() < self._chaos.duplicate)
            if self._handlers[topic]:
                for handler, ready in self._handlers[topic]:
                    wanted = self._wanted(handler, message, copies)
                    self._queue([_Delivery(topic, handler, message, ready)] * wanted)
            else:
                self._unclaimed[topic].extend([message] * copies)
            self._changed.notify_all()

    def _queue(self, deliveries: list[_Delivery]) -> None:
        self._due.extend(deliveries)
        self._here.update((delivery.topic, delivery.message.id) for delivery in deliveries)

    def _over(self, delivery: _Delivery) -> None:
        """Forget a delivery that was handled or given up."""
        key = (delivery.topic, delivery.message.id)
        self._here[key] -= 1
        if self._here[key] <= 0:
            del self._here[key]

    def _wanted(self, handler: Handler, message: Message, copies: int) -> int:
        """How many copies to queue; none if the same message is still waiting for this handler."""
        waits = any(due.handler == handler and due.message.id == message.id for due in self._held)
        return 0 if waits else copies

    def subscribe(self, topic: Topic, handler: Handler, ready: Ready = always) -> None:
        """Deliver every message of a topic to ``handler``, including those kept for the first subscription.

        If the handler raises a retryable error or an unknown exception, the message is delivered again. After a
        permanent error of the domain, it becomes a dead letter at once.
        """
        with self._changed:
            self._handlers[topic].append((handler, ready))
            waiting = self._unclaimed.pop(topic, [])
            self._queue([_Delivery(topic, handler, message, ready) for message in waiting])
            self._changed.notify_all()

    def deliver_pending(self) -> int:
        """Deliver all due messages, including those that handlers publish meanwhile. Returns the number of deliveries.

        A failed message waits for the next call, so that its cause has time to pass. So does a message whose handler is
        not ready.
        """
        with self._changed:
            self._due.extendleft(reversed(self._held))
            self._held.clear()
            self._due.extend(self._later)
            self._later.clear()
        count = 0
        while (delivery := self._next()) is not None:
            self._deliver(delivery)
            count += 1
        return count

    def wait(self, timeout_s: float) -> bool:
        """Block until a message is due or the time is up. Returns whether one is due."""
        with self._changed:
            return self._changed.wait_for(lambda: bool(self._due), timeout_s)

    def _next(self) -> _Delivery | None:
        with self._changed:
            while self._due:
                if self._chaos.reorder:
                    self._due.rotate(self._random.randrange(len(self._due)))
                first = self._due.popleft()
                if first.ready(first.message):
                    return first
                self._held.append(first)
            return None

    def _deliver(self, delivery: _Delivery) -> None:
        try:
            delivery.handler(delivery.message)
        except Exception as error:  # noqa: BLE001  # a handler may fail in any way; the message must not be lost
            self._failed(delivery, error)
        except BaseException:
            with self._changed:
                self._due.appendleft(delivery)
            raise
        else:
            with self._changed:
                self._over(delivery)

    def _failed(self, delivery: _Delivery, error: Exception) -> None:
        permanent = isinstance(error, CelldropError) and not error.retryable
        given_up = permanent or delivery.number >= self._max_deliveries
        _log.warning(
            "delivery %d of %s on %s failed%s",
            delivery.number,
            delivery.message.id,
            delivery.topic,
            " for good" if given_up else "",
            exc_info=error,
        )
        with self._changed:
            if given_up:
                self._over(delivery)
                self._dead.append(DeadLetter(delivery.topic, delivery.message, error, delivery.number))
            else:
                self._later.append(replace(delivery, number=delivery.number + 1))
