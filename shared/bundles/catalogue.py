"""The catalogue of bundles in a blob store: lists them, and resolves a reference to one of them."""

from __future__ import annotations

import difflib
import logging
import re
from dataclasses import dataclass

from shared.bundles.card import CARD_NAME, WEIGHTS_NAME, ModelCard
from shared.bundles.stored import parse_card
from shared.domain.errors import InvalidBundleError, ModelNotFoundError
from shared.domain.submission import ObjectRef
from shared.ports.blobs import BlobStore

_LOG = logging.getLogger(__name__)
_DIGEST = "sha256:"


def list_models(store: BlobStore, bucket: str) -> list[ModelCard]:
    """The cards of all bundles, sorted by name, newest version first.

    An invalid card is logged and left out, so that one bad upload does not hide the others.
    """
    cards = []
    for place in _places(store, bucket):
        try:
            cards.append(_card(store, place))
        except InvalidBundleError as error:
            _LOG.warning("bundle left out of the catalogue: %s", error.message)
    return sorted(sorted(cards, key=lambda card: version_key(card.version), reverse=True), key=lambda card: card.name)


def find_model(store: BlobStore, bucket: str, reference: str) -> tuple[ModelCard, str]:
    """Find a bundle by reference. Returns its card and its prefix (``NAME/VERSION/``).

    Args:
        reference: ``NAME`` (the newest version), ``NAME@VERSION``, or ``sha256:DIGEST``.

    Raises:
        ModelNotFoundError: There is no such bundle; the hint names similar ones.
        InvalidBundleError: The bundle exists, but its card is invalid.
    """
    places = _places(store, bucket)
    if reference.startswith(_DIGEST):
        found = _by_digest(store, bucket, reference.removeprefix(_DIGEST))
    else:
        found = _by_name(places, reference)
    if found is None:
        raise _not_found(places, bucket, reference)
    return _card(store, found), found.prefix


def version_key(version: str) -> tuple[tuple[int, int, str], ...]:
    """The sort key of a version: 1.10 after 1.9, 1.0 after 1.0rc1, 1.0+fix after 1.0, v2 after v1."""
    pieces = re.findall(r"\d+|[A-Za-z]+|\+", version)
    ranked = [(3, int(piece), "") if piece.isdigit() else (_rank(piece), 0, piece.lower()) for piece in pieces]
    return (*ranked, (1, 0, ""))


def _rank(piece: str) -> int:
    # The end of a version ranks 1: a word (0) marks a pre-release, a + (2) a later build.
    return 2 if piece == "+" else 0


@dataclass(frozen=True, slots=True)
class _Place:
    name: str
    version: str
    card: ObjectRef

    @property
    def prefix(self) -> str:
        return f"{self.name}/{self.version}/"


def _places(store: BlobStore, bucket: str) -> list[_Place]:
    """The bundles that are there whole. One still being uploaded has not taken the place of an older version yet."""
    found = {info.ref.name: info.ref for info in store.list(bucket)}
    places = []
    for object_name, ref in found.items():
        folder, _, file_name = object_name.rpartition("/")
        parts = folder.split("/")
        if len(parts) == 2 and file_name == CARD_NAME and f"{folder}/{WEIGHTS_NAME}" in found:
            places.append(_Place(parts[0], parts[1], ref))
    return places


def _card(store: BlobStore, place: _Place) -> ModelCard:
    card = parse_card(store.read(place.card), where=str(place.card))
    if (card.name, card.version) != (place.name, place.version):
        raise InvalidBundleError(
            f"a card that calls itself {card.reference}",
            expected=f"{place.name}@{place.version}, as its folder says",
            where=str(place.card),
            hint="Upload the bundle under NAME/VERSION/ of its own card.",
        )
    return card


def _by_name(places: list[_Place], reference: str) -> _Place | None:
    name, _, version = reference.partition("@")
    candidates = [place for place in places if place.name == name and version in {"", place.version}]
    return max(candidates, key=lambda place: version_key(place.version), default=None)


def _by_digest(store: BlobStore, bucket: str, digest: str) -> _Place | None:
    for card in list_models(store, bucket):
        if card.digest == digest:
            return next(place for place in _places(store, bucket) if place.prefix == f"{card.name}/{card.version}/")
    return None


def _not_found(places: list[_Place], bucket: str, reference: str) -> ModelNotFoundError:
    known = sorted({f"{place.name}@{place.version}" for place in places})
    return ModelNotFoundError(
        f"no model {reference!r}",
        expected=f"one of {', '.join(known)}" if known else "a bundle under NAME/VERSION/",
        where=f"models bucket {bucket}",
        hint=_suggestion(places, reference),
    )


def _suggestion(places: list[_Place], reference: str) -> str:
    names = sorted({place.name for place in places})
    close = difflib.get_close_matches(reference.partition("@")[0].lower(), names, n=3, cutoff=0.5)
    if close:
        return f"Did you mean {' or '.join(close)}? `celldrop models list` shows them all."
    return "`celldrop models list` shows what there is; `celldrop models import` and `train` make more."
