"""Models that a catalogue offers: reads CellTypist's index and our own, which may be hostile, and finds what fits."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from jobs.modeling.addresses import absolute
from jobs.modeling.foreign_files import CHECKPOINT, SAVED, called
from shared.bundles.card import NAME_PATTERN, VERSION_PATTERN, ModelCard
from shared.domain.errors import ModelDownloadError
from shared.domain.verdict import Species
from shared.domain.words import cut, listed
from shared.faults import first_fault

MAX_INDEX_BYTES = 4 * 2**20
"""CellTypist's index of some 60 models has 0.03 MB."""
PICKLE = ".pkl"
_MOST_TISSUES = 5
_MOST_MODELS = 5_000
_LETTERS = 1_000
_SPECIES_WORDS = {
    **dict.fromkeys(("human", "homo", "homo_sapiens"), Species.HUMAN),
    **dict.fromkeys(("mouse", "mice", "murine", "mus", "mus_musculus"), Species.MOUSE),
}


_SHORT = {"pbmc": "blood: peripheral blood mononuclear cells"}
"""What else a word says of a model's tissue."""


class Form(StrEnum):
    """What lies at the address of an offer."""

    CELLTYPIST = "celltypist"
    """A pickle of CellTypist, to be imported."""
    SCANVI = "scanvi"
    """A scANVI model that scvi-tools saved, to be imported."""
    CELLARIUM = "cellarium"
    """A checkpoint of cellarium-ml, to be imported."""
    SCIMILARITY = "scimilarity"
    """The folder of a SCimilarity model, to be imported."""
    BUNDLE = "bundle"
    """A folder with the two files of a bundle."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A model that can be added, or one that is installed.

    Attributes:
        address: Where it is: an https address, ``gs://BUCKET/PREFIX/`` or a path.
        catalogue: The catalogue that offers it; empty if it is installed, or was named by its address.
        n_labels: The number of labels; None if it is not known.
        labels: Their names, where they are known.
        file_name: Of a file to import, else empty.
        digest: Of a bundle, if the catalogue gives it.
        sha256: Of the file, if the catalogue gives it.
    """

    name: str
    version: str
    form: Form
    address: str
    catalogue: str = ""
    title: str = ""
    species: Species = Species.UNKNOWN
    tissue: str = ""
    n_labels: int | None = None
    labels: tuple[str, ...] = ()
    licence: str = ""
    citation: str = ""
    file_name: str = ""
    digest: str = ""
    sha256: str = ""
    size_bytes: int | None = None

    @property
    def reference(self) -> str:
        """``NAME@VERSION``."""
        return f"{self.name}@{self.version}"

    def is_called(self, reference: str) -> bool:
        """Whether a user means this offer: by name, ``NAME@VERSION``, or the file's name with or without its ending."""
        return reference in {self.name, self.reference} or (
            bool(self.file_name) and reference in {self.file_name, self.file_name.removesuffix(PICKLE)}
        )

    def fits(self, words: Sequence[str], species: Species | None = None, tissue: str = "") -> bool:
        """Whether it has all words, and may be of that species and tissue. An unknown species may be any."""
        about = [self.reference, self.title, self.citation, self.tissue, self.file_name, *self.labels]
        text = " ".join(about).casefold()
        text += "".join(f" {meant}" for short, meant in _SHORT.items() if short in text)
        if species not in {None, self.species} and self.species is not Species.UNKNOWN:
            return False
        return all(word.casefold() in text for word in [*words, tissue])


@dataclass(frozen=True, slots=True)
class Index:
    """What an index offers, and why some of its models were left out."""

    offers: tuple[Offer, ...]
    left_out: tuple[str, ...] = ()


