"""The page for other systems: its commands, its messages and its consumer do what it says."""

from __future__ import annotations

import json
import queue
import re
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from google.cloud import pubsub_v1  # type: ignore[attr-defined]  # ships no types
from google.cloud.pubsub_v1.subscriber._protocol.requests import (  # type: ignore[import-untyped]  # likewise
    AckRequest,
    NackRequest,
)
from google.cloud.pubsub_v1.subscriber.message import Message  # type: ignore[import-untyped]  # likewise
from google.pubsub_v1.types import PubsubMessage

from shared.domain.all_errors import all_errors
from shared.records.messages import parse_request
from tests.events.recording import MINIMAL, published, read

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "integrate-over-pubsub.md").read_text()

Callback: TypeAlias = Callable[[Message], object]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


class Subscriber:
    """Google's client as far as the page uses it: hands over what there is, and ends."""

    def __init__(self, deliveries: Sequence[Message]) -> None:
        self.deliveries = deliveries
        self.subscription = ""
        self.callback: Callback = lambda _: None

    def subscribe(self, subscription: str, callback: Callback) -> Subscriber:
        self.subscription, self.callback = subscription, callback
        return self

    def result(self) -> None:
        for message in self.deliveries:
            self.callback(message)


class Consumer:
    """The page's consumer in a folder of its own."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._patch = patch
        self.said: queue.Queue[Any] = queue.Queue()

    def receives(self, *events: bytes) -> list[type]:
        """Run the block over some deliveries; what it answered to each."""
        (code,) = blocks("python")
        client = Subscriber([self._message(data) for data in events])
        with self._patch.context() as patch:
            patch.chdir(self._folder)
            patch.setattr(pubsub_v1, "SubscriberClient", lambda: client)
            exec(compile(code, "integrate-over-pubsub.md", "exec"), {})
        assert client.subscription == "projects/my-project/subscriptions/my-lims"
        return [type(self.said.get_nowait()) for _ in range(self.said.qsize())]

    @property
    def orders(self) -> list[tuple[str, str]]:
        db = sqlite3.connect(self._folder / "orders.sqlite")
        found = db.execute("SELECT id, state FROM orders ORDER BY id, submission").fetchall()
        db.close()
        return found

    def _message(self, data: bytes) -> Message:
        return Message(PubsubMessage.pb(PubsubMessage(data=data)), "ack", 1, self.said)


@pytest.fixture
def consumer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Consumer:
    return Consumer(tmp_path, monkeypatch)


def event(name: str, **data: Any) -> bytes:
    example = json.loads(published()[name].data)
    example["data"].update(data)
    return json.dumps(example).encode()


# --- The consumer -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", ["succeeded", "failed", "cancelled", "rejected"])
def test_an_outcome_stays_whatever_the_order(consumer: Consumer, outcome: str) -> None:
    assert consumer.receives(event(outcome), event("accepted")) == [AckRequest] * 2
    assert consumer.orders == [("order-4711", outcome.upper())]


def test_an_order_is_queued_until_its_outcome_comes(consumer: Consumer) -> None:
    consumer.receives(event("accepted"))
    assert consumer.orders == [("order-4711", "QUEUED")]
    consumer.receives(event("succeeded"))
    assert consumer.orders == [("order-4711", "SUCCEEDED")]


def test_an_event_that_comes_twice_counts_once(consumer: Consumer) -> None:
    assert consumer.receives(event("succeeded"), event("succeeded", state="FAILED")) == [AckRequest] * 2
    assert consumer.orders == [("order-4711", "SUCCEEDED")]


def test_everybody_who_is_named_has_an_order(consumer: Consumer) -> None:
    consumer.receives(event("accepted", requesters=[{"correlation_id": name, "source": ""} for name in "ab"]))
    assert consumer.orders == [("a", "QUEUED"), ("b", "QUEUED")]


def test_a_version_to_come_is_left_for_the_dead_letter_topic(consumer: Consumer) -> None:
    assert consumer.receives(event("succeeded", schema_version=2)) == [NackRequest]
    assert consumer.orders == []


def test_what_could_not_be_kept_is_neither_acknowledged_nor_taken_for_known(consumer: Consumer) -> None:
    with pytest.raises(KeyError):
        consumer.receives(event("succeeded", requesters=[{}]))
    assert consumer.said.empty()
    assert consumer.receives(event("succeeded")) == [AckRequest]
    assert consumer.orders == [("order-4711", "SUCCEEDED")]


# --- Commands and messages ----------------------------------------------------------------------------------------


def test_the_request_that_is_published_is_the_minimal_example() -> None:
    (message,) = re.findall(r"topics publish celldrop-requests --message='(.*?)'", PAGE, re.DOTALL)
    assert json.loads(message) == MINIMAL
    assert parse_request(message.encode()).correlation_id == "order-4711"


def test_the_event_that_is_shown_is_the_example() -> None:
    (shown,) = blocks("json")
    assert json.loads(shown) == read("succeeded")


def test_the_filter_is_by_an_attribute_that_events_have() -> None:
    ((attribute, value),) = re.findall(r"--message-filter='attributes\.([\w-]+) != \"([^\"]+)\"'", PAGE)
    assert {name: message.attributes.get(attribute) == value for name, message in published().items()} == {
        name: name == "accepted" for name in published()
    }


def test_every_code_that_is_named_is_one() -> None:
    codes = {kind.code for kind in all_errors()}
    named = set(re.findall(r"`([A-Z]+_[A-Z_]+)`", PAGE)) - set(re.findall(r"`(CELLDROP_\w+)`", PAGE))
    assert named >= {"BUCKET_NOT_ALLOWED", "INPUT_NOT_FOUND", "INVALID_MESSAGE", "UNKNOWN_SCHEMA_VERSION"}
    assert named <= codes
