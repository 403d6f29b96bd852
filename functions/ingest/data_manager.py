"""Reads what ingest needs: the dropped object, and the model to annotate it with."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from functions.ingest.schemas import Drop, StorageObject, requested_options
from shared.bundles.card import CARD_NAME, ModelCard
from shared.bundles.catalogue import find_model, list_models
from shared.bundles.distinct import check_distinct
from shared.bundles.instead import naming_models
from shared.bundles.reading import read_card
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
from shared.domain.verdict import Verdict
from shared.domain.words import cut
from shared.ports.blobs import BlobStore
from shared.records.messages import AnnotationRequest
from shared.validation import pinned

DIGEST_PREFIX = "sha256:"
_DIGEST = re.compile("[0-9a-f]{64}")
_WORDS = 80
MAX_NAME_BYTES = 1024
"""Cloud Storage's limit; it counts bytes, not characters."""


def _check_name(request: AnnotationRequest) -> None:
    size_bytes = len(request.name.encode())
    if size_bytes > MAX_NAME_BYTES or any(sign in request.name for sign in "\r\n"):
        found = f"its name is {size_bytes:,} bytes long" if size_bytes > MAX_NAME_BYTES else "its name has a line break"
        raise InvalidNameError(
            f"no object can have this name: {found}",
            expected=f"at most {MAX_NAME_BYTES:,} bytes of UTF-8 on one line",
            where=f"{request.bucket}/{cut(request.name, 200)}",
            hint="Send the request again with the object's name as `gcloud storage ls` prints it.",
        )


@dataclass(frozen=True, slots=True)
class IngestData:
    """Access to dropped objects and model bundles, for ingest's service.

    Attributes:
        buckets: The buckets from which files are accepted.
        adhoc_bucket: The bucket of bundles that users gave as a local folder; None where that is not possible.
    """

    blobs: BlobStore
    models_bucket: str
    default_model: str
    buckets: frozenset[str] = frozenset({"inbox"})
    adhoc_bucket: str | None = None

    def drop_of(self, event: StorageObject) -> Drop | None:
        """Read the drop that an event is about, with the options that the object carries.

        None if the object is not a drop (part of a parallel upload, a folder placeholder, an object in another
        bucket), or if it is gone or was replaced. A newer generation gets its own event.

        Raises:
            ObjectRefusedError: The store permanently refuses to return the object's metadata.
            InvalidOptionError: The metadata sets one option to two values.
        """
        if event.bucket not in self.buckets or Drop(event.ref).ignored:
            return None
        try:
            info = pinned(self.blobs, event.ref)
        except (InputNotFoundError, InputChangedError):
            return None
        options, rerun_token = requested_options(event.name, info.metadata)
        return Drop(event.ref, options, rerun_token)

    def drop_of_request(self, request: AnnotationRequest) -> Drop:
        """Read the drop that another system's request names. Its options come from the request, not from the object.

        Raises:
            BucketNotAllowedError: This deployment does not accept files from that bucket.
            InvalidNameError: No object in Cloud Storage can have that name.
            InputNotFoundError: There is no such object.
            ObjectRefusedError: The store permanently refuses to return the object's metadata.
        """
        if request.bucket not in self.buckets:
            raise BucketNotAllowedError(
                "files are not accepted from that bucket",
                expected=", ".join(sorted(self.buckets)),
                where=request.bucket,
                hint="Copy the file to the inbox, or have the bucket added to the setting CELLDROP_ALLOWED_BUCKETS.",
            )
        _check_name(request)
        generation = request.generation if request.generation is not None else self._newest(request)
        source = ObjectRef(request.bucket, request.name, generation)
        requester = Requester(request.correlation_id, request.source)
        return Drop(source, dict(request.options), request.rerun, requester)

    def _newest(self, request: AnnotationRequest) -> int:
        try:
            return self.blobs.stat(request.bucket, request.name).ref.generation
        except BlobNotFoundError as error:
            raise InputNotFoundError(
                "the object does not exist",
                where=f"{request.bucket}/{request.name}",
                hint="Upload the file, then send the request again.",
            ) from error

    def model(self, name: str | None) -> tuple[ModelCard, ModelRef]:
        """Find a model by name, or the deployment's default model, and pin it by its digest.

        Raises:
            ModelNotFoundError: There is no such bundle.
            InvalidBundleError: The bundle's card breaks the format.
        """
        reference = name or self.default_model
        if reference.startswith(DIGEST_PREFIX):
            bucket, prefix = self._adhoc_place(reference.removeprefix(DIGEST_PREFIX))
            card = self._adhoc_card(bucket, prefix)
        else:
            bucket = self.models_bucket
            by_folder = "" if self.adhoc_bucket is None else "celldrop run FILE --model FOLDER"
            card, prefix = find_model(self.blobs, bucket, reference, by_folder=by_folder)
        return card, ModelRef(card.name, card.version, card.digest, bucket, prefix, card.cost)

    def others(self, names: Sequence[str], card: ModelCard) -> tuple[tuple[ModelCard, ...], tuple[ModelRef, ...]]:
        """Find and pin the further models of a consensus.

        Args:
            card: That of the model itself.

        Raises:
            ModelNotFoundError: There is no such bundle.
            InvalidBundleError: A bundle's card breaks the format.
            InvalidOptionError: Two of the models are the same bundle.
        """
        found = [self.model(name) for name in names]
        # A digest says nothing to whoever gave a folder.
        known = [
            other.reference if name.startswith(DIGEST_PREFIX) else name
            for name, (other, _) in zip(names, found, strict=True)
        ]
        check_distinct([card, *(other for other, _ in found)], [card.reference, *known])
        return tuple(card for card, _ in found), tuple(ref for _, ref in found)

    def naming_models(self, verdict: Verdict) -> Verdict:
        """The verdict, which names models that may suit a file of another species than the requested model's."""
        return naming_models(verdict, lambda: list_models(self.blobs, self.models_bucket))

    def _adhoc_place(self, digest: str) -> tuple[str, str]:
        if self.adhoc_bucket is None:
            raise ModelNotFoundError(
                "the model is given by a digest, which works only on the machine where its folder is",
                expected="NAME or NAME@VERSION of a model in the catalogue",
                where=cut(digest, _WORDS),
                hint="Upload the bundle to the models bucket, then use its name.",
            )
        if not _DIGEST.fullmatch(digest):
            raise ModelNotFoundError(
                "the model's digest is malformed",
                expected="sha256: and 64 digits from 0 to f",
                where=cut(digest, _WORDS),
                hint="Pass --model the bundle's folder, NAME or NAME@VERSION.",
            )
        return self.adhoc_bucket, f"{digest}/"

    def _adhoc_card(self, bucket: str, prefix: str) -> ModelCard:
        where = f"{bucket}/{prefix}"
        try:
            info = self.blobs.stat(bucket, prefix + CARD_NAME)
        except BlobNotFoundError as error:
            hint = "Pass --model the bundle's folder."
            raise ModelNotFoundError("there is no bundle with that digest", where=where, hint=hint) from error
        return parse_card(read_card(self.blobs, info), where=where)