def parse_index(data: bytes, address: str) -> Index:
    """Parse an index of either form. An entry that is wrong is left out with a reason.

    Args:
        address: The address that the index came from. Relative addresses in it start there.

    Raises:
        ModelDownloadError: The whole is no index.
    """
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _no_index("something that is not JSON", address) from error
    if not isinstance(found, dict) or not isinstance(found.get("models"), list):
        raise _no_index("JSON without a list of models", address)
    if len(found["models"]) > _MOST_MODELS:
        raise _no_index(f"{len(found['models']):,} models, more than {_MOST_MODELS:,}", address)
    if found.get("format", 1) != 1:
        raise _no_index("an index of another format than 1", address)
    entry = _OwnEntry if "format" in found else _CellTypistEntry
    offers, left_out = list[Offer](), list[str]()
    for place, fields in enumerate(found["models"]):
        try:
            offers.append(entry.model_validate(fields).offer(address))
        except ValidationError as error:
            left_out.append(f"model {place + 1}: {cut(str(first_fault(error)), 200)}")
        except ValueError as error:
            left_out.append(f"model {place + 1}: {cut(str(error), 200)}")
    return Index(tuple(offers), tuple(left_out))


def offer_of_card(card: ModelCard, address: str, catalogue: str = "") -> Offer:
    """The offer of a bundle whose card is known."""
    return Offer(
        name=card.name,
        version=card.version,
        form=Form.BUNDLE,
        address=address,
        catalogue=catalogue,
        title=card.title,
        species=card.species,
        tissue=listed(card.training.tissues, most=_MOST_TISSUES) if card.training.tissues else "",
        n_labels=len(card.labels),
        labels=tuple(label.name for label in card.labels),
        licence=card.licence,
        citation=card.citation,
        digest=card.digest,
        size_bytes=card.weights_bytes or None,
    )


def offer_of_pickle(file_name: str, address: str) -> Offer:
    """The offer of a pickle of which nothing is known but its name."""
    return Offer(
        name=_name_of(file_name), version="1", form=Form.CELLTYPIST, address=address, file_name=_safe(file_name)
    )


def offer_of_saved(folder: str, file_name: str, address: str) -> Offer:
    """The offer of a scANVI model of which nothing is known but the names of its file and of the folder."""
    name = _name_of(called(folder, file_name))
    return Offer(
        name=name,
        version="1",
        form=Form.SCANVI,
        address=address,
        title=f"scANVI model {called(folder, file_name)}",
        file_name=f"{name}-{SAVED}",
    )


def offer_of_checkpoint(file_name: str, address: str) -> Offer:
    """The offer of a checkpoint of which nothing is known but the name of its file."""
    stem = called("", file_name)
    return Offer(
        name=_name_of(stem),
        version="1",
        form=Form.CELLARIUM,
        address=address,
        title=f"cellarium-ml model {stem}",
        file_name=f"{_name_of(stem)}{CHECKPOINT}",
    )


def offer_of_folder(folder: str, address: str) -> Offer:
    """The offer of a SCimilarity model of which nothing is known but the name of its folder."""
    return Offer(
        name=_name_of(folder),
        version="1",
        form=Form.SCIMILARITY,
        address=address,
        title=f"SCimilarity model {folder}",
    )


def species_named(word: str) -> Species | None:
    """The species that a user names, in any of the usual ways."""
    return _SPECIES_WORDS.get(word.strip().lower().replace(" ", "_"))


def species_words() -> str:
    """The names that ``species_named`` knows, for a message."""
    return listed(sorted(_SPECIES_WORDS), most=len(_SPECIES_WORDS))


# --- Entries of an index --------------------------------------------------------------------------------------------


def _plain(value: object) -> object:
    """A text or a number as text on one line, without control characters."""
    if value is None:
        return ""
    return cut(str(value), _LETTERS) if isinstance(value, str | int | float) else value


def _count(value: object) -> object:
    """A number of labels. CellTypist's index has it as text; what is none is not known."""
    text = str(value)[:10] if isinstance(value, str | int) else ""
    return int(text) if text.isascii() and text.isdecimal() else None


