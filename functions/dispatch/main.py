"""Entry point: a job message pushed by Pub/Sub in, a started execution out."""

from __future__ import annotations

import logging

import functions_framework
from cloudevents.http import CloudEvent

from functions.dispatch.dependencies import dispatch_service
from functions.dispatch.schemas import parse_push
from shared.domain.errors import InvalidMessageError
from shared.telemetry import event

log = logging.getLogger(__name__)


@functions_framework.cloud_event
def dispatch(cloud_event: CloudEvent) -> None:
    """Acknowledge by returning; raise, and the platform delivers the message again."""
    try:
        message = parse_push(cloud_event.get_data())
    except InvalidMessageError as error:
        event(log, "malformed message acknowledged", level=logging.ERROR, code=error.code, found=error.message)
        return
    outcome = dispatch_service().handle(message)
    event(log, "dispatched", submission=message.submission_id, epoch=message.epoch, outcome=outcome)
