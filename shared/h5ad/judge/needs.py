"""What a model asks of a file."""

from __future__ import annotations

from dataclasses import dataclass

from shared.domain.verdict import Species
from shared.h5ad.names.matching import FeatureTable


@dataclass(frozen=True, slots=True)
class ModelNeeds:
    """What a model asks of a file.

    Attributes:
        min_overlap: Share of the features below which a file is refused.
        reference: ``NAME@VERSION``, for messages.
        counts: Whether it computes from counts that are not scaled to a total.
        others: What the further models of a consensus ask of the same file.
        is_imported: Whether another program trained it, whose labels it gives.
        watched: Further genes that it looks for.
        orthologues: Whether its genes may be found as orthologues of another species'.
    """

    features: FeatureTable
    species: Species
    min_overlap: float
    reference: str = "the model"
    counts: bool = False
    others: tuple[ModelNeeds, ...] = ()
    orthologues: bool = False
    is_imported: bool = False
    watched: FeatureTable | None = None

    @property
    def n_features(self) -> int:
        """Features of the model."""
        return len(self.features.symbol) or len(self.features.ensembl)
