"""`celldrop models search`: a table of installed and offered models."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cli.catalogue import newest_of
from cli.console import Exit, Output
from cli.offering import Offered, installed, offered
from jobs.modeling.offers import Offer, species_named, species_words
from shared.bundles.catalogue import version_key
from shared.domain.errors import InvalidOptionError
from shared.domain.verdict import Species
from shared.domain.words import plural, shortened
from shared.settings import Settings

_TITLE = 80
INSTALLED = "installed"


def search_models(settings: Settings, words: Sequence[str], species: str, tissue: str, output: Output) -> Exit:
    """List the models that have all words, of installed ones the newest version.

    A catalogue that cannot be read is named, and the others are listed.

    Raises:
        InvalidOptionError: The species has no known name.
    """
    wanted = species_named(species) if species else None
    if species and wanted is None:
        raise InvalidOptionError(f"--species {species!r}", expected=species_words(), hint="Name one of these.")
    here, there = installed(settings), offered(settings)
    known = {offer.reference for offer in here}
    every = [*newest_of(_sorted(here)), *_sorted(offer for offer in there.offers if offer.reference not in known)]
    found = [offer for offer in every if offer.fits(words, wanted, tissue)]
    output.result(
        {
            "models": [_document(offer) for offer in found],
            "unreachable": [{"catalogue": address, "reason": reason} for address, reason in there.silent.items()],
            "left_out": [{"catalogue": address, "reasons": reasons} for address, reasons in there.left_out.items()],
        }
    )
    _say(found, there, output)
    return Exit.INTERNAL if there.silent and not every else Exit.DONE


def _sorted(offers: Iterable[Offer]) -> list[Offer]:
    """By name, the newest version first."""
    newest_first = sorted(offers, key=lambda offer: version_key(offer.version), reverse=True)
    return sorted(newest_first, key=lambda offer: offer.name)


def _say(found: Sequence[Offer], there: Offered, output: Output) -> None:
    rows = [
        [
            offer.reference,
            "" if offer.n_labels is None else f"{offer.n_labels:,}",
            species_said(offer.species),
            shortened(offer.title, _TITLE),
            "catalogue" if offer.catalogue else INSTALLED,
            size_said(offer.size_bytes),
        ]
        for offer in found
    ]
    if rows:
        output.table(["model", "labels", "species", "title", "where", "size"], rows)
    else:
        output.say("No model has all of these words.")
    for address, reason in there.silent.items():
        output.warn(f"The catalogue {address} could not be read: {reason}")
    for address, reasons in there.left_out.items():
        output.warn(f"{plural(len(reasons), 'model')} of {address} left out: {reasons[0]}")
    if any(offer.catalogue for offer in found):
        output.say("Add one with  celldrop models add NAME")


def species_said(species: Species) -> str:
    """The species for people."""
    return "not stated" if species is Species.UNKNOWN else species


def size_said(size_bytes: int | None) -> str:
    """A size for people; empty if it is not known."""
    if size_bytes is None:
        return ""
    return f"{size_bytes / 1e6:,.1f} MB" if size_bytes >= 1e6 else f"{size_bytes / 1e3:,.0f} kB"


def _document(offer: Offer) -> dict[str, object]:
    return {
        "name": offer.name,
        "version": offer.version,
        "title": offer.title,
        "species": offer.species,
        "tissue": offer.tissue,
        "n_labels": offer.n_labels,
        "labels": offer.labels,
        "licence": offer.licence,
        "citation": offer.citation,
        "size_bytes": offer.size_bytes,
        "where": "catalogue" if offer.catalogue else INSTALLED,
        "catalogue": offer.catalogue,
        "address": offer.address,
    }
