"""Functions that only write down what is delivered to them, the first delivery of each thing being refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import flask
import functions_framework
from cloudevents.http import CloudEvent

_seen: set[str] = set()


class NotYetError(RuntimeError):
    """Deliver it again."""


@functions_framework.cloud_event
def ingest(event: CloudEvent) -> None:
    """Stands for a function that takes events."""
    _write("ingest", dict(event.get_attributes()), event.get_data())


@functions_framework.cloud_event
def dispatch(event: CloudEvent) -> None:
    """Likewise."""
    _write("dispatch", dict(event.get_attributes()), event.get_data())


@functions_framework.http
def reconcile(request: flask.Request) -> str:
    """Stands for a function that answers requests."""
    _write("reconcile", {"id": "call", "method": request.method}, None)
    return "done"


def _write(door: str, attributes: dict[str, Any], data: object) -> None:
    first = attributes["id"] not in _seen
    _seen.add(attributes["id"])
    with Path(os.environ["CELLDROP_TEST_DOOR"]).open("a") as book:
        book.write(json.dumps({"door": door, "first": first, "attributes": attributes, "data": data}) + "\n")
    if first:
        raise NotYetError
