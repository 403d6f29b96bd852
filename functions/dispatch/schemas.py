"""The input of dispatch: a job message, read from a Pub/Sub push."""

from __future__ import annotations

from shared.access.cloud_events import Pushed, pubsub_message
from shared.records.messages import JobMessage, parse_job


def pushed_job(pushed: Pushed) -> JobMessage:
    """Parse the job message in a push.

    Raises:
        UnknownVersionError: The message has an unknown schema version.
        InvalidMessageError: Not a push, or not a job message.
    """
    return parse_job(pubsub_message(pushed).content())
