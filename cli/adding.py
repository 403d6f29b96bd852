"""`celldrop models add`: shows a model that is offered, then downloads, checks and installs it."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from cli.catalogue import as_bucket
from cli.console import Exit, Output
from cli.offering import find_installed, find_offer, is_served, stored_at
from cli.searching import size_said, species_said
from jobs.modeling.adding_terms import SUFFIX, TermFiles, add_terms
from jobs.modeling.downloading import Told, download, read_small, size_of
from jobs.modeling.offers import Form, Offer, offer_of_card
from jobs.modeling.sources import sha256_of
from shared.bundles.card import CARD_NAME, NAME_PATTERN, VERSION_PATTERN, WEIGHTS_NAME, ModelCard
from shared.bundles.reading import MAX_CARD_BYTES, read_card
from shared.bundles.stored import card_bytes, digest_of, parse_card
from shared.domain.errors import (
    BlobNotFoundError,
    CelldropError,
    InvalidBundleError,
    InvalidOptionError,
    ModelDownloadError,
    ModelExistsError,
    ModelNotFoundError,
)
from shared.settings import Settings

_PARTS = ".downloads"
"""The folder of unfinished downloads, beside the bundles; no catalogue looks there."""
_KILOBYTE = 1_000


@dataclass(frozen=True, slots=True)
class Asked:
    """What a command asks for.

    Attributes:
        what: A name in a catalogue, an address, or a path.
        name, version: Of an imported model; empty: as the catalogue says.
        agreed: Whether to go on without asking.
        batch: Of an imported scANVI model that depends on it: the batch that new cells are treated as.
        terms: What its labels' terms are taken from; None: they stay as they are.
    """

    what: str
    name: str = ""
    version: str = ""
    agreed: bool = False
    batch: str | None = None
    terms: TermFiles | None = None


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The model to add.

    Attributes:
        offer: What is offered, with the name and version that it will have.
        card: Of a bundle, its card as it is stored.
        batch, terms: As in ``Asked``.
    """

    offer: Offer
    card: bytes = b""
    batch: str | None = None
    terms: TermFiles | None = None


