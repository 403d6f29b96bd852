"""What a training run may be told, with defaults that were chosen by cross-validation."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from shared.bundles.card import Features, Kind


class ClassWeights(StrEnum):
    """What a label's number of cells means for the fit."""

    BALANCED = "balanced"
    """Every label weighs the same."""
    NONE = "none"
    """Every cell weighs the same; frequent labels are preferred, as they are in the data."""


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """Everything that decides the result; the same settings, data and machine give the same bytes.

    Attributes:
        name: Of the bundle, with ``version``; ``title``, ``description``, ``licence`` and ``citation`` go on its card.
        kind: What is trained: its mathematics.
        features_from: Use only genes that are in this table too; None takes all.
        features_source: What the card says of it.
        n_genes: At most so many genes, those with the largest F over the labels.
        prior_power: Linear: how much more weight an informative gene may carry: the standard deviation of the prior of
            its weights is proportional to max(F - 1, 0.05) ** prior_power. At 1/2 the prior's variance is proportional
            to the estimated signal between labels, as empirical Bayes has it; 0 treats all genes alike, as plain ridge.
        strengths: Linear: ridge penalties to choose from by cross-validation.
        components: Centroid: numbers of principal components to choose from likewise.
        thinned_to: Each cell is trained on a second time with a share of its counts, drawn from this to 1, so that the
            model holds on shallower data; None leaves that out.
        held_out_share: Of each label's cells, kept aside for the metrics.
        refit_on_all: Whether the final weights are fitted to all cells, held-out ones included, with the settings
            that were measured without them.
        max_cells: More cells than this are sampled. It bounds the memory at 8 bytes x max_cells x n_genes, and that
            again while it is prepared.
        max_abstained: Share of the cells that the threshold may make abstain; 0 sets no threshold. A low score mostly
            means that two kindred labels compete, not that the cell is of no known kind: abstaining loses what is sure.
        trained_at: Date for the card; None keeps the bundle's bytes free of it.
        command: What would repeat this, for the card.
    """

    name: str
    version: str
    title: str = ""
    description: str = ""
    licence: str = ""
    citation: str = ""
    kind: Kind = Kind.LINEAR
    features_from: Features | None = None
    features_source: str = ""
    seed: int = 0
    n_genes: int = 3_000
    min_cells_per_gene: int = 10
    min_cells_per_label: int = 20
    prior_power: float = 0.5
    strengths: tuple[float, ...] = (1.0, 0.3, 0.1, 0.03)
    components: tuple[int, ...] = (10, 20, 50, 100)
    thinned_to: float | None = 0.3
    class_weights: ClassWeights = ClassWeights.BALANCED
    n_folds: int = 3
    held_out_share: float = 0.2
    refit_on_all: bool = True
    max_iterations: int = 40
    max_cells: int = 50_000
    max_abstained: float = 0.0
    trained_at: str | None = None
    command: str = ""
