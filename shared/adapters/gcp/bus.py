"""The event bus on Pub/Sub: to publish is to wait until the service has taken the message."""

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
"""The attribute that carries our own id: Pub/Sub gives each publication another one."""

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
    """A client with the credentials of this environment; the emulator's where PUBSUB_EMULATOR_HOST is set.

    The plain client: the batching one of ``google.cloud.pubsub_v1`` would hand each message to a thread, only to be
    waited for, and cannot take an attribute named like one of its own arguments.
    """
    from google.pubsub_v1 import PublisherClient  # noqa: PLC0415  # half a second that only a publisher spends

    return PublisherClient()


class PubSubBus(EventBus):
    """One request a message, no batch: an outbox entry is taken out of its record only once it is paid.

    Args:
        connect: Called at the first publication.
        topics: The name of each topic, short or in full (``projects/PROJECT/topics/NAME``).
        project: The project of those with a short name.
        timeout_s: For one publication, retries included.
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
        """Return once Pub/Sub has stored the message.

        Retried while it does not say so: to publish twice is harmless, as receivers know a message by our id.

        Raises:
            UnavailableError: Pub/Sub did not take it, or did not say so; it may have been taken all the same.
            SettingsError: There is no such topic.
            AccessDeniedError: This account may not publish to it.
            InternalError: Pub/Sub finds fault with the message itself.
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
