"""The interface of a model kind for training: its candidates, a fit of each, and the fields of its card."""

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
        tensors: The tensors of its kind (``jobs.engine.kinds``), float32.
        own: The card's fields that only this model has.
    """

    features: Features
    tensors: Mapping[str, torch.Tensor]
    own: Mapping[str, Any] = field(default_factory=dict)


class Recipe(Protocol):
    """How one kind of model is trained; ``jobs.modeling.kinds.table`` lists all recipes.

    Cross-validation chooses one number from the candidates, such as a ridge penalty or a number of components.

    Attributes:
        candidate: The name of that number, in one word, among the parameters on the card.
    """

    candidate: str

    def candidates(self, settings: TrainingSettings) -> Sequence[float]:
        """The candidates, the simplest model first: of equally good ones, the first is chosen."""
        ...

    def path(self, settings: TrainingSettings, chosen: float) -> Sequence[float]:
        """The candidates to fit, in order, to reach the chosen one as in cross-validation. The chosen one is last."""
        ...

    def steps(self, settings: TrainingSettings) -> int:
        """An upper bound on the calls of ``on_step`` for all candidates."""
        ...

    def learn(
        self,
        cells: LabelledCells,
        settings: TrainingSettings,
        candidates: Sequence[float],
        on_step: Callable[[], None],
    ) -> Iterator[tuple[float, Weights]]:
        """Fit the cells with each candidate, in order. Only these cells may be used.

        Raises:
            TrainingDataError: No gene is left to learn from.
        """
        ...

    def parameters(self, settings: TrainingSettings) -> Mapping[str, Any]:
        """Further settings that reproduce the fit, for the card."""
        ...
