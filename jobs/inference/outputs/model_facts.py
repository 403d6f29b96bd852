"""What the manifest says of a model."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from shared.bundles.card import ModelCard
from shared.domain.submission import ModelRef


class ManifestPart(BaseModel):
    """A part of the manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ModelFacts(ManifestPart):
    """The bundle that annotated it."""

    name: str
    version: str
    digest: str
    title: str
    licence: str
    citation: str
    n_labels: int
    n_features: int


def model_facts(card: ModelCard, ref: ModelRef) -> ModelFacts:
    """Describe the pinned model, with the facts of its card."""
    return ModelFacts(
        name=ref.name,
        version=ref.version,
        digest=ref.digest,
        title=card.title,
        licence=card.licence,
        citation=card.citation,
        n_labels=len(card.labels),
        n_features=len(card.features),
    )
