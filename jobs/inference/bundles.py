"""A bundle out of the blob store, proved to be the one that was asked for; of the weights, the bytes: without torch."""

from __future__ import annotations

import hashlib

from shared.bundle import CARD_NAME, WEIGHTS_NAME, ModelCard, digest_of, parse_card
from shared.domain.errors import BlobNotFoundError, InvalidBundleError
from shared.ports.blobs import BlobStore


def read_bundle(store: BlobStore, bucket: str, prefix: str, expected_digest: str | None) -> tuple[ModelCard, bytes]:
    """Card and weights, these as the bytes of a safetensors file for ``jobs.inference.models``.

    Args:
        prefix: ``NAME/VERSION/``.
        expected_digest: The digest that was pinned when the submission was accepted; None takes the card's own.

    Raises:
        InvalidBundleError: A file is missing, or the bytes are not those that the digest names.
    """
    where = f"{bucket}/{prefix.rstrip('/')}"
    card = parse_card(_read(store, bucket, f"{prefix.rstrip('/')}/{CARD_NAME}"), where=where)
    data = _read(store, bucket, f"{prefix.rstrip('/')}/{WEIGHTS_NAME}")
    _check_digest(card, hashlib.sha256(data).hexdigest(), expected_digest, where)
    return card, data


def _check_digest(card: ModelCard, weights_sha256: str, expected: str | None, where: str) -> None:
    actual = digest_of(card, weights_sha256)
    for digest, by in ((card.digest, "its card"), (expected, "the submission")):
        if digest is not None and digest != actual:
            raise InvalidBundleError(
                f"a bundle with digest {actual[:12]}…",
                expected=f"{digest[:12] or 'none'}…, as {by} says",
                where=where,
                hint="A version is never changed in place: upload the bundle whole, under a new version.",
            )


def _read(store: BlobStore, bucket: str, name: str) -> bytes:
    try:
        return store.read(store.stat(bucket, name).ref)
    except BlobNotFoundError as error:
        found = f"a bundle without {name.rpartition('/')[2]}"
        hint = "Upload the bundle again, both files of it."
        raise InvalidBundleError(found, expected=name, where=bucket, hint=hint) from error
