"""What ingest reads: the dropped object, and the model it is to be annotated with."""

from __future__ import annotations

import re
from dataclasses import dataclass

from functions.ingest.schemas import Drop, StorageObject, requested_options
from shared.bundle import CARD_NAME, ModelCard, parse_card
from shared.domain.errors import (
    BlobNotFoundError,
    BucketNotAllowedError,
    InputChangedError,
    InputNotFoundError,
    InputTooLargeError,
    InvalidNameError,
    ModelNotFoundError,
)
from shared.domain.submission import ModelRef, ObjectRef, Requester
from shared.domain.verdict import Verdict
from shared.domain.words import cut
from shared.h5ad.judging import ModelNeeds, validate
from shared.h5ad.source import NEWER_FILE, BlobSource
from shared.messages import AnnotationRequest
from shared.models import find_model
from shared.ports.blobs import BlobInfo, BlobStore

DIGEST_PREFIX = "sha256:"
_DIGEST = re.compile("[0-9a-f]{64}")
_WORDS = 80
MAX_NAME_BYTES = 1024
"""Cloud Storage counts bytes, not characters."""
_SMALLER = "Split the file, or have whoever runs this pipeline raise"


@dataclass(frozen=True, slots=True)
class Validator:
    """The heavy part of ingest: look into the file by ranged reads, and judge it for a model."""

    blobs: BlobStore
    max_bytes: int
    max_cells: int

    def __call__(self, source: ObjectRef, card: ModelCard | None, matrix: str | None) -> Verdict:
        """The verdict on one object generation, for a model or for none.

        Raises:
            InputError: The object is gone, replaced, or past a limit of this deployment.
        """
        info = pinned(self.blobs, source)
        if info.size_bytes > self.max_bytes:
            raise InputTooLargeError(
                f"{info.size_bytes:,} bytes",
                expected=f"at most {self.max_bytes:,}",
                where=str(source),
                hint=f"{_SMALLER} CELLDROP_MAX_INPUT_BYTES.",
            )
        opened = BlobSource(self.blobs, source, info.size_bytes)
        verdict = validate(opened, needs_of(card) if card else None, matrix=matrix, name=source.name)
        if verdict.n_cells > self.max_cells:
            raise InputTooLargeError(
                f"{verdict.n_cells:,} cells",
                expected=f"at most {self.max_cells:,}",
                where=str(source),
                hint=f"{_SMALLER} CELLDROP_MAX_CELLS.",
            )
        return verdict


def pinned(blobs: BlobStore, source: ObjectRef) -> BlobInfo:
    """The object, if its newest generation is still the pinned one.

    Raises:
        InputNotFoundError: There is no such object.
        InputChangedError: It was replaced; the newer generation has an event of its own.
    """
    try:
        info = blobs.stat(source.bucket, source.name)
    except BlobNotFoundError as error:
        raise InputNotFoundError(
            "the object is not there", where=f"{source.bucket}/{source.name}", hint="Drop the file again."
        ) from error
    if info.ref.generation != source.generation:
        raise InputChangedError("the object was replaced before it was read", where=str(source), hint=NEWER_FILE)
    return info


def _check_name(asked: AnnotationRequest) -> None:
    size_bytes = len(asked.name.encode())
    if size_bytes > MAX_NAME_BYTES or any(sign in asked.name for sign in "\r\n"):
        found = f"its name is {size_bytes:,} bytes long" if size_bytes > MAX_NAME_BYTES else "its name has a line break"
        raise InvalidNameError(
            f"there can be no such object: {found}",
            expected=f"at most {MAX_NAME_BYTES:,} bytes of UTF-8 on one line",
            where=f"{asked.bucket}/{cut(asked.name, 200)}",
            hint="Ask again with the object's name as `gcloud storage ls` prints it.",
        )


def needs_of(card: ModelCard) -> ModelNeeds:
    """What a model asks of a file."""
    return ModelNeeds(card.features, card.species, card.default_overlap, reference=card.reference)


