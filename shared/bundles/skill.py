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


def weakness(card: ModelCard) -> str | None:
    """A sentence, without its full stop, on a model whose labels are mostly wrong; None for another."""
    skill = skill_of(card)
    if skill is None or not skill.is_weak:
        return None
    return (
        f"on cells held out of its training, {card.reference} gets few labels right: balanced accuracy "
        f"{skill.balanced_accuracy:.2f}, by guessing {skill.by_chance:.2f}"
    )
