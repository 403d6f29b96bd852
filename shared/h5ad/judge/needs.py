"""What a model asks of a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.domain.verdict import Species
from shared.h5ad.names.matching import FeatureTable


@dataclass(frozen=True, slots=True)
class ModelNeeds:
    """What a model asks of a file.

    Attributes:
        min_overlap: Share of the features below which a file is refused.
        weight_per_feature: Absolute weight that each feature carries over all labels, where known.
        reference: ``NAME@VERSION``, for messages.
    """

    features: FeatureTable
    species: Species
    min_overlap: float
    weight_per_feature: Sequence[float] | None = None
    reference: str = "the model"

    @property
    def n_features(self) -> int:
        """Features of the model."""
        return len(self.features.symbol) or len(self.features.ensembl)
