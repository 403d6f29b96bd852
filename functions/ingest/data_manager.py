"""What ingest reads: the dropped object, and the model it is to be annotated with."""

from __future__ import annotations

import re
from dataclasses import dataclass

from functions.ingest.schemas import Drop, StorageObject, requested_options
from shared.bundles.card import CARD_NAME, ModelCard
from shared.bundles.catalogue import find_model
from shared.bundles.stored import parse_card
from shared.domain.errors import (
    BlobNotFoundError,
    BucketNotAllowedError,
    InputChangedError,
    InputNotFoundError,
    InvalidNameError,
    ModelNotFoundError,
)
from shared.domain.submission import ModelRef, ObjectRef, Requester
from shared.domain.words import cut
from shared.ports.blobs import BlobStore
from shared.records.messages import AnnotationRequest
from shared.validation import pinned

DIGEST_PREFIX = "sha256:"
_DIGEST = re.compile("[0-9a-f]{64}")
_WORDS = 80
MAX_NAME_BYTES = 1024
"""Cloud Storage counts bytes, not characters."""


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
