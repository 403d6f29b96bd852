"""What ingest is told: a finalized object or another system's request, turned into a drop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, ValidationError

from shared.domain.admission import Request, event_key
from shared.domain.errors import InvalidMessageError
from shared.domain.submission import ObjectRef, Requester
from shared.doors import MESSAGE_PUBLISHED, Pushed, pubsub_message
from shared.messages import AnnotationRequest, parse_request

METADATA_PREFIX = "celldrop-"
MODEL_SEGMENT = "model="
RERUN_KEY = "rerun"
TEMPORARY_MARKS = ("/gcloud/tmp/parallel_composite_uploads/", "/gsutil/tmp/parallel_composite_uploads/")  # object names


@dataclass(frozen=True, slots=True)
class Drop:
    """One object generation that somebody wants annotated.

    Attributes:
        options: As requested, by name.
        requester: Whom to tell, where they said who they are.
    """

    source: ObjectRef
    options: Mapping[str, str] = field(default_factory=dict)
    rerun_token: str | None = None
    requester: Requester | None = None

    @property
    def request(self) -> Request:
        """What a new submission starts from."""
        return Request(self.source, self.options, self.rerun_token, self.requester)

    @property
    def ignored(self) -> bool:
        """Whether the name says that this is not a drop: a piece of a parallel upload, or a folder's placeholder."""
        path = f"/{self.source.name}"
        return path.endswith("/") or any(mark in path for mark in TEMPORARY_MARKS)


class StorageObject(BaseModel):
    """The data of a ``google.cloud.storage.object.v1.finalized`` event; only the name is taken from it.

    Options are read from the object itself, at its generation, when the event comes for the first time.

    Attributes:
        metageneration: Which metadata the event is about; 0 where it does not say.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    bucket: str
    name: str
    generation: int
    metageneration: int = 0

    @property
    def identity(self) -> str:
        """The same at every delivery of the event."""
        return event_key("storage", self.bucket, self.name, self.generation, self.metageneration)

    @property
    def ref(self) -> ObjectRef:
        """The object generation."""
        return ObjectRef(self.bucket, self.name, self.generation)


@dataclass(frozen=True, slots=True)
class Asked:
    """Another system's request, with the bus's own id of the message that brought it."""

    request: AnnotationRequest
    message_id: str

    @property
    def identity(self) -> str | None:
        """The same at every delivery of the message; None where its own words say the same at any time."""
        if self.request.generation is not None or not self.message_id:
            return None
        return event_key("message", self.message_id)


def told(pushed: Pushed) -> StorageObject | Asked:
    """What a push says.

    Raises:
        UnknownVersionError: A request of a schema version that is not known here.
        InvalidMessageError: Neither a finalized object nor a request, or malformed.
    """
    if pushed.type != MESSAGE_PUBLISHED:
        return parse_storage_event(pushed.data)
    message = pubsub_message(pushed)
    return Asked(parse_request(message.data), message.id)


def parse_storage_event(data: object) -> StorageObject:
    """Read an event's data.

    Raises:
        InvalidMessageError: Not a storage object.
    """
    try:
        return StorageObject.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "data"
        raise InvalidMessageError(
            f"storage event, {place}: {first['msg']}", expected="bucket, name, generation"
        ) from error


def requested_options(name: str, metadata: Mapping[str, str]) -> tuple[dict[str, str], str | None]:
    """Options and rerun token that ride on an object: its metadata, then a ``model=NAME/`` segment of its path."""
    options = {
        key.removeprefix(METADATA_PREFIX).replace("-", "_"): value
        for key, value in metadata.items()
        if key.startswith(METADATA_PREFIX)
    }
    segments = name.split("/")[:-1]
    models = [part.removeprefix(MODEL_SEGMENT) for part in segments if part.startswith(MODEL_SEGMENT)]
    if models:
        options.setdefault("model", models[-1])
    return options, options.pop(RERUN_KEY, None)
