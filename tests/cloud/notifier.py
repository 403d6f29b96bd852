"""Tells a function of new objects in a bucket, as Eventarc does: CloudEvents over HTTP, again until they are taken.

A Cloud Storage emulator sends no events, so new generations are found by listing.
"""

from __future__ import annotations

import json
import logging
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

FINALIZED = "google.cloud.storage.object.v1.finalized"
LOOKING_AGAIN_S = 0.25
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 60.0
TIMEOUT_S = 120.0

_log = logging.getLogger(__name__)


class Mode(StrEnum):
    """How a CloudEvent goes over HTTP."""

    BINARY = "binary"
    """Attributes as headers, data as the body: Eventarc's way."""
    STRUCTURED = "structured"
    """All of it as one JSON document."""


@dataclass(frozen=True, slots=True)
class FinalizedEvent:
    """The news of one generation.

    Attributes:
        resource: The object as the JSON API lists it, which is what the event carries.
    """

    resource: Mapping[str, Any]

    @property
    def attributes(self) -> dict[str, str]:
        """The context attributes; the id is constant over redeliveries."""
        bucket, name, generation = (self.resource[key] for key in ("bucket", "name", "generation"))
        return {
            "specversion": "1.0",
            "id": f"{bucket}/{name}/{generation}",
            "source": f"//storage.googleapis.com/projects/_/buckets/{bucket}",
            "type": FINALIZED,
            "subject": f"objects/{name}",
            "time": self.resource["timeCreated"],
        }

    def request(self, url: str, mode: Mode) -> urllib.request.Request:
        """The POST that delivers it."""
        if mode is Mode.BINARY:
            # The HTTP binding percent-encodes what a header cannot hold.
            quoted = {f"ce-{key}": urllib.parse.quote(value, safe=":/#@") for key, value in self.attributes.items()}
            headers, document = {**quoted, "content-type": "application/json"}, self.resource
        else:
            headers = {"content-type": "application/cloudevents+json; charset=utf-8"}
            document = {**self.attributes, "datacontenttype": "application/json", "data": self.resource}
        return urllib.request.Request(url, json.dumps(document).encode(), headers, method="POST")


@dataclass(slots=True)
class _Delivery:
    event: FinalizedEvent
    due_s: float
    pause_s: float = FIRST_PAUSE_S


@dataclass(slots=True)
class Notifier:
    """One subscription to a bucket's new objects; those that are there at first are news too.

    Attributes:
        storage: ``http://HOST:PORT`` of the JSON API.
        url: Of the function.
        seconds: A monotonic clock.
    """

    storage: str
    bucket: str
    url: str
    mode: Mode = Mode.BINARY
    seconds: Callable[[], float] = time.monotonic
    _seen: set[tuple[str, str]] = field(default_factory=set)
    _deliveries: list[_Delivery] = field(default_factory=list)

    def run(self, stop: threading.Event) -> None:
        """Look and deliver until told to stop."""
        while not stop.wait(LOOKING_AGAIN_S):
            self.step()

    def step(self) -> int:
        """Look once, deliver what is due; returns how many events are not taken yet."""
        try:
            self._look()
        except OSError as error:
            _log.warning("the bucket %s cannot be listed: %s", self.bucket, error)
        for delivery in [one for one in self._deliveries if one.due_s <= self.seconds()]:
            if self._deliver(delivery.event):
                self._deliveries.remove(delivery)
            else:
                delivery.due_s = self.seconds() + delivery.pause_s
                delivery.pause_s = min(2 * delivery.pause_s, LONGEST_PAUSE_S)
        return len(self._deliveries)

    def _look(self) -> None:
        for resource in self._objects():
            key = (resource["name"], str(resource["generation"]))
            if key not in self._seen:
                self._seen.add(key)
                self._deliveries.append(_Delivery(FinalizedEvent(resource), self.seconds()))

    def _objects(self) -> Iterator[dict[str, Any]]:
        token = ""
        while True:
            query = urllib.parse.urlencode({"pageToken": token} if token else {})
            with urllib.request.urlopen(f"{self.storage}/storage/v1/b/{self.bucket}/o?{query}", timeout=10) as answer:
                page = json.load(answer)
            yield from page.get("items", ())
            token = page.get("nextPageToken", "")
            if not token:
                return

    def _deliver(self, event: FinalizedEvent) -> bool:
        try:
            urllib.request.urlopen(event.request(self.url, self.mode), timeout=TIMEOUT_S).close()
        except OSError as error:  # No answer, or one that is not 2xx.
            _log.warning("%s is delivered again later: %s", event.attributes["subject"], error)
            return False
        return True
