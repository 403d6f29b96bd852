"""What dispatch is told: a Pub/Sub push, turned into a job message."""

from __future__ import annotations

from shared.access.cloud_events import Pushed, pubsub_message
from shared.records.messages import JobMessage, parse_job


def pushed_job(pushed: Pushed) -> JobMessage:
    """Read the job message out of a push.

    Raises:
        UnknownVersionError: Of a schema version that is not known here.
        InvalidMessageError: Not a push, or not a job message.
    """
    return parse_job(pubsub_message(pushed).content())
