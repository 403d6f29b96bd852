"""A deployed pipeline as its users see it: drops, requests, events, the command line, HTTP."""

from __future__ import annotations

import io
import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from google.api_core.exceptions import DeadlineExceeded
from google.cloud.storage import Client  # type: ignore[import-untyped]  # ships no types
from google.pubsub_v1 import PublisherClient, PubsubMessage, SubscriberClient

from shared.domain.submission import State
from tests import warm
from tests.cloud.local_cloud import ROOT
from tests.pipeline.conftest import Ended

TIMEOUT_S = 180.0
PULL_S = 20.0


@dataclass(frozen=True, slots=True)
class Deployed:
    """Where a pipeline is, on this machine or in a project.

    Attributes:
        variables: For the command line and gcloud: CELLDROP_ ones, and those of emulators.
        events: Subscription of the events topic, in full, that nobody else pulls.
        dead_requests: Subscription of the dead-letter topic of requests, in full.
        status_url: Of the status function, with a slash.
        headers: That it wants to see.
        folder: Of this run in the inbox, with a slash: nobody else's.
    """

    variables: Mapping[str, str]
    events: str
    dead_requests: str
    status_url: str
    folder: str
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def inbox(self) -> str:
        return self.variables["CELLDROP_INBOX_BUCKET"]

    @property
    def requests_topic(self) -> str:
        project = self.variables["CELLDROP_PROJECT"]
        return PublisherClient.topic_path(project, self.variables["CELLDROP_REQUESTS_TOPIC"])


@dataclass(slots=True)
class Cloud:
    """Its users' hands and eyes; the clients go where the environment says."""

    at: Deployed
    storage: Client
    publisher: PublisherClient
    subscriber: SubscriberClient
    timeout_s: float = TIMEOUT_S
    _told: dict[str, list[Any]] = field(default_factory=dict)

    def drop(self, name: str, data: bytes, **options: str) -> str:
        """Upload in the client's resumable form, as every file of some size is; the object's whole name."""
        blob = self.storage.bucket(self.at.inbox).blob(self.at.folder + name, chunk_size=256 * 1024)
        blob.metadata = {f"celldrop-{option}": value for option, value in options.items()}
        blob.upload_from_file(io.BytesIO(data))
        whole: str = blob.name
        return whole

    def gcloud_drop(self, file: Path, **options: str) -> str:
        """Upload as people do: ``gcloud storage cp``; the object's whole name."""
        marks = ",".join(f"celldrop-{option}={value}" for option, value in options.items())
        command = ["gcloud", "storage", "cp", str(file), f"gs://{self.at.inbox}/{self.at.folder}"]
        done = subprocess.run(
            [*command, f"--custom-metadata={marks}"] if marks else command,
            env={**os.environ, **self.at.variables},
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_S,
        )
        assert done.returncode == 0, done.stderr
        return self.at.folder + file.name

    def ask(self, request: object) -> None:
        """Publish a request."""
        data = request if isinstance(request, bytes) else json.dumps(request).encode()
        self.publisher.publish(topic=self.at.requests_topic, messages=[PubsubMessage(data=data)])

    def request(self, name: str, **more: Any) -> dict[str, Any]:
        """What a request for an object in the inbox says."""
        return {"schema_version": 1, "bucket": self.at.inbox, "name": name, **more}

    def event_where(self, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait for an event on the real subscription."""
        found: dict[str, Any] = self._message_where(self.at.events, lambda data: fits(json.loads(data)), json.loads)
        return found

    def events_in(self, seconds: float) -> list[dict[str, Any]]:
        """Listen for so long; every event that came so far."""
        return [json.loads(data) for data in self._listen(self.at.events, seconds)]

    def dead_request_where(self, fits: Callable[[bytes], bool]) -> bytes:
        """Wait for a request that nobody would take."""
        found: bytes = self._message_where(self.at.dead_requests, fits, bytes)
        return found

    def dead_requests_in(self, seconds: float) -> list[bytes]:
        """Listen for so long; every request so far that nobody would take."""
        return self._listen(self.at.dead_requests, seconds)

    def dead_requests(self) -> list[bytes]:
        """Those that came so far."""
        return self._told.get(self.at.dead_requests, [])

    def end_of(self, name: str) -> dict[str, Any]:
        """The data of a drop's outcome event, by the object's whole name."""
        event = self.event_where(
            lambda event: event["data"]["source"]["name"] == name and State(event["data"]["state"]).final
        )
        data: dict[str, Any] = event["data"]
        return data

    def celldrop(self, *arguments: object) -> Ended:
        """The command line against the deployed pipeline."""
        env = {**os.environ, **self.at.variables, "PYTHONPATH": str(ROOT)}
        return Ended(*warm.command([*map(str, arguments)], env, Path.cwd()))

    def http(self, path: str) -> dict[str, Any]:
        """What the status function answers."""
        request = urllib.request.Request(f"{self.at.status_url}{path}", headers=dict(self.at.headers))
        with urllib.request.urlopen(request, timeout=60) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    def result(self, outcome: dict[str, Any], name: str) -> bytes:
        """A file of a result."""
        blob = self.storage.bucket(outcome["result_bucket"]).blob(outcome["result_prefix"] + name)
        data: bytes = blob.download_as_bytes()
        return data

    def _message_where(self, subscription: str, fits: Callable[[bytes], bool], read: Callable[[bytes], Any]) -> Any:
        told = self._told.setdefault(subscription, [])
        last_s = time.monotonic() + self.timeout_s
        while time.monotonic() < last_s:
            found = next((data for data in told if fits(data)), None)
            if found is not None:
                return read(found)
            told += self._pull(subscription)
        pytest.fail(f"no such message among {told}")

    def _listen(self, subscription: str, seconds: float) -> list[bytes]:
        told = self._told.setdefault(subscription, [])
        last_s = time.monotonic() + seconds
        while (left_s := last_s - time.monotonic()) > 0:
            told += self._pull(subscription, min(left_s, PULL_S))
        return told

    def _pull(self, subscription: str, timeout_s: float = PULL_S) -> list[bytes]:
        found = []
        with suppress(DeadlineExceeded):
            answer = self.subscriber.pull(subscription=subscription, max_messages=100, timeout=timeout_s)
            found = list(answer.received_messages)
        if found:
            self.subscriber.acknowledge(subscription=subscription, ack_ids=[one.ack_id for one in found])
        return [one.message.data for one in found]
