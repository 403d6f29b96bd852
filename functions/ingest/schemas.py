"""What ingest is told: a finalized object or another system's request, turned into a drop."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.access.cloud_events import MESSAGE_PUBLISHED, Pushed, pubsub_message
from shared.domain.admission import Request, event_key
from shared.domain.errors import InvalidMessageError, InvalidOptionError
from shared.domain.submission import ObjectRef, Requester
from shared.domain.temporary import is_piece, is_temporary
from shared.faults import first_fault
from shared.records.messages import AnnotationRequest, parse_request

STORAGE_EVENTS = "google.cloud.storage."
STORAGE_FINALIZED = "google.cloud.storage.object.v1.finalized"
METADATA_PREFIX = "celldrop-"
MODEL_KEY = "model"
RERUN_KEY = "rerun"
_OPTION_KEY = re.compile(r"(?:x-goog-meta-)?celldrop[-_. ]+(.+)", re.IGNORECASE)


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
        """Whether the name says that this is not a drop: a folder's placeholder, or of passing use to some program."""
        name = self.source.name
        return name.endswith("/") or is_piece(name) or is_temporary(name.rpartition("/")[2])


class StorageObject(BaseModel):
    """The data of a ``google.cloud.storage.object.v1.finalized`` event; only the name is taken from it.

    Options are read from the object itself, at its generation, when the event comes for the first time.

    Attributes:
        metageneration: Which metadata the event is about; 0 where it does not say.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    # Within what Cloud Storage has; what is longer was never there, and would be too much for a record.
    bucket: str = Field(min_length=1, max_length=222)
    name: str = Field(min_length=1, max_length=4096)
    generation: int = Field(ge=0, lt=2**63)
    metageneration: int = Field(default=0, ge=0, lt=2**63)

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
    if pushed.type.startswith(STORAGE_EVENTS) and pushed.type != STORAGE_FINALIZED:
        # Of a trigger for something else: an object that was deleted, or whose metadata changed, is no drop.
        raise InvalidMessageError(f"an event of type {pushed.type}", expected=STORAGE_FINALIZED)
    if pushed.type != MESSAGE_PUBLISHED:
        return parse_storage_event(pushed.data)
    message = pubsub_message(pushed)
    return Asked(parse_request(message.content()), message.id)


def parse_storage_event(data: object) -> StorageObject:
    """Read an event's data.

    Raises:
        InvalidMessageError: Not a storage object.
    """
    try:
        return StorageObject.model_validate(data)
    except ValidationError as error:
        raise InvalidMessageError(
            f"storage event, {first_fault(error)}", expected="bucket, name, generation"
        ) from error


def requested_options(name: str, metadata: Mapping[str, str]) -> tuple[dict[str, str], str | None]:
    """Options and rerun token that ride on an object: its metadata, then a ``model=NAME/`` segment of its path.

    Keys are known however they are written: ``celldrop-top-k``, ``Celldrop-Top-K``, ``celldrop_top_k``.

    Raises:
        InvalidOptionError: Two keys are the same option, and ask for different things.
    """
    options: dict[str, str] = {}
    for key, value in sorted(metadata.items()):
        option = _option_of(key)
        if option and options.setdefault(option, value) != value:
            raise InvalidOptionError(
                f"the object's metadata sets {option} twice, to {options[option]!r} and {value!r}",
                expected=f"one value, under celldrop-{option.replace('_', '-')}",
                hint="Remove one of the keys from the object's metadata, and upload the file again.",
            )
    segments = [part.partition("=") for part in name.split("/")[:-1]]
    models = [model for key, mark, model in segments if mark and key.lower() == MODEL_KEY]
    if models:
        options.setdefault("model", models[-1])
    return options, options.pop(RERUN_KEY, None)


def _option_of(key: str) -> str | None:
    found = _OPTION_KEY.fullmatch(key.strip())
    return re.sub(r"[-. ]+", "_", found[1].lower()) if found else None
