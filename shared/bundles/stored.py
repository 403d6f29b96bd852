"""A bundle's card as the bytes of ``model.json``: read, written, and the digest that names the bundle."""

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
    """Check a card's bytes.

    Raises:
        InvalidBundleError: Not a card of a format known here.
    """
    try:
        return CARDS.validate_json(data)
    except ValidationError as error:
        fault = _without_kind(first_fault(error))
        found = f"{fault.found}: " if fault.found and fault.place else ""
        raise InvalidBundleError(
            f"{CARD_NAME} breaks the format at {fault.place or 'its top'}: {found}{fault.reason}",
            expected=f"a model card of format {FORMAT}",
            where=where,
            hint="Make the bundle again with `celldrop models import` or `celldrop models train`.",
        ) from error


def _without_kind(fault: Fault) -> Fault:
    """Pydantic puts the member of the union before the names of fields."""
    kind, _, place = fault.place.partition(".")
    return replace(fault, place=place) if kind in set(Kind) else fault


def card_bytes(card: ModelCard) -> bytes:
    """The card as it is written: indented JSON, keys in their order of definition."""
    return (json.dumps(card.model_dump(mode="json"), ensure_ascii=False, indent=1) + "\n").encode()


def digest_of(card: bytes, weights_sha256: str) -> str:
    """The bundle's identity: sha256 over the card as stored, canonical and without its digest, then the weights' own.

    What a card does not say is no part of it, so that a field that is new and optional changes no digest.

    Args:
        card: The bytes of ``model.json``, which were parsed before.
    """
    return _digest(json.loads(card), weights_sha256)


def is_digest(digest: str, card: bytes, weights_sha256: str) -> bool:
    """Whether a digest is the bundle's: as made today, or as before 0.2, with the defaults of then written out."""
    if digest == digest_of(card, weights_sha256):
        return True
    written_out = CARDS.validate_json(card).model_dump(mode="json", include=_FIRST_FIELDS)
    return digest == _digest(written_out, weights_sha256)


_FIRST_FIELDS = {
    *("format", "name", "version", "title", "description", "licence", "citation", "species", "kind", "features"),
    *("preprocessing", "labels", "activation", "temperature", "min_score", "default_overlap", "training"),
    *("flops_per_cell", "weights_bytes", "needs_gpu"),
}
"""Of a card before 0.2; none is ever added."""


def _digest(fields: dict[str, object], weights_sha256: str) -> str:
    said = {name: value for name, value in fields.items() if name != "digest"}
    text = json.dumps(said, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(f"{text}\n{weights_sha256}".encode()).hexdigest()
