"""The model bundle: a card (``model.json``) and weights (``weights.safetensors``), data only."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from shared.domain.errors import InvalidBundleError
from shared.domain.plan import CostHints
from shared.domain.verdict import Species
from shared.faults import first_fault

CARD_NAME = "model.json"
WEIGHTS_NAME = "weights.safetensors"
FORMAT = 1


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Kind(StrEnum):
    """The mathematics of a bundle."""

    LINEAR = "linear"


class Activation(StrEnum):
    """How decision scores become probabilities."""

    SIGMOID = "sigmoid"
    """Each label for itself (one against the rest, as CellTypist)."""
    SOFTMAX = "softmax"


class Features(_Frozen):
    """The ordered feature table; column ``i`` of the weights is feature ``i``.

    Attributes:
        symbol: Gene symbols, None where unknown; or empty when no symbol is known.
        ensembl: Ensembl ids without version, None where unknown; or empty when none is known.
    """

    symbol: tuple[str | None, ...] = ()
    ensembl: tuple[str | None, ...] = ()

    @model_validator(mode="after")
    def _columns_agree(self) -> Features:
        lengths = {len(column) for column in (self.symbol, self.ensembl) if column}
        if len(lengths) != 1:
            msg = f"symbol and ensembl must have one length above 0, found {sorted(lengths)}"
            raise ValueError(msg)
        return self

    def __len__(self) -> int:
        return len(self.symbol) or len(self.ensembl)


class Normalise(_Frozen):
    """Scale each cell's counts, over all genes of the file, to ``target_sum``."""

    step: Literal["normalise"] = "normalise"
    target_sum: float = Field(default=1e4, ge=1, le=1e9)


class Log1p(_Frozen):
    """Natural logarithm of one plus the value."""

    step: Literal["log1p"] = "log1p"


class Standardise(_Frozen):
    """(x - mean) / std with the weights' ``mean`` and ``std``, then at most ``clip_max``; None does not clip."""

    step: Literal["standardise"] = "standardise"
    clip_max: float | None = Field(default=10.0, ge=1e-3, le=1e6)


Step = Annotated[Normalise | Log1p | Standardise, Field(discriminator="step")]


class Label(_Frozen):
    """One class.

    Attributes:
        ontology_id: Cell Ontology id (``CL:0000084``) where known.
        lineage: Coarser name that several labels share, where known.
    """

    name: str
    ontology_id: str | None = Field(default=None, pattern=r"^CL:\d{7}$")
    lineage: str | None = None


class Training(_Frozen):
    """Where the weights come from.

    Attributes:
        method: ``imported from CellTypist``, ``celldrop models train`` …
        source: File name or citation of the data, with its sha256 where known.
        parameters: What would repeat it.
        metrics: Measured on cells the weights never saw.
    """

    method: str
    source: str = ""
    source_sha256: str | None = None
    trained_at: str | None = None
    n_cells: int | None = None
    parameters: dict[str, str | int | float | bool | None] = {}
    metrics: dict[str, float] = {}
    per_label: dict[str, dict[str, float]] = {}


class ModelCard(_Frozen):
    """``model.json``. Loading it, or the weights beside it, never runs code.

    Attributes:
        digest: sha256 over the card without this field and over the weights' bytes; see ``digest_of``.
        min_score: A cell whose best probability is below abstains; None never abstains.
        temperature: Decision scores are divided by it before the activation (calibration).
        default_overlap: Share of the features below which a file is refused.
    """

    format: Literal[1] = 1
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    version: str = Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z.+_-]{0,31}$")
    digest: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    title: str = ""
    description: str = ""
    licence: str = ""
    citation: str = ""
    species: Species = Species.HUMAN
    kind: Kind = Kind.LINEAR
    features: Features
    preprocessing: tuple[Step, ...]
    labels: tuple[Label, ...] = Field(min_length=2)
    activation: Activation = Activation.SIGMOID
    temperature: float = Field(default=1.0, ge=1e-3, le=1e6)
    min_score: float | None = Field(default=None, ge=0, le=1)
    default_overlap: float = Field(default=0.1, ge=0, le=1)
    training: Training
    flops_per_cell: float = Field(default=0.0, ge=0, le=1e15)
    weights_bytes: int = Field(default=0, ge=0, le=10**12)
    needs_gpu: bool = False

    @model_validator(mode="after")
    def _labels_differ(self) -> ModelCard:
        repeated = [name for name, count in Counter(label.name for label in self.labels).items() if count > 1]
        if repeated:
            msg = f"each label must occur once, found {repeated[0]!r} again"
            raise ValueError(msg)
        return self

    @property
    def cost(self) -> CostHints:
        """What the planner needs to know."""
        return CostHints(self.flops_per_cell, self.weights_bytes, self.needs_gpu)

    @property
    def reference(self) -> str:
        """``NAME@VERSION``."""
        return f"{self.name}@{self.version}"


def parse_card(data: bytes, *, where: str) -> ModelCard:
    """Check a card's bytes.

    Raises:
        InvalidBundleError: Not a card of a format known here.
    """
    try:
        return ModelCard.model_validate_json(data)
    except ValidationError as error:
        fault = first_fault(error)
        found = f"{fault.found}: " if fault.found and fault.place else ""
        raise InvalidBundleError(
            f"{CARD_NAME} breaks the format at {fault.place or 'its top'}: {found}{fault.reason}",
            expected=f"a model card of format {FORMAT}",
            where=where,
            hint="Make the bundle again with `celldrop models import` or `celldrop models train`.",
        ) from error


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
    written_out = ModelCard.model_validate_json(card).model_dump(mode="json", include=_FIRST_FIELDS)
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