def add_model(settings: Settings, asked: Asked, output: Output) -> Exit:
    """Add a model to this user's own. An interrupted download goes on where it stopped.

    Raises:
        CelldropError: There is no such model, it exists already, or it cannot be downloaded or used.
    """
    chosen = _chosen(settings, asked)
    offer = chosen.offer
    _check_new(settings, offer)
    _check_size(settings, offer.size_bytes or 0, offer.address)
    _say_offer(offer, output)
    if asked.terms is not None:
        another = ": it is another bundle, with the same labels" if offer.form is Form.BUNDLE else ""
        output.say(f"  terms     of {asked.terms.ontology.name}, added here{another}")
    if not (asked.agreed or _agrees(output)):
        output.result({"added": None})
        output.say("Nothing was added.")
        return Exit.DONE
    with output.progress(f"kB of {offer.reference}", _kilobytes(offer.size_bytes)) as bar:
        card = _get(settings, chosen, lambda done, total: bar.update(done // _KILOBYTE, _kilobytes(total)))
    path = settings.added_models / card.name / card.version
    unplaced = {} if asked.terms is None else _without_terms(card, asked.terms, output)
    more = {"digest": card.digest, "licence": card.licence, **unplaced}
    output.result({"added": card.reference, "path": str(path), **more})
    output.say(f"{card.reference}: {len(card.labels)} labels, {len(card.features):,} features", style="bold green")
    output.say(f"  in {path}")
    output.say(f"  use it with  celldrop run FILE --model {card.reference}")
    return Exit.DONE


def _without_terms(card: ModelCard, files: TermFiles, output: Output) -> dict[str, object]:
    from cli.terms import say_without_terms

    return {"labels_without_terms": say_without_terms(card, files.ontology, output), "n_terms": len(card.terms)}


# --- Which model ----------------------------------------------------------------------------------------------------


def _chosen(settings: Settings, asked: Asked) -> _Chosen:
    offer = (find_installed(settings, asked.what) if asked.terms else None) or find_offer(settings, asked.what)
    _check_names(asked)
    if offer.form is not Form.BUNDLE:
        size_bytes = offer.size_bytes or _size_of(offer.address)
        return _Chosen(replace(_named(offer, asked), size_bytes=size_bytes), batch=asked.batch, terms=asked.terms)
    renamed = asked.terms is None and (asked.name or asked.version)
    if renamed or asked.batch is not None:
        raise InvalidOptionError(
            "a bundle keeps its name, its version and all else, which its digest covers",
            where=asked.what,
            hint="Leave --name, --version and --batch out; they are for models of other programs, and the first two "
            "for a model that gets terms by --ontology.",
        )
    stored = _card_at(settings, offer.address)
    card = parse_card(stored, where=offer.address)
    _check_offered(offer, card)
    known = offer_of_card(card, offer.address, offer.catalogue)
    known = replace(known, tissue=offer.tissue, size_bytes=card.weights_bytes or offer.size_bytes)
    if asked.terms is None:
        return _Chosen(known, stored)
    named = _named(known, asked)
    add_terms(card, asked.terms, named.name, named.version)  # What is wrong with it is said before a download.
    return _Chosen(named, stored, terms=asked.terms)


def _named(offer: Offer, asked: Asked) -> Offer:
    """The offer under the name and version that the bundle will have; with terms, it is another one."""
    name = asked.name or (offer.name if asked.terms is None else f"{offer.name}{SUFFIX}")
    if not re.fullmatch(NAME_PATTERN, name):
        hint = "Choose a shorter one with --name."
        raise InvalidOptionError(f"the name {name!r} is too long for a bundle", hint=hint)
    return replace(offer, name=name, version=asked.version or offer.version)


def _check_names(asked: Asked) -> None:
    for option, value, pattern in (
        ("--name", asked.name, NAME_PATTERN),
        ("--version", asked.version, VERSION_PATTERN),
    ):
        if value and not re.fullmatch(pattern, value):
            hint = "Use letters, digits, dots and dashes; names in lower case."
            raise InvalidOptionError(f"{option} {value!r}", expected="a name that a bundle can have", hint=hint)


def _size_of(address: str) -> int | None:
    if not is_served(address):
        with suppress(OSError):
            return Path(address).stat().st_size if Path(address).is_file() else None
        return None
    with suppress(CelldropError):  # Not every server says; what is wrong with it is said at the download.
        return size_of(address)
    return None


def _card_at(settings: Settings, address: str) -> bytes:
    if is_served(address):
        return read_small(address + CARD_NAME, MAX_CARD_BYTES)
    store, bucket, prefix = stored_at(settings, address)
    try:
        return read_card(store, store.stat(bucket, prefix + CARD_NAME))
    except BlobNotFoundError as error:
        hint = "Give the address of the folder NAME/VERSION/ of one bundle."
        raise ModelNotFoundError(f"there is no {CARD_NAME}", where=address, hint=hint) from error


def _check_offered(offer: Offer, card: ModelCard) -> None:
    differs = offer.digest and offer.digest != card.digest
    if offer.name and (differs or (offer.name, offer.version) != (card.name, card.version)):
        raise InvalidBundleError(
            f"the bundle is {card.reference} with digest {card.digest[:12]}…",
            expected=f"{offer.reference} with digest {offer.digest[:12] or 'not stated'}…, as the catalogue says",
            where=offer.address,
            hint="Tell whoever keeps the catalogue: its index and its bundles do not fit.",
        )


def _check_new(settings: Settings, offer: Offer) -> None:
    for folder in (settings.added_models, settings.models_dir):
        path = folder / offer.name / offer.version
        if path.exists():
            raise ModelExistsError(
                f"{offer.reference} is installed already",
                expected="a model that is not",
                where=str(path),
                hint=f"Use it with `celldrop run FILE --model {offer.reference}`. Another --version can be chosen for "
                "a model of another program, or one with --ontology.",
            )


def _check_size(settings: Settings, size_bytes: int, address: str) -> None:
    if size_bytes > settings.max_model_bytes:
        raise ModelDownloadError(
            f"a model of {size_bytes:,} bytes",
            expected=f"at most {settings.max_model_bytes:,}",
            where=address,
            hint="Check that it is the model that you want, then raise CELLDROP_MAX_MODEL_BYTES.",
        )


def _say_offer(offer: Offer, output: Output) -> None:
    output.say(f"{offer.reference}  {offer.title}", style="bold")
    labels = "number of labels not stated" if offer.n_labels is None else f"{offer.n_labels:,} labels"
    output.say(f"  {labels}, species {species_said(offer.species)}")
    output.say(f"  from      {offer.address}")
    if offer.catalogue:
        output.say(f"  listed in {offer.catalogue}")
    output.say(f"  licence   {offer.licence or 'not stated: ask the authors before you use it'}")
    output.say(f"  cite      {offer.citation or 'not stated'}")
    output.say(f"  size      {size_said(offer.size_bytes) or 'not stated'}")
    checksum = offer.digest or offer.sha256
    output.say(f"  sha256    {checksum or 'not stated: the card will have that of the file which arrives'}")


def _agrees(output: Output) -> bool:
    if output.as_json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return True
    import typer

    return typer.confirm("Add it?")


def _kilobytes(size_bytes: int | None) -> int | None:
    return None if size_bytes is None else size_bytes // _KILOBYTE


# --- Getting it -----------------------------------------------------------------------------------------------------


def _get(settings: Settings, chosen: _Chosen, told: Told) -> ModelCard:
    offer = chosen.offer
    limit = settings.max_model_bytes
    with _parts(settings.added_models, offer.address) as parts:
        if offer.form is Form.BUNDLE:
            weights = parts / WEIGHTS_NAME
            if is_served(offer.address):
                download(offer.address + WEIGHTS_NAME, weights, most_bytes=limit, told=told)
            return _publish(settings, chosen, weights)
        if not is_served(offer.address):
            return _import(settings, chosen, Path(offer.address))
        file = parts / offer.file_name
        download(offer.address, file, most_bytes=limit, sha256=offer.sha256, told=told)
        return _import(settings, chosen, file)


@contextmanager
def _parts(added: Path, address: str) -> Iterator[Path]:
    """The folder of a download. What is in it is kept for the next try only if that can succeed."""
    folder = added / _PARTS / hashlib.sha256(address.encode()).hexdigest()[:16]
    try:
        yield folder
    except CelldropError as error:
        if not error.retryable:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)


def _import(settings: Settings, chosen: _Chosen, file: Path) -> ModelCard:
    from jobs.modeling.bundles import write_bundle
    from jobs.modeling.importing import ImportedAs, import_foreign

    offer = chosen.offer
    files = {} if chosen.terms is None else {"ontology": chosen.terms.ontology, "terms": chosen.terms.terms}
    wanted = ImportedAs(offer.name, offer.version, offer.licence, offer.citation, batch=chosen.batch, **files)
    card, tensors = import_foreign(file, wanted)
    # As it was shown, and as it is found: a model may say less of itself than the catalogue says.
    titled = card.model_copy(update={"title": offer.title or card.title})
    return write_bundle(settings.added_models, titled, tensors)


def _publish(settings: Settings, chosen: _Chosen, weights: Path) -> ModelCard:
    """Check a bundle whole, and move it to its place."""
    from jobs.inference.task.models import load_model
    from jobs.modeling.bundles import incoming_bundle, publish_bundle

    offer, added = chosen.offer, settings.added_models
    with incoming_bundle(added) as incoming:
        if is_served(offer.address):
            os.replace(weights, incoming / WEIGHTS_NAME)  # noqa: PTH105  # as it is called everywhere
        else:
            _copy_weights(settings, offer.address, incoming / WEIGHTS_NAME)
        (incoming / CARD_NAME).write_bytes(chosen.card)
        card, _ = load_model(*as_bucket(incoming), offer.digest or None)
        if chosen.terms is not None:
            card = _with_terms(card, chosen, incoming)
        publish_bundle(incoming, added, card)
    return card


def _with_terms(card: ModelCard, chosen: _Chosen, incoming: Path) -> ModelCard:
    """Write the card of a bundle with terms in the place of its own. The weights stay as they are."""
    assert chosen.terms is not None
    made = add_terms(card, chosen.terms, chosen.offer.name, chosen.offer.version)
    digest = digest_of(card_bytes(made), sha256_of(incoming / WEIGHTS_NAME))
    complete = made.model_copy(update={"digest": digest})
    (incoming / CARD_NAME).write_bytes(card_bytes(complete))
    return complete


def _copy_weights(settings: Settings, address: str, path: Path) -> None:
    store, bucket, prefix = stored_at(settings, address)
    try:
        info = store.stat(bucket, prefix + WEIGHTS_NAME)
    except BlobNotFoundError as error:
        hint = "Upload the bundle again, both files of it."
        raise InvalidBundleError(f"a bundle without {WEIGHTS_NAME}", where=address, hint=hint) from error
    _check_size(settings, info.size_bytes, address)
    path.write_bytes(store.read(info.ref))