def _known_species(value: object) -> object:
    return species_named(value) or Species.UNKNOWN if isinstance(value, str) else Species.UNKNOWN


def _file_name(text: str) -> str:
    if not text.lower().endswith(PICKLE) or "/" in text or "\\" in text or not text.isprintable():
        msg = f"expected the name of a {PICKLE} file"
        raise ValueError(msg)
    return text


_Text = Annotated[str, BeforeValidator(_plain)]
_Address = Annotated[str, Field(min_length=1, max_length=2_000)]
_Sha256 = Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _CellTypistEntry(_Entry):
    """A model in CellTypist's index (``models.json``), as ``celltypist.models`` reads it."""

    filename: Annotated[str, Field(max_length=200), AfterValidator(_file_name)]
    url: _Address
    version: _Text = ""
    details: _Text = ""
    source: _Text = ""
    n_labels: Annotated[int | None, BeforeValidator(_count)] = Field(None, alias="No_celltypes")
    sha256: _Sha256 = ""

    def offer(self, index: str) -> Offer:
        """What it offers.

        Raises:
            ValueError: Its address cannot be used.
        """
        return Offer(
            name=_name_of(self.filename),
            version=_version_of(self.version),
            form=Form.CELLTYPIST,
            address=absolute(self.url, index),
            catalogue=index,
            title=self.details,
            species=_species_in(self.details, self.filename),
            n_labels=self.n_labels,
            citation=self.source,
            file_name=_safe(self.filename),
            sha256=self.sha256,
        )


class _OwnEntry(_Entry):
    """A model in our own index (``index.json``)."""

    name: str = Field(pattern=NAME_PATTERN)
    version: str = Field(pattern=VERSION_PATTERN)
    url: _Address
    title: _Text = ""
    species: Annotated[Species, BeforeValidator(_known_species)] = Species.UNKNOWN
    tissue: _Text = ""
    n_labels: Annotated[int | None, BeforeValidator(_count)] = Field(None, alias="labels")
    licence: _Text = ""
    citation: _Text = ""
    digest: _Sha256 = ""
    size_bytes: Annotated[int | None, Field(ge=0, le=10**12)] = None

    def offer(self, index: str) -> Offer:
        """What it offers.

        Raises:
            ValueError: Its address cannot be used.
        """
        if {"?", "#"} & set(self.url):
            msg = "url: expected the address of a folder, without a query"
            raise ValueError(msg)
        about: dict[str, Any] = self.model_dump(exclude={"url"})
        address = absolute(f"{self.url.rstrip('/')}/", index)
        return Offer(**about, form=Form.BUNDLE, address=address, catalogue=index)


def _name_of(file_name: str) -> str:
    stem = file_name[: -len(PICKLE)] if file_name.lower().endswith(PICKLE) else file_name
    name = re.sub(r"[^a-z0-9.]+", "-", stem.lower()).strip("-.")[:64]
    if not name:
        msg = f"filename: no name of a model can be made of {file_name[:40]!r}"
        raise ValueError(msg)
    return name


def _version_of(text: str) -> str:
    return re.sub(r"[^0-9A-Za-z.+_-]+", "-", text).strip("-._+")[:32] or "1"


def _safe(file_name: str) -> str:
    """A file name that any file system takes, and that is not hidden."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", file_name).lstrip(".")[-200:] or f"model{PICKLE}"


def _species_in(*texts: str) -> Species:
    words = set(re.findall(r"[a-z]+", " ".join(texts).lower()))
    named = {species for word, species in _SPECIES_WORDS.items() if word in words}
    return named.pop() if len(named) == 1 else Species.UNKNOWN


def _no_index(found: str, address: str) -> ModelDownloadError:
    return ModelDownloadError(
        f"an index of models was expected, and {found} was found",
        expected='JSON with "models", as CellTypist publishes it or as docs/how-to/get-a-model.md says',
        where=address,
        hint="Correct the setting CELLDROP_CATALOGUES.",
    )
