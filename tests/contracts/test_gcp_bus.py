"""The Pub/Sub bus keeps its contract against Google's emulator, and says what is wrong when it cannot publish."""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from google.pubsub_v1 import PublisherClient, SubscriberClient

from shared.adapters.gcp.bus import ID_ATTRIBUTE, PubSubBus, connect
from shared.domain.errors import AccessDeniedError, CelldropError, InternalError, SettingsError, UnavailableError
from shared.domain.submission import Topic
from shared.ports.events import Message
from tests.cloud.local_cloud_programs import free_port
from tests.cloud.pubsub_emulator import HOST_VARIABLE
from tests.cloud.pubsub_faults import ACCEPT, FaultyPublisher, serving
from tests.cloud.pubsub_session import pubsub_for_tests
from tests.contracts.bus_contract import Arrivals, EventBusContract

PROJECT = "celldrop-test"
TIMEOUT_S = 60.0
MESSAGE = Message("s1/job/1", b"x")
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with pubsub_for_tests(tmp_path_factory.mktemp("pubsub")) as host:
        yield host


@pytest.fixture(scope="module")
def publisher(emulator: str) -> Iterator[PublisherClient]:
    assert emulator
    with connect() as client:
        yield client


@pytest.fixture(scope="module")
def subscriber(emulator: str) -> Iterator[SubscriberClient]:
    assert emulator
    with SubscriberClient() as client:
        yield client


@pytest.fixture
def topics(publisher: PublisherClient) -> dict[Topic, str]:
    """Topics of this test's own, by their short names."""
    names = {topic: f"{topic}-{next(_numbers)}" for topic in Topic}
    for name in names.values():
        publisher.create_topic(name=PublisherClient.topic_path(PROJECT, name))
    return names


class _Pulled:
    """A subscription to each topic, pulled until enough has come."""

    def __init__(self, subscriber: SubscriberClient, topics: dict[Topic, str]) -> None:
        self._subscriber = subscriber
        self._names = {topic: SubscriberClient.subscription_path(PROJECT, name) for topic, name in topics.items()}
        self._messages: dict[Topic, list[Message]] = {topic: [] for topic in Topic}
        for topic, name in topics.items():
            subscriber.create_subscription(name=self._names[topic], topic=PublisherClient.topic_path(PROJECT, name))

    def wait_for(self, topic: Topic, n: int) -> list[Message]:
        last_s = time.monotonic() + TIMEOUT_S
        while len(self._messages[topic]) < n and time.monotonic() < last_s:
            self._pull(topic)
        return self._messages[topic]

    def _pull(self, topic: Topic) -> None:
        name = self._names[topic]
        answer = self._subscriber.pull(subscription=name, max_messages=100, timeout=TIMEOUT_S)
        for received in answer.received_messages:
            attributes = dict(received.message.attributes)
            self._messages[topic].append(Message(attributes.pop(ID_ATTRIBUTE), received.message.data, attributes))
        if answer.received_messages:
            ids = [received.ack_id for received in answer.received_messages]
            self._subscriber.acknowledge(subscription=name, ack_ids=ids)


class TestPubSubBus(EventBusContract):
    @pytest.fixture
    def bus(self, publisher: PublisherClient, topics: dict[Topic, str]) -> PubSubBus:
        return PubSubBus(lambda: publisher, topics, PROJECT)

    @pytest.fixture
    def arrivals(self, subscriber: SubscriberClient, topics: dict[Topic, str]) -> Arrivals:
        return _Pulled(subscriber, topics)


def test_a_topic_may_be_named_in_full(
    publisher: PublisherClient, subscriber: SubscriberClient, topics: dict[Topic, str]
) -> None:
    arrivals = _Pulled(subscriber, topics)
    full = {topic: PublisherClient.topic_path(PROJECT, name) for topic, name in topics.items()}
    message = Message("1", b"x")
    PubSubBus(lambda: publisher, full, "another-project").publish(Topic.JOBS, message)
    assert arrivals.wait_for(Topic.JOBS, 1) == [message]


