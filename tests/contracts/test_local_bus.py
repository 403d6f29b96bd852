"""What the in-process bus promises beyond the contract: redelivery, giving up, faults on purpose."""

from __future__ import annotations

import threading

import pytest

from shared.adapters.local.bus import Chaos, InProcessBus
from shared.domain.errors import InvalidMessageError, UnavailableError
from shared.domain.submission import Topic
from shared.ports.events import Message

ONE, TWO = Message("1", b"one"), Message("2", b"two")


class _Handler:
    """Raises the given errors, one a delivery, then takes everything."""

    def __init__(self, *errors: BaseException) -> None:
        self.got: list[Message] = []
        self._errors = list(errors)

    def __call__(self, message: Message) -> None:
        self.got.append(message)
        if self._errors:
            raise self._errors.pop(0)


def _deliver_all(bus: InProcessBus) -> int:
    calls = 0
    while bus.deliver_pending():
        calls += 1
    return calls


@pytest.mark.parametrize("error", [UnavailableError("busy"), ValueError("a fault of ours")])
def test_what_may_pass_brings_the_message_again_at_the_next_call(error: Exception) -> None:
    bus, handler = InProcessBus(), _Handler(error)
    bus.subscribe(Topic.JOBS, handler)
    bus.publish(Topic.JOBS, ONE)
    assert (bus.deliver_pending(), bus.deliver_pending(), bus.deliver_pending()) == (1, 1, 0)
    assert handler.got == [ONE, ONE]
    assert bus.dead_letters == ()


def test_a_message_waits_for_its_turn_and_others_go_before_it() -> None:
    bus, handler, free = InProcessBus(), _Handler(), set[str]()
    bus.subscribe(Topic.JOBS, handler, lambda message: message.id in free)
    for message in (ONE, TWO, ONE):
        bus.publish(Topic.JOBS, message)
    assert bus.deliver_pending() == 0
    assert not bus.wait(0.0)
    free.add("2")
    assert (bus.deliver_pending(), handler.got) == (1, [TWO])
    free.add("1")
    bus.publish(Topic.JOBS, ONE)
    assert (bus.deliver_pending(), handler.got) == (2, [TWO, ONE, ONE])
    assert bus.deliver_pending() == 0


def test_a_message_that_waits_for_its_turn_is_not_put_in_line_again() -> None:
    bus, handler = InProcessBus(), _Handler()
    bus.subscribe(Topic.JOBS, handler, lambda _message: False)
    bus.publish(Topic.JOBS, ONE)
    bus.deliver_pending()
    for _ in range(3):
        bus.publish(Topic.JOBS, ONE)
    assert len(bus.waiting) == 1


@pytest.mark.parametrize("subscribed_first", [True, False])
def test_a_message_is_held_until_it_is_handled(*, subscribed_first: bool) -> None:
    bus, free = InProcessBus(), [False]
    held: list[bool] = []

    def handle(message: Message) -> None:
        held.append(bus.holds(Topic.JOBS, message.id))
        if len(held) == 1:
            raise UnavailableError("busy")

    if not subscribed_first:
        bus.publish(Topic.JOBS, ONE)
    bus.subscribe(Topic.JOBS, handle, lambda _message: free[0])
    if subscribed_first:
        bus.publish(Topic.JOBS, ONE)
    assert (bus.holds(Topic.JOBS, ONE.id), bus.holds(Topic.JOBS, TWO.id)) == (True, False)
    assert not bus.holds(Topic.EVENTS, ONE.id)
    bus.deliver_pending()
    assert bus.holds(Topic.JOBS, ONE.id)
    free[0] = True
    bus.deliver_pending()
    assert bus.holds(Topic.JOBS, ONE.id), "it is delivered again"
    bus.deliver_pending()
    assert held == [True, True]
    assert not bus.holds(Topic.JOBS, ONE.id)


def test_a_message_that_was_given_up_is_not_held() -> None:
    bus = InProcessBus()
    bus.subscribe(Topic.JOBS, _Handler(InvalidMessageError("no such field")))
    bus.publish(Topic.JOBS, ONE)
    bus.deliver_pending()
    assert not bus.holds(Topic.JOBS, ONE.id)