@dataclass(frozen=True, slots=True)
class IngestData:
    """Drops and models, as ingest's services see them.

    Attributes:
        buckets: Those that files are taken from.
        adhoc_bucket: Where bundles are kept that were given as a folder; None where nobody can give one.
    """

    blobs: BlobStore
    models_bucket: str
    default_model: str
    buckets: frozenset[str] = frozenset({"inbox"})
    adhoc_bucket: str | None = None

    def drop_of(self, event: StorageObject) -> Drop | None:
        """The drop behind an event, with the options that the object carries.

        None for what is not a drop (a piece of a parallel upload, a folder's placeholder, an object elsewhere), and for
        what is gone or replaced: the newer generation has an event of its own.

        Raises:
            ObjectRefusedError: The store does not even say what it is.
            InvalidOptionError: Its metadata sets an option twice.
        """
        if event.bucket not in self.buckets or Drop(event.ref).ignored:
            return None
        try:
            info = pinned(self.blobs, event.ref)
        except (InputNotFoundError, InputChangedError):
            return None
        options, rerun_token = requested_options(event.name, info.metadata)
        return Drop(event.ref, options, rerun_token)

    def asked_for(self, asked: AnnotationRequest) -> Drop:
        """The drop that another system asks for; its options are the request's own.

        Raises:
            BucketNotAllowedError: This deployment takes no files from there.
            InvalidNameError: No object of Cloud Storage can have that name.
            InputNotFoundError: There is no such object.
            ObjectRefusedError: The store does not give it out.
        """
        if asked.bucket not in self.buckets:
            raise BucketNotAllowedError(
                "files are not taken from that bucket",
                expected=", ".join(sorted(self.buckets)),
                where=asked.bucket,
                hint="Copy the file to the inbox, or have CELLDROP_ALLOWED_BUCKETS name the bucket.",
            )
        _check_name(asked)
        generation = asked.generation if asked.generation is not None else self._newest(asked)
        source = ObjectRef(asked.bucket, asked.name, generation)
        return Drop(source, dict(asked.options), asked.rerun, Requester(asked.correlation_id, asked.source))

    def _newest(self, asked: AnnotationRequest) -> int:
        try:
            return self.blobs.stat(asked.bucket, asked.name).ref.generation
        except BlobNotFoundError as error:
            raise InputNotFoundError(
                "the object is not there", where=f"{asked.bucket}/{asked.name}", hint="Upload it, then ask again."
            ) from error

    def model(self, asked: str | None) -> tuple[ModelCard, ModelRef]:
        """The card asked for, or the deployment's default, pinned by digest.

        Raises:
            ModelNotFoundError: No such bundle.
            InvalidBundleError: Its card breaks the format.
        """
        reference = asked or self.default_model
        if reference.startswith(DIGEST_PREFIX):
            bucket, prefix = self._adhoc_place(reference.removeprefix(DIGEST_PREFIX))
            card = self._adhoc_card(bucket, prefix)
        else:
            bucket = self.models_bucket
            card, prefix = find_model(self.blobs, bucket, reference)
        return card, ModelRef(card.name, card.version, card.digest, bucket, prefix, card.cost)

    def _adhoc_place(self, digest: str) -> tuple[str, str]:
        if self.adhoc_bucket is None:
            raise ModelNotFoundError(
                "a model named by its digest, which only the machine knows that was given its folder",
                expected="NAME or NAME@VERSION of the catalogue",
                where=cut(digest, _WORDS),
                hint="Upload the bundle to the models bucket, and name it.",
            )
        if not _DIGEST.fullmatch(digest):
            raise ModelNotFoundError(
                "a digest that is none",
                expected="sha256: and 64 digits from 0 to f",
                where=cut(digest, _WORDS),
                hint="Give the bundle's folder with --model, or NAME or NAME@VERSION.",
            )
        return self.adhoc_bucket, f"{digest}/"

    def _adhoc_card(self, bucket: str, prefix: str) -> ModelCard:
        where = f"{bucket}/{prefix}"
        try:
            info = self.blobs.stat(bucket, prefix + CARD_NAME)
        except BlobNotFoundError as error:
            hint = "Give the bundle's folder with --model."
            raise ModelNotFoundError("no bundle of that digest", where=where, hint=hint) from error
        return parse_card(self.blobs.read(info.ref), where=where)
