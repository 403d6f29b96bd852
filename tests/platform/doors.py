"""The doors of the functions, opened by functions-framework itself over services that a test made."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import functions_framework
import pytest
from flask.testing import FlaskClient

FUNCTIONS = Path(__file__).resolve().parents[2] / "functions"
FINALIZED = "google.cloud.storage.object.v1.finalized"
PUBLISHED = "google.cloud.pubsub.topic.v1.messagePublished"
SENT_AT = "2026-01-01T00:00:00Z"
"""Of an event that does not say otherwise."""
ODD_NAMES = (
    "a b.h5ad",
    "a%2Fb.h5ad",
    "a?b#c&d=e.h5ad",
    "a//b.h5ad",
    "/a.h5ad",
    "../a.h5ad",
    "a\tb.h5ad",
    "\u202eda5h.a",
    "a\u0301.h5ad",
    "\U0001f9ec.h5ad",
    "=1+1.h5ad",
    "'\"<b>.h5ad",
    "sample",
)
"""Of objects that there may well be."""
ACKNOWLEDGED, TRY_AGAIN, REFUSED = 204, 503, 422


def open_door(name: str, service: object, patch: pytest.MonkeyPatch) -> FlaskClient:
    """A function's own app over a service."""
    patch.setattr(f"functions.{name}.dependencies.{name}_service", lambda: service)
    app = functions_framework.create_app(name, str(FUNCTIONS / name / "main.py"))  # type: ignore[no-untyped-call]
    client: FlaskClient = app.test_client()
    return client


def storage_event(bucket: str, name: str, generation: int, sent_at: str = SENT_AT) -> dict[str, Any]:
    """As Eventarc tells of a new object."""
    data = {"bucket": bucket, "name": name, "generation": str(generation), "metageneration": "1"}
    return {
        "specversion": "1.0",
        "id": f"{bucket}/{name}/{generation}",
        "type": FINALIZED,
        "source": f"//storage.googleapis.com/projects/_/buckets/{bucket}",
        "subject": f"objects/{name}",
        "time": sent_at,
        "data": data,
    }


def push(data: bytes, message_id: str = "7", sent_at: str = SENT_AT) -> dict[str, Any]:
    """As Pub/Sub pushes a message."""
    message = {"data": base64.b64encode(data).decode(), "messageId": message_id, "publishTime": sent_at}
    return {"message": message, "subscription": "projects/p/subscriptions/s"}


def request(**changed: Any) -> dict[str, Any]:
    """A push of another system's request."""
    asked = {"schema_version": 1, "bucket": "inbox", "name": "sample.h5ad", "correlation_id": "order-7", **changed}
    return push(json.dumps(asked).encode())


def send(client: FlaskClient, body: Mapping[str, Any]) -> int:
    """Push it, a CloudEvent in structured mode or an envelope as it is."""
    kind = "application/cloudevents+json" if "specversion" in body else "application/json"
    return client.post("/", data=json.dumps(body), content_type=kind).status_code
