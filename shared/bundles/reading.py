"""Reads a bundle from the blob store and checks its digest. The weights stay bytes, so that torch is not needed."""

from __future__ import annotations

import hashlib

from shared.bundles.card import CARD_NAME, WEIGHTS_NAME, ModelCard
from shared.bundles.stored import digest_of, is_digest, parse_card
from shared.domain.errors import BlobNotFoundError, InvalidBundleError
from shared.ports.blobs import BlobInfo, BlobStore

MAX_CARD_BYTES = 32 * 2**20
"""The card of a model of 60,000 genes and 10,000 labels has some 8 MB."""


def read_bundle(store: BlobStore, bucket: str, prefix: str, expected_digest: str | None) -> tuple[ModelCard, bytes]:
    """Read a bundle. Returns its card and the bytes of its safetensors file (see ``jobs.inference.task.models``).

    Args:
        prefix: ``NAME/VERSION/``.
        expected_digest: The digest pinned when the submission was accepted; None checks only the card's own.

    Raises:
        InvalidBundleError: A file is missing, or its content does not match a digest.
    """
    where = f"{bucket}/{prefix.rstrip('/')}"
    stored = _read(store, bucket, f"{prefix.rstrip('/')}/{CARD_NAME}")
    card = parse_card(stored, where=where)
    data = _read(store, bucket, f"{prefix.rstrip('/')}/{WEIGHTS_NAME}")
    weights_sha256 = hashlib.sha256(data).hexdigest()
    for digest, by in ((card.digest, "its card"), (expected_digest, "the submission")):
        if digest is not None and not is_digest(digest, stored, weights_sha256):
            raise _another_bundle(digest_of(stored, weights_sha256), digest, by, where)
    return card, data


def read_card(store: BlobStore, info: BlobInfo) -> bytes:
    """Read the bytes of a card.

    Raises:
        InvalidBundleError: It is larger than any card.
    """
    if info.size_bytes > MAX_CARD_BYTES:
        raise InvalidBundleError(
            f"a {CARD_NAME} of {info.size_bytes:,} bytes",
            expected=f"at most {MAX_CARD_BYTES:,}",
            where=str(info.ref),
            hint="Make the bundle again with `celldrop models import` or `celldrop models train`.",
        )
    return store.read(info.ref)


def _another_bundle(found: str, expected: str, by: str, where: str) -> InvalidBundleError:
    return InvalidBundleError(
        f"a bundle with digest {found[:12]}…",
        expected=f"{expected[:12] or 'none'}…, as {by} says",
        where=where,
        hint="A version is never changed in place: upload the bundle whole, under a new version.",
    )


def _read(store: BlobStore, bucket: str, name: str) -> bytes:
    try:
        info = store.stat(bucket, name)
        return read_card(store, info) if name.endswith(CARD_NAME) else store.read(info.ref)
    except BlobNotFoundError as error:
        found = f"a bundle without {name.rpartition('/')[2]}"
        hint = "Upload the bundle again, both files of it."
        raise InvalidBundleError(found, expected=name, where=bucket, hint=hint) from error
