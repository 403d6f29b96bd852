"""What can be added: reads the catalogues that the settings name, and finds the one model that a user means."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import assert_never
from urllib.parse import unquote, urlsplit

from cli.catalogue import as_bucket, installed_cards
from cli.files import bundle_folder
from jobs.modeling.addresses import absolute
from jobs.modeling.downloading import read_small
from jobs.modeling.foreign_files import CHECKPOINT, SUFFIXES, Program, model_in, program_of
from jobs.modeling.offers import (
    MAX_INDEX_BYTES,
    PICKLE,
    Form,
    Index,
    Offer,
    offer_of_card,
    offer_of_checkpoint,
    offer_of_folder,
    offer_of_pickle,
    offer_of_saved,
    parse_index,
)
from shared.bundles.card import CARD_NAME
from shared.bundles.catalogue import list_models, version_key
from shared.domain.errors import CelldropError, InvalidOptionError, ModelNotFoundError, SettingsError
from shared.domain.words import plural
from shared.ports.blobs import BlobStore
from shared.settings import Settings, listed
from shared.wiring.folders import directories
from shared.wiring.ports import CloudPorts

CLOUD = "gs://"
_SERVED = ("https://", "http://")


@dataclass(slots=True)
class Offered:
    """What the catalogues offer.

    Attributes:
        silent: Why a catalogue could not be read, by its address.
        left_out: Why models of a catalogue were left out.
    """

    offers: list[Offer] = field(default_factory=list)
    silent: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, tuple[str, ...]] = field(default_factory=dict)


def offered(settings: Settings) -> Offered:
    """Read every catalogue. One that cannot be read does not hide the others."""
    found = Offered()
    for address in listed(settings.catalogues):
        try:
            index = _read(settings, address)
        except CelldropError as error:
            found.silent[address] = error.message
        else:
            found.offers += index.offers
            if index.left_out:
                found.left_out[address] = index.left_out
    return found


def installed(settings: Settings) -> list[Offer]:
    """The models that are installed, as offers without a catalogue."""
    return [offer_of_card(card, str(folder)) for card, folder in installed_cards(settings)]


def find_installed(settings: Settings, name: str) -> Offer | None:
    """The newest installed model of a name, or NAME@VERSION; None if there is none."""
    return next(iter(_newest(offer for offer in installed(settings) if offer.is_called(name))), None)


def find_offer(settings: Settings, what: str) -> Offer:
    """The offer that a user means by a name, an address or a path. Of a bundle at an address, nothing else is known.

    Raises:
        ModelNotFoundError: There is no such model.
        InvalidOptionError: The address cannot be used, or several catalogues offer different models of that name.
    """
    if what.startswith(CLOUD):
        return _bundle_at(f"{what.rstrip('/')}/")
    if "://" in what:
        return _served(what)
    path = Path(what).expanduser()
    if path.is_file() and path.suffix.lower() == PICKLE:
        return _pickle(path.name, str(path))
    program = program_of(path) if path.exists() else None
    if program is not None:
        return _saved_by(program, path)
    bundle = bundle_folder(what)
    return _bundle_at(str(bundle.resolve())) if bundle is not None else _by_name(settings, what)


def _saved_by(program: Program, path: Path) -> Offer:
    match program:
        case Program.LIGHTNING:
            return _imported(offer_of_checkpoint, path.name, str(path))
        case Program.SCIMILARITY:
            folder = path if path.is_dir() else path.parent
            return _imported(offer_of_folder, folder.resolve().name, str(folder))
        case Program.SCVI:
            file = model_in(path)
            return _imported(offer_of_saved, file.resolve().parent.name, file.name, str(file))
        case _:
            assert_never(program)


def stored_at(settings: Settings, address: str) -> tuple[BlobStore, str, str]:
    """The store, bucket and prefix of a bundle that is in a folder or in Cloud Storage."""
    if not address.startswith(CLOUD):
        return as_bucket(Path(address))
    bucket, prefix = _cloud_place(address)
    return CloudPorts(settings).blobs, bucket, prefix


def is_served(address: str) -> bool:
    """Whether a model is downloaded from a web server."""
    return address.startswith(_SERVED)


def _read(settings: Settings, address: str) -> Index:
    if address.startswith(CLOUD):
        bucket, prefix = _cloud_place(address)
        return _listing(CloudPorts(settings).blobs, bucket, prefix, address, f"{CLOUD}{bucket}/{prefix}")
    if "://" in address:
        return parse_index(read_small(address, MAX_INDEX_BYTES), address)
    folder = Path(address).expanduser().resolve()
    if not folder.is_dir():
        raise SettingsError("there is no such folder", where=str(folder), hint="Correct CELLDROP_CATALOGUES.")
    return _listing(directories({address: folder}), address, "", address, f"{folder}/")


def _listing(store: BlobStore, bucket: str, prefix: str, catalogue: str, above: str) -> Index:
    cards = list_models(store, bucket, prefix)
    return Index(tuple(offer_of_card(card, f"{above}{card.name}/{card.version}/", catalogue) for card in cards))


def _cloud_place(address: str) -> tuple[str, str]:
    bucket, _, prefix = address.removeprefix(CLOUD).partition("/")
    return bucket, f"{prefix.rstrip('/')}/" if prefix.strip("/") else ""


def _bundle_at(address: str) -> Offer:
    return Offer(name="", version="", form=Form.BUNDLE, address=address)


def _served(address: str) -> Offer:
    try:
        whole = absolute(address)
    except ValueError as error:
        hint = (
            "Give the https address of a CellTypist .pkl, of scvi-tools' model.pt, of a cellarium-ml .ckpt, or of the "
            "folder of a bundle."
        )
        raise InvalidOptionError(str(error), where=address, hint=hint) from error
    *folders, last = unquote(urlsplit(whole).path).split("/")
    if last.lower().endswith(PICKLE):
        return _pickle(last, whole)
    if last.lower().endswith(CHECKPOINT):
        return _imported(offer_of_checkpoint, last, whole)
    if last.lower().endswith(SUFFIXES):
        return _imported(offer_of_saved, folders[-1] if folders else "", last, whole)
    return _bundle_at(f"{whole.removesuffix(CARD_NAME).rstrip('/')}/")


def _pickle(file_name: str, address: str) -> Offer:
    return _imported(offer_of_pickle, file_name, address)


def _imported(offer_of: Callable[..., Offer], *names: str) -> Offer:
    try:
        return offer_of(*names)
    except ValueError as error:
        raise InvalidOptionError(str(error), where=names[-1], hint="Rename the file.") from error


def _by_name(settings: Settings, name: str) -> Offer:
    found = offered(settings)
    meant = _newest(offer for offer in found.offers if offer.is_called(name))
    if not meant:
        raise _not_offered(name, found)
    if len({offer.digest or offer.address for offer in meant}) > 1:
        raise InvalidOptionError(
            f"{name} is offered {plural(len(meant), 'time')}: {', '.join(offer.address for offer in meant[:3])}",
            expected="one model",
            hint="Add the one that you want by its address instead of its name.",
        )
    return meant[0]


def _newest(offers: Iterable[Offer]) -> list[Offer]:
    """The newest version in each catalogue."""
    found: dict[str, list[Offer]] = {}
    for offer in offers:
        found.setdefault(offer.catalogue, []).append(offer)
    newest = list[Offer]()
    for several in found.values():
        latest = max(version_key(offer.version) for offer in several)
        newest += [offer for offer in several if version_key(offer.version) == latest]
    return newest


def _not_offered(name: str, found: Offered) -> ModelNotFoundError:
    known = {offer.name for offer in found.offers}
    close = difflib.get_close_matches(name.partition("@")[0].lower(), sorted(known), n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(close)}? " if close else ""
    hint += "`celldrop models search` shows what there is."
    if found.silent:
        hint += f" {plural(len(found.silent), 'catalogue')} could not be read: {', '.join(found.silent)}."
    return ModelNotFoundError(
        f"no catalogue offers {name!r}",
        expected=f"one of {plural(len(known), 'model')}, an https address, or a path" if known else "",
        hint=hint,
    )
