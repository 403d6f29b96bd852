"""The bytes of ``model.json``: parsing and writing a card, and the digest of a bundle."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

from pydantic import ValidationError

from shared.bundles.card import CARD_NAME, FORMAT, Kind, ModelCard
from shared.bundles.kinds import CARDS
from shared.domain.errors import InvalidBundleError
from shared.faults import Fault, first_fault


def parse_card(data: bytes, *, where: str) -> ModelCard:
    """Parse a card.

    Raises:
        InvalidBundleError: It is not a valid card of this format.
    """
    try:
        return CARDS.validate_json(data)
    except ValidationError as error:
        fault = _without_kind(first_fault(error))
        found = f"{fault.found}: " if fault.found and fault.place else ""
        hint = "Make the bundle again with `celldrop models import` or `celldrop models train`."
        if error.errors(include_url=False)[0]["type"] in _PERHAPS_NEWER:
            hint = (
                "If the bundle is from a newer version of this program, install that version. Otherwise, make it again."
            )
        raise InvalidBundleError(
            f"{CARD_NAME} breaks the format at {fault.place or 'its top'}: {found}{fault.reason}",
            expected=f"a model card of format {FORMAT}",
            where=where,
            hint=hint,
        ) from error


_PERHAPS_NEWER = frozenset({"extra_forbidden", "unknown_kind", "literal_error"})
"""Faults, as pydantic calls them, of a card that this version is too old for: an unknown field, kind or format."""


def _without_kind(fault: Fault) -> Fault:
    """Remove the kind that pydantic puts before the field's name, as the cards are a union."""
    kind, _, place = fault.place.partition(".")
    return replace(fault, place=place) if kind in set(Kind) else fault


def card_bytes(card: ModelCard) -> bytes:
    """Serialise a card: indented JSON, keys in the order of their definition."""
    return (json.dumps(card.model_dump(mode="json"), ensure_ascii=False, indent=1) + "\n").encode()


def digest_of(card: bytes, weights_sha256: str) -> str:
    """A bundle's digest: sha256 of the stored card, as canonical JSON without its digest, and the weights' sha256.

    Only the fields that are in the stored card count, so a new optional field does not change existing digests.

    Args:
        card: The bytes of ``model.json``, known to be a valid card.
    """
    return _digest(json.loads(card), weights_sha256)


def is_digest(digest: str, card: bytes, weights_sha256: str) -> bool:
    """Whether a digest is the bundle's, as computed today or before 0.2, when defaults were part of it."""
    if digest == digest_of(card, weights_sha256):
        return True
    if not set(json.loads(card)) <= _FIRST_FIELDS | {"digest"}:
        return False  # No card of that time has a later field, which the older digest would not cover.
    if any("submitted" in label for label in json.loads(card)["labels"]):
        return False
    written_out = CARDS.validate_json(card).model_dump(mode="json", include=_FIRST_FIELDS, exclude=_LATER)
    return digest == _digest(written_out, weights_sha256)


_FIRST_FIELDS = {
    *("format", "name", "version", "title", "description", "licence", "citation", "species", "kind", "features"),
    *("preprocessing", "labels", "activation", "temperature", "min_score", "default_overlap", "training"),
    *("flops_per_cell", "weights_bytes", "needs_gpu"),
}
"""The fields of a card before 0.2. This list never changes."""
_LATER = {"labels": {"__all__": {"submitted"}}}
"""Later fields within these."""


def _digest(fields: dict[str, object], weights_sha256: str) -> str:
    said = {name: value for name, value in fields.items() if name != "digest"}
    text = json.dumps(said, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(f"{text}\n{weights_sha256}".encode()).hexdigest()
