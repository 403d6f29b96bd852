"""What the faults do to a deployment: drop, ask, redeliver, stop executions; and what they see of it."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

from google.cloud.run_v2 import Execution, ExecutionsClient
from google.cloud.storage import Blob, Client  # type: ignore[import-untyped]  # ships no types
from google.pubsub_v1 import PublisherClient, SubscriberClient, Subscription

from cli.demo import demo_file
from shared.adapters.gcp.jobs import connect
from shared.domain.submission import State
from tests.cloud.pipeline_cloud import Cloud, Deployed
from tests.prove.options import MODEL
from tests.prove.reached import Reached

TIMEOUT_S = 420.0
"""At Google's: cold starts, reconcile's minute, a run given up and started again."""
LOCAL_TIMEOUT_S = 120.0
SOON_S, LOCAL_SOON_S = 30.0, 12.0
"""How long something is listened for that ought not to come."""
LISTEN = "PROOF_LISTEN_S"
"""The variable that shortens it."""
SHARE = "PROOF_FAULTS"
"""The variable that names the faults to provoke, with semicolons between them; all where it is not set."""
LOOK_AGAIN_S = 0.1


class NotProvokedError(Exception):
    """The platform here cannot do it, or was quicker than the fault."""


@dataclass(slots=True)
class Hands:
    """Of somebody with an account, whose rights are those of an owner of the project."""

    cloud: Cloud
    reached: Reached
    executions: ExecutionsClient
    token: str

    @property
    def soon_s(self) -> float:
        """How long to listen for what ought not to come."""
        return float(os.environ.get(LISTEN, LOCAL_SOON_S if self.reached.local else SOON_S))

    @property
    def cells(self) -> bytes:
        """700 real cells, from scanpy's package."""
        return demo_file().read_bytes()

    def blob(self, name: str, key: bytes | None = None) -> Blob:
        """An object of this run's folder in the inbox."""
        at = self.cloud.at
        return self.cloud.storage.bucket(at.inbox).blob(at.folder + name, encryption_key=key)

    def drop(self, name: str, data: bytes | None = None, **options: str) -> Blob:
        """Upload at once, in one request; the object."""
        blob = self.blob(name)
        blob.metadata = {f"celldrop-{key}": value for key, value in {"model": MODEL, "map": "off", **options}.items()}
        blob.upload_from_string(self.cells if data is None else data)
        return blob

    def ends_of(self, name: str, seconds: float = 0) -> list[dict[str, Any]]:
        """The outcomes that came so far of the objects of a name."""
        return [
            event["data"]
            for event in self.cloud.events_in(seconds)
            if event["data"]["source"]["name"] == name and is_outcome(event)
        ]

    def end_of(self, blob: Blob) -> dict[str, Any]:
        """The outcome of one generation."""
        event = self.cloud.event_where(
            lambda event: (
                event["data"]["source"]["name"] == blob.name
                and event["data"]["source"]["generation"] == blob.generation
                and is_outcome(event)
            )
        )
        data: dict[str, Any] = event["data"]
        return data

    def end_for(self, correlation_id: str) -> dict[str, Any]:
        """The outcome for who asked."""
        event = self.cloud.event_where(lambda event: asked(event, correlation_id) and is_outcome(event))
        data: dict[str, Any] = event["data"]
        return data

    def mark(self) -> str:
        """Something that no other request says."""
        return uuid4().hex

    def record(self, outcome: dict[str, Any]) -> dict[str, Any]:
        """What the status function answers."""
        return self.cloud.http(f"v1/submissions/{outcome['submission_id']}")

    def history(self, outcome: dict[str, Any]) -> list[str]:
        """States and notes."""
        return [f"{one['state']} {one['note']}".strip() for one in self.record(outcome)["history"]]

    # --- Executions ---

    def executions_beside(self, known: Collection[str]) -> list[Execution]:
        """Those of the job that are new."""
        parent = f"projects/{self.reached.project}/locations/{self.reached.region}/jobs/{self.reached.job}"
        return [one for one in self.executions.list_executions(parent=parent) if one.name not in known]

    def new_execution(self, known: Collection[str]) -> Execution:
        """Wait for one, and catch it before it is over."""
        last_s = time.monotonic() + self.cloud.timeout_s
        while time.monotonic() < last_s:
            found = self.executions_beside(known)
            if found and not found[0].completion_time:
                return found[0]
            if found:
                raise NotProvokedError("the execution was over before it could be stopped")
            time.sleep(LOOK_AGAIN_S)
        raise NotProvokedError("no execution was started")

    # --- Deliveries ---

    @contextmanager
    def redelivering(self, subscription: str) -> Iterator[None]:
        """What a subscription delivered inside is delivered again at the end, with the same message ids."""
        name = SubscriberClient.snapshot_path(self.reached.project, f"{self.reached.prefix}-{uuid4().hex[:8]}")
        subscriber = self.cloud.subscriber
        subscriber.create_snapshot(name=name, subscription=subscription)
        try:
            yield
            subscriber.seek(request={"subscription": subscription, "snapshot": name})
        finally:
            subscriber.delete_snapshot(snapshot=name)

    def push_of(self, topic: str) -> str:
        """The subscription that pushes what a topic carries."""
        names = self.cloud.publisher.list_topic_subscriptions(topic=topic)
        for name in names:
            if self.cloud.subscriber.get_subscription(subscription=name).push_config.push_endpoint:
                return str(name)
        raise NotProvokedError(f"nothing pushes what {topic} carries")

    def eventarc_subscription(self) -> str:
        """The one by which Eventarc delivers drops."""
        start = f"eventarc-{self.reached.region}-{self.reached.prefix}-inbox"
        for one in self.cloud.subscriber.list_subscriptions(project=f"projects/{self.reached.project}"):
            if one.name.rpartition("/")[2].startswith(start):
                return one.name
        raise NotProvokedError(f"there is no subscription {start}…: on this machine no Eventarc delivers drops")


def is_outcome(event: dict[str, Any]) -> bool:
    """Whether nothing follows it."""
    return State(event["data"]["state"]).final


def asked(event: dict[str, Any], correlation_id: str) -> bool:
    """Whether an event is for who asked so."""
    return any(who["correlation_id"] == correlation_id for who in event["data"]["requesters"])


@contextmanager
def hands(reached: Reached, token: str) -> Iterator[Hands]:
    """With a subscription of its own to the events."""
    with ExitStack() as stack:
        storage = stack.enter_context(Client(project=reached.project))
        publisher = stack.enter_context(PublisherClient())
        subscriber = stack.enter_context(SubscriberClient())
        run = f"celldrop-tests-system-faults-{uuid4().hex[:8]}"  # The tear-down knows the beginning.
        events = SubscriberClient.subscription_path(reached.project, run)
        topic = PublisherClient.topic_path(reached.project, reached.variables["CELLDROP_EVENTS_TOPIC"])
        a_day = {"ttl": timedelta(days=1)}
        subscriber.create_subscription(Subscription(name=events, topic=topic, expiration_policy=a_day))
        stack.callback(subscriber.delete_subscription, subscription=events)
        at = Deployed(
            variables=reached.variables,
            events=events,
            dead_requests=SubscriberClient.subscription_path(reached.project, reached.dead_requests),
            status_url=reached.status_url,
            folder=f"{run}/",
            headers={"Authorization": f"Bearer {token}"},
        )
        timeout_s = LOCAL_TIMEOUT_S if reached.local else TIMEOUT_S
        cloud = Cloud(at, storage, publisher, subscriber, timeout_s)
        yield Hands(cloud, reached, connect(reached.run_endpoint).executions, token)
