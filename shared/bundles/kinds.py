"""The card of each model kind: its own fields, and what its scores mean. The field ``kind`` selects the card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias, assert_never

from pydantic import Discriminator, Field, Tag, TypeAdapter, model_validator

from shared.bundles.card import Activation, Kind, ModelCard

_AGAINST_ALL_OTHERS = (
    "A score is the model's probability of that label against all others, each label judged for itself: the "
    "scores of a cell need not add up to 1. It says how typical the cell is of the model's training data, "
    "not how likely the label is to be right."
)
_AMONG_ALL = (
    "A score is the model's probability of that label among all the labels it knows: the scores of a cell add up "
    "to 1. A cell of a kind that the model has never seen can still score high."
)


class LinearCard(ModelCard):
    """A linear model: logistic regression, trained here or imported from CellTypist."""

    kind: Literal[Kind.LINEAR] = Kind.LINEAR

    @property
    def meaning_of_score(self) -> str:
        """As the base says."""
        match self.activation:
            case Activation.SIGMOID:
                return _AGAINST_ALL_OTHERS
            case Activation.SOFTMAX:
                return _AMONG_ALL
            case _:
                assert_never(self.activation)


class CentroidCard(ModelCard):
    """A nearest-centroid model in the space of a PCA.

    Attributes:
        n_components: Number of principal components.
        spread: Root mean square distance of training cells from their label's centroid, per component.
    """

    kind: Literal[Kind.CENTROID] = Kind.CENTROID
    activation: Literal[Activation.SOFTMAX] = Activation.SOFTMAX
    n_components: int = Field(ge=1, le=1000)
    spread: float = Field(gt=1e-6, le=1e6)

    @property
    def meaning_of_score(self) -> str:
        """As the base says."""
        return (
            "A score is the model's probability of that label among all the labels it knows, by how far the cell is "
            "from the mean cell of each: the scores of a cell add up to 1. A cell that is far from all of them, as one "
            "of a kind that the model has never seen, can still score high."
        )


class NeighboursCard(ModelCard):
    """An index of reference cells, the nearest of which vote.

    Attributes:
        n_components: Number of coordinates of a cell.
        n_reference: Number of reference cells.
        k: Number of neighbours that vote.
        prefactor: A neighbour at distance d votes with the weight exp(-prefactor · d / median d).
    """

    kind: Literal[Kind.NEIGHBOURS] = Kind.NEIGHBOURS
    activation: Literal[Activation.SOFTMAX] = Activation.SOFTMAX
    n_components: int = Field(ge=1, le=1000)
    n_reference: int = Field(ge=1, le=10**8)
    k: int = Field(ge=1, le=1000)
    prefactor: float = Field(default=1.0, ge=0, le=100)

    @model_validator(mode="after")
    def _neighbours_exist(self) -> NeighboursCard:
        check_neighbours(self.k, self.n_reference)
        return self

    @property
    def meaning_of_score(self) -> str:
        """As the base says."""
        return (
            f"A score is the share of that label in the votes of the {self.k} reference cells that are most alike, "
            "calibrated: nearer ones count more, and the scores of a cell add up to 1. A cell that is unlike all "
            "reference cells, as one of a kind that the model has never seen, can still score high."
        )


class NeuralCard(ModelCard):
    """An encoder of a cell's counts and a classifier of its output, imported from scANVI.

    Attributes:
        n_hidden: Width of the encoder's hidden layers.
        n_encoder_layers: Number of these layers.
        n_latent: Number of coordinates of a cell, which the encoder gives and the classifier takes.
        n_classifier_layers: Number of the classifier's hidden layers; 0: it is linear.
        n_classifier_hidden: Their width.
        encoder_layer_norm: Whether the encoder's hidden layers are normalised over their units before the ReLU.
        classifier_layer_norm: The same for the classifier.
        batch: The batch of the training data that all cells are treated as, if the encoder depends on batches. Its
            weights are part of the biases.
    """

    kind: Literal[Kind.NEURAL] = Kind.NEURAL
    activation: Literal[Activation.SOFTMAX] = Activation.SOFTMAX
    n_hidden: int = Field(ge=1, le=10_000)
    n_encoder_layers: int = Field(ge=1, le=20)
    n_latent: int = Field(ge=1, le=1_000)
    n_classifier_layers: int = Field(ge=0, le=20)
    n_classifier_hidden: int = Field(default=0, ge=0, le=10_000)
    encoder_layer_norm: bool = False
    classifier_layer_norm: bool = False
    batch: str | None = None

    @model_validator(mode="after")
    def _hidden_layers_have_a_width(self) -> NeuralCard:
        if bool(self.n_classifier_layers) != bool(self.n_classifier_hidden):
            msg = (
                "n_classifier_layers and n_classifier_hidden must both be 0 or both above 0, "
                f"found {self.n_classifier_layers} and {self.n_classifier_hidden}"
            )
            raise ValueError(msg)
        return self

    @property
    def needs_counts(self) -> bool:
        """As the base says."""
        return True

    @property
    def meaning_of_score(self) -> str:
        """As the base says."""
        return (
            "A score is the model's probability of that label among all the labels it knows: the scores of a cell add "
            "up to 1. They are those of the neural network as it was trained, without calibration: they can be too "
            "close to 0 and 1. A cell of a kind that the model has never seen can still score high."
        )


class EncodedCard(ModelCard):
    """An encoder of expression and an index of encoded reference cells, imported from SCimilarity.

    Attributes:
        n_hidden: Width of the encoder's hidden layers.
        n_encoder_layers: Number of these layers.
        n_components: Number of coordinates of a cell.
        n_reference: Number of reference cells.
        k: Number of neighbours that vote.
    """

    kind: Literal[Kind.ENCODED] = Kind.ENCODED
    activation: Literal[Activation.SOFTMAX] = Activation.SOFTMAX
    n_hidden: int = Field(ge=1, le=10_000)
    n_encoder_layers: int = Field(ge=1, le=20)
    n_components: int = Field(ge=1, le=1000)
    n_reference: int = Field(ge=1, le=10**8)
    k: int = Field(ge=1, le=1000)

    @model_validator(mode="after")
    def _neighbours_exist(self) -> EncodedCard:
        check_neighbours(self.k, self.n_reference)
        return self

    @property
    def meaning_of_score(self) -> str:
        """As the base says."""
        return (
            f"A score is the share of that label among the {self.k} reference cells that are most alike; the scores of "
            "a cell add up to 1. It is not calibrated: it says how far these cells agree, not how likely the label is "
            "to be right. A cell that is unlike all reference cells, as one of a kind that the model has never seen, "
            "can still score high."
        )


def check_neighbours(k: int, n_reference: int) -> None:
    """Check that an index has as many cells as vote.

    Raises:
        ValueError: It has fewer.
    """
    if k > n_reference:
        msg = f"k must be at most the number of reference cells, found {k} of {n_reference}"
        raise ValueError(msg)


def _kind(card: object) -> str:
    """The kind that a card names. Cards from before there were kinds name none: they are linear."""
    named = card.get("kind", Kind.LINEAR) if isinstance(card, dict) else getattr(card, "kind", None)
    return str(named)


AnyCard: TypeAlias = Annotated[
    Annotated[LinearCard, Tag(Kind.LINEAR)]
    | Annotated[CentroidCard, Tag(Kind.CENTROID)]
    | Annotated[NeighboursCard, Tag(Kind.NEIGHBOURS)]
    | Annotated[NeuralCard, Tag(Kind.NEURAL)]
    | Annotated[EncodedCard, Tag(Kind.ENCODED)],
    Discriminator(
        _kind,
        custom_error_type="unknown_kind",
        custom_error_message=f"kind must be one of {', '.join(Kind)}",
    ),
]
"""A card of any kind. A new kind is added here."""

CARD_OF: Mapping[Kind, type[ModelCard]] = {
    Kind.LINEAR: LinearCard,
    Kind.CENTROID: CentroidCard,
    Kind.NEIGHBOURS: NeighboursCard,
    Kind.NEURAL: NeuralCard,
    Kind.ENCODED: EncodedCard,
}
CARDS: TypeAdapter[ModelCard] = TypeAdapter(AnyCard)