def test_a_permanent_error_is_a_dead_letter_at_once() -> None:
    error = InvalidMessageError("no such field")
    bus, handler = InProcessBus(), _Handler(error)
    bus.subscribe(Topic.JOBS, handler)
    bus.publish(Topic.JOBS, ONE)
    assert _deliver_all(bus) == 1
    assert [(letter.message, letter.error, letter.deliveries) for letter in bus.dead_letters] == [(ONE, error, 1)]


def test_a_message_is_given_up_in_the_end_and_kept_with_the_last_error() -> None:
    errors = [UnavailableError(str(i)) for i in range(9)]
    bus, handler = InProcessBus(max_deliveries=3), _Handler(*errors)
    bus.subscribe(Topic.EVENTS, handler)
    bus.publish(Topic.EVENTS, ONE)
    assert _deliver_all(bus) == 3
    (letter,) = bus.dead_letters
    assert (letter.topic, letter.error, letter.deliveries) == (Topic.EVENTS, errors[2], 3)


def test_one_failing_message_does_not_hold_up_the_others() -> None:
    bus, handler = InProcessBus(), _Handler(UnavailableError("busy"))
    bus.subscribe(Topic.JOBS, handler)
    bus.publish(Topic.JOBS, ONE)
    bus.publish(Topic.JOBS, TWO)
    assert bus.deliver_pending() == 2
    assert handler.got == [ONE, TWO]


def test_what_a_handler_publishes_is_delivered_in_the_same_call() -> None:
    bus, seen = InProcessBus(), _Handler()
    bus.subscribe(Topic.JOBS, lambda message: bus.publish(Topic.EVENTS, message))
    bus.subscribe(Topic.EVENTS, seen)
    bus.publish(Topic.JOBS, ONE)
    assert bus.deliver_pending() == 2
    assert seen.got == [ONE]


def test_every_subscription_gets_its_own_copy() -> None:
    bus, first, second = InProcessBus(), _Handler(UnavailableError("busy")), _Handler()
    bus.subscribe(Topic.EVENTS, first)
    bus.subscribe(Topic.EVENTS, second)
    bus.publish(Topic.EVENTS, ONE)
    _deliver_all(bus)
    assert (first.got, second.got) == ([ONE, ONE], [ONE])


def test_messages_wait_for_the_first_subscription() -> None:
    bus, handler = InProcessBus(), _Handler()
    bus.publish(Topic.JOBS, ONE)
    assert bus.deliver_pending() == 0
    bus.subscribe(Topic.JOBS, handler)
    bus.deliver_pending()
    assert handler.got == [ONE]


def test_an_interrupted_delivery_is_not_lost() -> None:
    bus, handler = InProcessBus(), _Handler(KeyboardInterrupt())
    bus.subscribe(Topic.JOBS, handler)
    bus.publish(Topic.JOBS, ONE)
    with pytest.raises(KeyboardInterrupt):
        bus.deliver_pending()
    assert bus.deliver_pending() == 1


def _order_under_chaos(seed: int) -> list[str]:
    bus, handler = InProcessBus(chaos=Chaos(seed, duplicate=0.3, reorder=True)), _Handler()
    bus.subscribe(Topic.JOBS, handler)
    for i in range(30):
        bus.publish(Topic.JOBS, Message(str(i), b""))
    bus.deliver_pending()
    return [message.id for message in handler.got]


def test_chaos_loses_nothing_doubles_some_and_mixes_the_order() -> None:
    found = _order_under_chaos(1)
    assert set(found) == {str(i) for i in range(30)}
    assert 30 < len(found) < 60
    assert found != sorted(found, key=int)


def test_chaos_is_repeated_from_its_seed() -> None:
    assert _order_under_chaos(1) == _order_under_chaos(1) != _order_under_chaos(2)


def test_waiting_ends_when_a_message_is_published() -> None:
    bus = InProcessBus()
    bus.subscribe(Topic.JOBS, _Handler())
    publisher = threading.Thread(target=bus.publish, args=(Topic.JOBS, ONE))
    publisher.start()
    assert bus.wait(60)
    publisher.join()


def test_waiting_ends_with_the_time_while_nothing_can_be_delivered() -> None:
    bus = InProcessBus()
    bus.publish(Topic.JOBS, ONE)
    assert not bus.wait(0.01)
