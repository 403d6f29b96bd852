"""Entry point of the ingest function: an uploaded object or a request in, a submission out."""

from __future__ import annotations

import logging

import flask
import functions_framework

from functions.ingest.dependencies import caller_check, ingest_service
from functions.ingest.schemas import parse_push
from shared.access.cloud_events import Pushed
from shared.access.endpoints import Answer, answer
from shared.telemetry import event

log = logging.getLogger(__name__)


@functions_framework.http
def ingest(request: flask.Request) -> Answer:
    """Handle one push: a finalized object, or a message from the requests topic."""
    return answer(dict(request.headers), request.get_data(), caller_check, _ingest)


def _ingest(pushed: Pushed) -> None:
    stored = ingest_service().handle(parse_push(pushed), pushed.sent_at)
    if stored is None:
        event(log, "no drop", kind=pushed.type)
    else:
        event(log, "ingested", submission=stored.value.id, state=stored.value.state)
