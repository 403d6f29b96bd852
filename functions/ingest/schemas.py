"""The inputs of ingest: events of finalized objects, requests from other systems, and the drop that each is about."""

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
SEGMENT_KEYS = ("model", "consensus")
"""The options that a segment of a path can give."""
RERUN_KEY = "rerun"
_OPTION_KEY = re.compile(r"(?:x-goog-meta-)?celldrop[-_. ]+(.+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Drop:
    """One object generation to annotate.

    Attributes:
        options: The requested options, by name.
        requester: Who gets the outcome event; None for an object that was simply uploaded.
    """

    source: ObjectRef
    options: Mapping[str, str] = field(default_factory=dict)
    rerun_token: str | None = None
    requester: Requester | None = None

    @property
    def request(self) -> Request:
        """The request that a new submission starts from."""
        return Request(self.source, self.options, self.rerun_token, self.requester)

    @property
    def ignored(self) -> bool:
        """Whether the name shows that this is not a drop: a folder placeholder, or some program's temporary file."""
        name = self.source.name
        return name.endswith("/") or is_piece(name) or is_temporary(name.rpartition("/")[2])


class StorageObject(BaseModel):
    """The data of a ``google.cloud.storage.object.v1.finalized`` event, which only identifies the object.

    Options are read from the object's own metadata, at this generation, when the event is first delivered.

    Attributes:
        metageneration: The version of the object's metadata; 0 if the event does not give it.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    # At least Cloud Storage's own limits. No object has a longer name, and one would not fit in a record.
    bucket: str = Field(min_length=1, max_length=222)
    name: str = Field(min_length=1, max_length=4096)
    generation: int = Field(ge=0, lt=2**63)
    metageneration: int = Field(default=0, ge=0, lt=2**63)

    @property
    def identity(self) -> str:
        """A key that is the same at every delivery of the event."""
        return event_key("storage", self.bucket, self.name, self.generation, self.metageneration)

    @property
    def ref(self) -> ObjectRef:
        """The object generation."""
        return ObjectRef(self.bucket, self.name, self.generation)


@dataclass(frozen=True, slots=True)
class RequestMessage:
    """Another system's request, with the bus's id of the message that carried it."""

    request: AnnotationRequest
    message_id: str

    @property
    def identity(self) -> str | None:
        """A key that is the same at every delivery of the message; None if the message has no id."""
        return event_key("message", self.message_id) if self.message_id else None


def parse_push(pushed: Pushed) -> StorageObject | RequestMessage:
    """Parse a push: an event of a finalized object, or a request.

    Raises:
        UnknownVersionError: A request with an unknown schema version.
        InvalidMessageError: Neither a finalized object nor a request, or malformed.
    """
    if pushed.type.startswith(STORAGE_EVENTS) and pushed.type != STORAGE_FINALIZED:
        # From a trigger for another event: an object that was deleted, or whose metadata changed, is not a drop.
        raise InvalidMessageError(f"an event of type {pushed.type}", expected=STORAGE_FINALIZED)
    if pushed.type != MESSAGE_PUBLISHED:
        return parse_storage_event(pushed.data)
    message = pubsub_message(pushed)
    return RequestMessage(parse_request(message.content()), message.id)


def parse_storage_event(data: object) -> StorageObject:
    """Parse the data of a storage event.

    Raises:
        InvalidMessageError: The data is not that of a storage object.
    """
    try:
        return StorageObject.model_validate(data)
    except ValidationError as error:
        raise InvalidMessageError(
            f"storage event, {first_fault(error)}", expected="bucket, name, generation"
        ) from error


def requested_options(name: str, metadata: Mapping[str, str]) -> tuple[dict[str, str], str | None]:
    """Read the options and the rerun token of an object: its metadata, then segments of its path.

    Such segments are ``model=NAME/`` and ``consensus=NAME,NAME/``.

    Spelling variants of a key are accepted: ``celldrop-top-k``, ``Celldrop-Top-K``, ``celldrop_top_k``.

    Raises:
        InvalidOptionError: Two keys name the same option with different values, or two segments of the path do.
    """
    options: dict[str, str] = {}
    for key, value in sorted(metadata.items()):
        option = _option_of(key)
        if option and options.setdefault(option, value) != value:
            raise InvalidOptionError(
                f"the object's metadata sets {option} twice, to {options[option]!r} and {value!r}",
                expected=f"one value, under celldrop-{option.replace('_', '-')}",
                hint="Remove one of these keys from the object's metadata, then upload the file again.",
            )
    for option in SEGMENT_KEYS:
        if option not in options and (named := _in_path(name, option)):
            options[option] = named
    return options, options.pop(RERUN_KEY, None)


def _in_path(name: str, option: str) -> str | None:
    """The value that a segment of a path gives an option."""
    segments = [part.partition("=") for part in name.split("/")[:-1]]
    values = [value for key, mark, value in segments if mark and key.lower() == option]
    if len(set(values)) > 1:
        raise InvalidOptionError(
            f"the object's path gives {option} twice, as {values[0]!r} and {values[1]!r}",
            expected=f"one segment {option}=NAME/",
            where=name,
            hint="Upload the file again, to a path with one of them.",
        )
    return values[0] if values else None


def _option_of(key: str) -> str | None:
    found = _OPTION_KEY.fullmatch(key.strip())
    return re.sub(r"[-. ]+", "_", found[1].lower()) if found else None
