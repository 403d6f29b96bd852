"""The settings of a training run. Their defaults were chosen by cross-validation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from jobs.modeling.labelled import LabelledCells
from shared.bundles.card import Features, Kind
from shared.bundles.groups import Group
from shared.bundles.terms import Term


class ClassWeights(StrEnum):
    """How cells are weighted in the fit."""

    BALANCED = "balanced"
    """Every label has the same total weight."""
    NONE = "none"
    """Every cell has the same weight, so that frequent labels are preferred."""


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """All settings of a training run. The same settings, data and machine give the same bytes.

    Attributes:
        name: The bundle's name, as ``version`` is its version. These and ``title``, ``description``, ``licence`` and
            ``citation`` go on its card.
        specimens: Values for the fields of the card's training record that say what the cells are from, where the
            files do not say it, or not right.
        kind: The kind of model to train.
        features_from: Use only genes that are in this table too; None uses all genes.
        features_source: The name of that table, for the card.
        n_genes: The largest number of genes; those with the largest F over the labels are used.
        prior_power: Linear only. The prior standard deviation of a gene's weights is proportional to
            max(F - 1, 0.05) ** prior_power, so that informative genes may have larger weights. With 1/2, the prior
            variance is proportional to the estimated signal between labels, as in empirical Bayes; 0 is a plain ridge.
        strengths: Linear only. The ridge penalties that cross-validation chooses from.
        components: Centroid only. The numbers of principal components that cross-validation chooses from.
        neighbours: Neighbours only. The numbers of neighbours that cross-validation chooses from.
        prefactor: Neighbours only. A neighbour at distance d votes with the weight exp(-prefactor · d / median d).
        thinned_to: Train on each cell a second time, with a random share of its counts between this and 1, so that the
            model also works on shallower data; None turns this off.
        held_out_share: The share of each label's cells that is held out for the metrics.
        refit_on_all: Whether the final weights are fitted to all cells, including held-out ones, with the settings
            that were measured without them.
        aligned_with: Cells of another data set, with labels of the same lineages or names. The model ignores by what
            these types differ between the data sets.
        tree: The labels' tree; empty learns from which score on labels and lineages are reliable, each for themselves.
        terms: The Cell Ontology terms of the labels and all that these are kinds of, for the card.
        ontology: The name of the file that the tree and the terms are from, for the card.
        max_cells: A larger number of cells is sampled down to this. It limits the memory to twice 8 bytes x max_cells
            x n_genes.
        max_abstained: The largest share of cells that the threshold may leave unassigned; 0 sets no threshold. A low
            score usually means that two related labels compete, not that the cell type is unknown, so a threshold
            discards correct labels too.
        false_alarm: The share of cells like the training cells that may be called unfamiliar.
        trained_at: A date for the card; None leaves it out of the bundle's bytes.
        command: The command that reproduces the training, for the card.
    """

    name: str
    version: str
    title: str = ""
    description: str = ""
    licence: str = ""
    citation: str = ""
    specimens: Mapping[str, Any] = field(default_factory=dict)
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
    neighbours: tuple[int, ...] = (15, 30, 60, 120)
    prefactor: float = 1.0
    thinned_to: float | None = 0.3
    class_weights: ClassWeights = ClassWeights.BALANCED
    n_folds: int = 3
    held_out_share: float = 0.2
    refit_on_all: bool = True
    max_iterations: int = 40
    aligned_with: LabelledCells | None = field(default=None, repr=False, compare=False)
    tree: tuple[Group, ...] = ()
    terms: tuple[Term, ...] = ()
    ontology: str = ""
    max_cells: int = 50_000
    max_abstained: float = 0.0
    false_alarm: float = 0.025
    trained_at: str | None = None
    command: str = ""
