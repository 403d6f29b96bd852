"""How much better a model was than guessing, on cells held out of its training."""

from __future__ import annotations

from dataclasses import dataclass

from shared.bundles.card import ModelCard

LEAST_SKILL = 0.25
"""A model with less is weak: three quarters of what guessing gets wrong, it gets wrong too."""


@dataclass(frozen=True, slots=True)
class Skill:
    """A model's record on held-out cells.

    Attributes:
        balanced_accuracy: The mean recall of the labels.
        by_chance: The same for guesses: one part in as many as the model has labels.
    """

    balanced_accuracy: float
    by_chance: float

    @property
    def score(self) -> float:
        """The skill score: 1 if every label is right, 0 for guesses (Heidke 1926, for labels of equal weight)."""
        return (self.balanced_accuracy - self.by_chance) / (1 - self.by_chance)

    @property
    def is_weak(self) -> bool:
        """Whether the labels mean little."""
        return self.score < LEAST_SKILL


def skill_of(card: ModelCard) -> Skill | None:
    """What the card says; None if it has no record, as with most imported models."""
    measured = card.training.metrics.get("balanced_accuracy")
    return None if measured is None else Skill(measured, 1 / len(card.labels))
