"""The catalogue of bundles in a blob store: lists them, and resolves a reference to one of them."""

from __future__ import annotations

import difflib
import logging
import re
from dataclasses import dataclass

from shared.bundles.card import CARD_NAME, WEIGHTS_NAME, ModelCard
from shared.bundles.reading import read_card
from shared.bundles.stored import parse_card
from shared.domain.errors import InvalidBundleError, ModelNotFoundError
from shared.ports.blobs import BlobInfo, BlobStore

_LOG = logging.getLogger(__name__)
_DIGEST = "sha256:"


def list_models(store: BlobStore, bucket: str, prefix: str = "") -> list[ModelCard]:
    """The cards of all bundles, sorted by name, newest version first.

    An invalid card, and a bundle of which a part is missing, is logged and left out, so that one bad upload does not
    hide the others.

    Args:
        prefix: Where the bundles lie in the bucket; empty or with a slash at its end.
    """
    cards = []
    for place in _places(store, bucket, prefix):
        try:
            card, lack = _read(store, place)
        except InvalidBundleError as error:
            _LOG.warning("bundle left out of the catalogue: %s", error.message)
            continue
        if card is None or lack:
            _LOG.warning("bundle left out of the catalogue: %s is not complete: %s", place, lack)
        else:
            cards.append(card)
    return sorted(sorted(cards, key=lambda card: version_key(card.version), reverse=True), key=lambda card: card.name)


def find_model(store: BlobStore, bucket: str, reference: str, *, by_folder: str = "") -> tuple[ModelCard, str]:
    """Find a bundle by reference. Returns its card and its prefix (``NAME/VERSION/``).

    A version that is still being uploaded has not taken the place of an older one yet.

    Args:
        reference: ``NAME`` (the newest version), ``NAME@VERSION``, or ``sha256:DIGEST``.
        by_folder: Where the bucket means folders of this machine, the command that takes the folder of a bundle
            instead of its name, for the messages.

    Raises:
        ModelNotFoundError: There is no such bundle; the hint names similar ones.
        InvalidBundleError: The bundle exists, but its card is invalid.
    """
    places = _places(store, bucket)
    incomplete: list[tuple[_Place, str]] = []
    for place in _candidates(store, bucket, places, reference):
        card, lack = _read(store, place)
        if card is not None and not lack:
            return card, place.prefix
        incomplete.append((place, lack))
    where = "the installed models" if by_folder else f"models bucket {bucket}"
    if incomplete:
        raise _incomplete(*incomplete[0], where)
    more = f" A bundle elsewhere on this machine is given as its folder: `{by_folder}`." if by_folder else ""
    raise _not_found(places, where, reference, more)


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
    """A folder of the models bucket that has at least one file of a bundle."""

    name: str
    version: str
    card: BlobInfo | None
    weights: BlobInfo | None

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"

    @property
    def prefix(self) -> str:
        return f"{self.name}/{self.version}/"


def _places(store: BlobStore, bucket: str, prefix: str = "") -> list[_Place]:
    found: dict[tuple[str, str], dict[str, BlobInfo]] = {}
    for info in store.list(bucket, prefix):
        parts = info.ref.name.removeprefix(prefix).split("/")
        if len(parts) == 3 and parts[2] in {CARD_NAME, WEIGHTS_NAME}:
            found.setdefault((parts[0], parts[1]), {})[parts[2]] = info
    return [
        _Place(name, version, files.get(CARD_NAME), files.get(WEIGHTS_NAME)) for (name, version), files in found.items()
    ]


def _read(store: BlobStore, place: _Place) -> tuple[ModelCard | None, str]:
    """The card, and what is missing of the bundle, in words; empty if it is complete."""
    if place.card is None:
        return None, f"it has no {CARD_NAME}"
    card = parse_card(read_card(store, place.card), where=str(place.card.ref))
    if (card.name, card.version) != (place.name, place.version):
        raise InvalidBundleError(
            f"a card that calls itself {card.reference}",
            expected=f"{place}, as its folder says",
            where=str(place.card.ref),
            hint="Upload the bundle under NAME/VERSION/ of its own card.",
        )
    if place.weights is None:
        return card, f"it has no {WEIGHTS_NAME}"
    if card.weights_bytes and place.weights.size_bytes < card.weights_bytes:
        return card, f"its {WEIGHTS_NAME} has {place.weights.size_bytes:,} of {card.weights_bytes:,} bytes"
    return card, ""


def _candidates(store: BlobStore, bucket: str, places: list[_Place], reference: str) -> list[_Place]:
    """The places that a reference may mean, best first."""
    if reference.startswith(_DIGEST):
        digest = reference.removeprefix(_DIGEST)
        meant = {(card.name, card.version) for card in list_models(store, bucket) if card.digest == digest}
        return [place for place in places if (place.name, place.version) in meant]
    name, _, version = reference.partition("@")
    found = [place for place in places if place.name == name and version in {"", place.version}]
    return sorted(found, key=lambda place: version_key(place.version), reverse=True)


def _incomplete(place: _Place, lack: str, where: str) -> ModelNotFoundError:
    hint = f"Wait until its upload has ended, or upload both files: {CARD_NAME} and {WEIGHTS_NAME}."
    return ModelNotFoundError(f"{place} is not complete: {lack}", where=where, hint=hint)


def _not_found(places: list[_Place], where: str, reference: str, more: str) -> ModelNotFoundError:
    known = sorted(map(str, places))
    return ModelNotFoundError(
        f"no model {reference!r}",
        expected=f"one of {', '.join(known)}" if known else "a bundle under NAME/VERSION/",
        where=where,
        hint=f"{_suggestion(places, reference)}{more}",
    )


def _suggestion(places: list[_Place], reference: str) -> str:
    names = sorted({place.name for place in places})
    close = difflib.get_close_matches(reference.partition("@")[0].lower(), names, n=3, cutoff=0.5)
    if close:
        return f"Did you mean {' or '.join(close)}? `celldrop models list` shows them all."
    return "`celldrop models list` shows what there is; `celldrop models search` and `add` get more."
