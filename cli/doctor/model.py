"""Inspects the default model: whether it exists, and whether its weights match its card."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from shared.bundles.card import CARD_NAME, WEIGHTS_NAME
from shared.bundles.catalogue import find_model
from shared.bundles.stored import is_digest
from shared.domain.errors import (
    AccessDeniedError,
    BlobNotFoundError,
    CelldropError,
    ModelNotFoundError,
    SettingsError,
    UnavailableError,
)
from shared.ports.blobs import BlobStore
from shared.ports.survey import Silence, Untold

MAX_WEIGHTS_BYTES = 32 * 2**20
"""Larger weights are not downloaded for a check."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """The default model.

    Attributes:
        reference: ``NAME@VERSION``.
        is_whole: Whether the weights match the card's digest; None if they are too large to download.
    """

    reference: str
    needs_gpu: bool
    is_whole: bool | None


def look_at_model(blobs: BlobStore, bucket: str, reference: str) -> ModelFacts | Untold:
    """Find the model with that reference, and compare its weights with its card."""
    try:
        card, prefix = find_model(blobs, bucket, reference)
        weights = blobs.stat(bucket, f"{prefix}{WEIGHTS_NAME}")
        is_whole = None
        if weights.size_bytes <= MAX_WEIGHTS_BYTES:
            sha256 = hashlib.sha256(blobs.read(weights.ref)).hexdigest()
            stored = blobs.read(blobs.stat(bucket, f"{prefix}{CARD_NAME}").ref)
            is_whole = is_digest(card.digest, stored, sha256)
    except CelldropError as error:
        return Untold(_silence(error), error.message)
    return ModelFacts(card.reference, card.needs_gpu, is_whole)


def _silence(error: CelldropError) -> Silence:
    match error:
        case ModelNotFoundError() | BlobNotFoundError():
            return Silence.MISSING
        case AccessDeniedError():
            return Silence.DENIED
        case UnavailableError():
            return Silence.UNREACHABLE
        case SettingsError():
            return Silence.NOT_SET
        case _:
            return Silence.REFUSED
