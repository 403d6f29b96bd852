"""The event bus on Pub/Sub. Publishing waits until the service has confirmed the message."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from google.api_core import exceptions
from google.api_core.retry import Retry, if_exception_type
from typing_extensions import override

from shared.adapters.gcp.errors import answering
from shared.domain.errors import SettingsError
from shared.domain.submission import Topic
from shared.ports.events import EventBus, Message

if TYPE_CHECKING:
    from google.pubsub_v1 import PublisherClient

ID_ATTRIBUTE = "celldrop-message-id"
"""The attribute with our own message id. Pub/Sub gives every publication a new id of its own."""

TIMEOUT_S = 20.0

_AGAIN = if_exception_type(
    exceptions.Aborted,
    exceptions.Cancelled,
    exceptions.DeadlineExceeded,
    exceptions.InternalServerError,
    exceptions.ResourceExhausted,
    exceptions.ServiceUnavailable,
    exceptions.Unknown,
)


def connect() -> PublisherClient:
    """Make a client with the credentials of this environment, or of the emulator if PUBSUB_EMULATOR_HOST is set.

    This is the plain client. The batching client of ``google.cloud.pubsub_v1`` would hand each message to a thread
    that we then wait for, and does not accept attributes with the names of its own arguments.
    """
    from google.pubsub_v1 import PublisherClient  # noqa: PLC0415  # half a second that only a publisher spends

    return PublisherClient()


class PubSubBus(EventBus):
    """Pub/Sub as an event bus. Each message is one request, since an outbox entry is removed only once published.

    Args:
        connect: Makes the client, at the first publication.
        topics: The name of each topic, short or full (``projects/PROJECT/topics/NAME``).
        project: The project of topics with a short name.
        timeout_s: The time limit of one publication, retries included.
    """

    def __init__(
        self,
        connect: Callable[[], PublisherClient],
        topics: Mapping[Topic, str],
        project: str,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._connect = connect
        self._topics = {topic: _full_name(project, name) for topic, name in topics.items()}
        self._timeout_s = timeout_s

    @cached_property
    def _publisher(self) -> PublisherClient:
        return self._connect()

    @override
    def publish(self, topic: Topic, message: Message) -> None:
        """Publish a message, and return once Pub/Sub has stored it.

        It is retried until Pub/Sub confirms it. Publishing twice is harmless: receivers deduplicate by our id.

        Raises:
            UnavailableError: Pub/Sub did not confirm the message, which may be published nevertheless.
            SettingsError: There is no such topic.
            AccessDeniedError: This account may not publish to it.
            InternalError: Pub/Sub rejects the message itself.
        """
        name = self._topics[topic]
        attributes = {**message.attributes, ID_ATTRIBUTE: message.id}
        request = {"topic": name, "messages": [{"data": message.data, "attributes": attributes}]}
        retry = Retry(predicate=_AGAIN, initial=0.1, maximum=2.0, multiplier=2.0, timeout=self._timeout_s)
        with answering(name, grant="roles/pubsub.publisher on the topic", missing=_missing(topic, name)):
            self._publisher.publish(request, retry=retry, timeout=self._timeout_s)


def _full_name(project: str, name: str) -> str:
    return name if "/" in name else f"projects/{project}/topics/{name}"


def _missing(topic: Topic, name: str) -> SettingsError:
    hint = f"Create it (`gcloud pubsub topics create {name}`), or correct CELLDROP_{topic.upper()}_TOPIC."
    return SettingsError("the Pub/Sub topic does not exist", where=name, hint=hint)
