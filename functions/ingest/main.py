"""Entry point: a Cloud Storage finalized event in, a submission out."""

from __future__ import annotations

import logging

import functions_framework
from cloudevents.http import CloudEvent

from functions.ingest.dependencies import ingest_service
from functions.ingest.schemas import parse_storage_event
from shared.domain.errors import InvalidMessageError
from shared.telemetry import event

log = logging.getLogger(__name__)


@functions_framework.cloud_event
def ingest(cloud_event: CloudEvent) -> None:
    """Acknowledge by returning; raise, and the platform delivers the event again."""
    service = ingest_service()
    try:
        drop = service.data.drop_of(parse_storage_event(cloud_event.get_data()))
    except InvalidMessageError as error:
        event(log, "malformed event acknowledged", level=logging.ERROR, code=error.code, found=error.message)
        return
    stored = service.accept(drop) if drop else None
    if stored is not None:
        event(log, "ingested", submission=stored.value.id, state=stored.value.state)