def test_an_attribute_may_be_named_like_anything(
    publisher: PublisherClient, subscriber: SubscriberClient, topics: dict[Topic, str]
) -> None:
    arrivals = _Pulled(subscriber, topics)
    message = Message("1", b"x", {"topic": "a", "data": "b", "retry": "c", "timeout": "d", "ordering_key": "e"})
    PubSubBus(lambda: publisher, topics, PROJECT).publish(Topic.EVENTS, message)
    assert arrivals.wait_for(Topic.EVENTS, 1) == [message]


def test_a_missing_topic_is_named_with_how_to_make_it(publisher: PublisherClient) -> None:
    bus = PubSubBus(lambda: publisher, {Topic.JOBS: "nowhere"}, PROJECT)
    with pytest.raises(SettingsError, match="does not exist") as caught:
        bus.publish(Topic.JOBS, MESSAGE)
    assert caught.value.where == f"projects/{PROJECT}/topics/nowhere"
    assert f"gcloud pubsub topics create projects/{PROJECT}/topics/nowhere" in caught.value.hint
    assert "CELLDROP_JOBS_TOPIC" in caught.value.hint


def test_a_bus_that_nobody_answers_for_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    with _bus_at(f"127.0.0.1:{free_port()}", monkeypatch) as bus, pytest.raises(UnavailableError):
        bus.publish(Topic.JOBS, MESSAGE)


def test_a_bus_that_is_silent_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        with _bus_at(host, monkeypatch) as bus, pytest.raises(UnavailableError):
            bus.publish(Topic.JOBS, MESSAGE)


@pytest.mark.parametrize(
    "status", ["ABORTED", "DEADLINE_EXCEEDED", "INTERNAL", "RESOURCE_EXHAUSTED", "UNAVAILABLE", "UNKNOWN"]
)
def test_a_passing_fault_is_tried_again_with_the_same_message(status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pubsub = FaultyPublisher(status, status, ACCEPT)
    with serving(pubsub) as host, _bus_at(host, monkeypatch, timeout_s=TIMEOUT_S) as bus:
        bus.publish(Topic.JOBS, MESSAGE)
    assert len(pubsub.requests) == 3
    assert pubsub.requests[0] == pubsub.requests[2]
    assert pubsub.requests[0].messages[0].attributes[ID_ATTRIBUTE] == MESSAGE.id


@pytest.mark.parametrize("status", ["ABORTED", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "UNAVAILABLE"])
def test_a_lasting_fault_is_unavailable_and_so_stays_owed(status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pubsub = FaultyPublisher(status)
    with serving(pubsub) as host, _bus_at(host, monkeypatch) as bus, pytest.raises(UnavailableError) as caught:
        bus.publish(Topic.JOBS, MESSAGE)
    assert caught.value.retryable


@pytest.mark.parametrize(
    ("status", "kind", "hint"),
    [
        ("PERMISSION_DENIED", AccessDeniedError, "roles/pubsub.publisher"),
        ("UNAUTHENTICATED", AccessDeniedError, "roles/pubsub.publisher"),
        ("NOT_FOUND", SettingsError, "gcloud pubsub topics create"),
        ("INVALID_ARGUMENT", InternalError, ""),
    ],
)
def test_a_refusal_is_not_tried_again(
    status: str, kind: type[CelldropError], hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pubsub = FaultyPublisher(status)
    with serving(pubsub) as host, _bus_at(host, monkeypatch) as bus, pytest.raises(kind) as caught:
        bus.publish(Topic.JOBS, MESSAGE)
    assert hint in caught.value.hint
    assert len(pubsub.requests) == 1


@contextmanager
def _bus_at(host: str, monkeypatch: pytest.MonkeyPatch, timeout_s: float = 0.5) -> Iterator[PubSubBus]:
    monkeypatch.setenv(HOST_VARIABLE, host)
    with connect() as client:
        yield PubSubBus(lambda: client, {Topic.JOBS: "jobs"}, PROJECT, timeout_s)
