"""What a model kind is to training: candidates to choose from, a fit of each, and the fields of its card."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from jobs.modeling.labelled import LabelledCells
from jobs.modeling.settings import TrainingSettings
from shared.bundles.card import Features


@dataclass(frozen=True, slots=True)
class Weights:
    """A trained model.

    Attributes:
        tensors: Those of its kind (``jobs.engine.kinds``), float32.
        own: The fields of the card that only this kind has.
    """

    features: Features
    tensors: Mapping[str, torch.Tensor]
    own: Mapping[str, float] = field(default_factory=dict)


class Recipe(Protocol):
    """How bundles of one kind are trained; ``jobs.modeling.kinds.table`` lists them all.

    Cross-validation chooses one number, the candidate: a ridge penalty, a number of components.

    Attributes:
        candidate: What a candidate is, in one word: its name among the parameters on the card.
    """

    candidate: str

    def candidates(self, settings: TrainingSettings) -> Sequence[float]:
        """Those to choose from, the simplest model first: of two that are equally good, the first is taken."""
        ...

    def path(self, settings: TrainingSettings, chosen: float) -> Sequence[float]:
        """The candidates to go through to reach the chosen one as in cross-validation; it is the last."""
        ...

    def steps(self, settings: TrainingSettings) -> int:
        """At most so many calls of ``on_step`` for all candidates."""
        ...

    def learn(
        self,
        cells: LabelledCells,
        settings: TrainingSettings,
        candidates: Sequence[float],
        on_step: Callable[[], None],
    ) -> Iterator[tuple[float, Weights]]:
        """Fit the cells with each candidate, in order; of other cells nothing is known.

        Raises:
            TrainingDataError: No gene is left to learn from.
        """
        ...

    def parameters(self, settings: TrainingSettings) -> Mapping[str, Any]:
        """What else would repeat the fit, for the card."""
        ...
