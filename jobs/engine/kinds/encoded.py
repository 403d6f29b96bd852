"""The encoded kind: an encoder of expression, and the votes of the nearest reference cells, as in SCimilarity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from jobs.engine.kinds.dense import UNIT_BYTES, VALUE_BYTES, Layer, Network
from jobs.engine.kinds.kind import ModelKind, ScoringModule
from jobs.engine.kinds.neighbours import labels_of
from jobs.engine.kinds.rescaled import RESCALED_BYTES, FeatureTotals
from jobs.engine.kinds.tensors import LARGEST, Tensor, TensorTable, checked, invalid
from jobs.engine.neighbours import Nearest, NearestSearch
from shared.bundles.card import Log1p, ModelCard, NormaliseFeatures
from shared.bundles.kinds import EncodedCard

_FIRST = 1e-3
"""What the nearest neighbour adds to the votes of its label: less than a vote, and more than rounding."""
_SHORTEST = 1e-12
"""Below this length, coordinates are not scaled to length 1, as in PyTorch's ``normalize``."""
_VOTE_BYTES = 60
"""For each neighbour: its label, its place, and its vote."""
_LABEL_COLUMNS = 2
_COMPONENT_BYTES = 40
"""For each coordinate: its square, its size, and the coordinate of length 1."""


@dataclass(frozen=True, slots=True)
class EncodedWeights:
    """The parameters of an encoder and an index of encoded reference cells, on the CPU.

    Attributes:
        layers: Those of the encoder in order, float64; the first takes the features.
        reference_rc: The coordinates of the reference cells, of length 1, float32.
        label_r: The position of each reference cell's label, int32.
        n_labels: Number of labels.
        k: Number of neighbours that vote.
        target_sum: The total that the counts of a cell's features are scaled to.
    """

    layers: tuple[Layer, ...]
    reference_rc: torch.Tensor
    label_r: torch.Tensor
    n_labels: int
    k: int
    target_sum: float

    def module(self, matched_f: torch.Tensor) -> ScoringModule:
        """See ``KindWeights``."""
        return EncodedModel(self, matched_f)

    def importance_f(self) -> None:
        """Not known: a network's scores are no weighted sums."""


class Encoder(torch.nn.Module):
    """The coordinates of a cell: the output of dense layers with PReLU, scaled to length 1; NaN if it is huge.

    In float64. The layers take log1p of the counts of the features, scaled to their own total. A feature that the file
    lacks counts as not expressed (Heimberg et al., Nature 2025, doi:10.1038/s41586-024-08411-y;
    ``scimilarity.nn_models.Encoder``).
    """

    cell_bytes: int

    def __init__(self, weights: EncodedWeights) -> None:
        super().__init__()
        self._totals = FeatureTotals(weights.layers[0].weight_oi.shape[1], weights.target_sum)
        self._network = Network(weights.layers)
        self.cell_bytes = self._network.cell_bytes

    def forward(self, expression_z: torch.Tensor, feature_z: torch.Tensor, indptr: torch.Tensor) -> torch.Tensor:
        """The coordinates of n cells, n x components; the arguments are those of ``ScoringModule``."""
        value_z = self._totals(expression_z, feature_z, indptr).double()
        output_nc: torch.Tensor = self._network(value_z, feature_z, indptr)
        output_nc = output_nc.where(output_nc.abs() <= LARGEST, torch.nan)
        length_n1 = output_nc.square().sum(dim=1, keepdim=True).sqrt_()
        return output_nc / length_n1.clamp_(min=_SHORTEST)


class EncodedModel(ScoringModule):
    """Decision scores ``y_l = ln((v_l + 1 / L) / (k + 1))``, where ``v_l`` are the votes for label l of L.

    The k nearest reference cells, by the angle between coordinates, have one vote each. Of labels with as many votes,
    the one with the nearest neighbour is the first, as in SCimilarity's ``CellAnnotation.get_predictions_knn``: the
    nearest neighbour of each label adds 0.001 or less, the less the further down it is. To the votes is added one
    neighbour that is of all labels in equal parts, as for the neighbours kind.

    A cell with coordinates beyond all sense gets no score, NaN, so the bundle is refused.
    """

    label_r: torch.Tensor

    def __init__(self, weights: EncodedWeights, matched_f: torch.Tensor) -> None:
        super().__init__()
        assert weights.layers[0].weight_oi.shape[1] == len(matched_f)
        self.target_sum = weights.target_sum
        self.arithmetic = torch.float64
        self.value_bytes = VALUE_BYTES + RESCALED_BYTES
        self._encoder = Encoder(weights)
        self._search = NearestSearch(weights.reference_rc, weights.k)
        self._n_labels = weights.n_labels
        self.register_buffer("label_r", weights.label_r.long())
        cell_bytes = self._encoder.cell_bytes + self._search.cell_bytes + _VOTE_BYTES * weights.k
        cell_bytes += _COMPONENT_BYTES * weights.reference_rc.shape[1]
        self.width = _LABEL_COLUMNS * weights.n_labels + -(-cell_bytes // UNIT_BYTES)

    def forward(self, expression_z: torch.Tensor, feature_z: torch.Tensor, indptr: torch.Tensor) -> torch.Tensor:
        """See ``ScoringModule``."""
        place_nc = self._encoder(expression_z, feature_z, indptr)
        usable_n = place_nc.isfinite().all(dim=1)
        self._search.alive = self.alive
        nearest: Nearest = self._search(place_nc.where(usable_n[:, None], 0.0))
        vote_nl = self._votes(self.label_r[nearest.place_nk])
        score_nl = vote_nl.add_(1 / self._n_labels).div_(self._search.k + 1).log_()
        return score_nl.where(usable_n[:, None], torch.nan)

    def _votes(self, label_nk: torch.Tensor) -> torch.Tensor:
        n_cells, k = label_nk.shape
        # Sums of ones are exact in any order, and so is a minimum.
        none_nl = label_nk.new_zeros((n_cells, self._n_labels), dtype=torch.float64)
        vote_nl = none_nl.scatter_add_(1, label_nk, torch.ones_like(label_nk, dtype=torch.float64))
        rank_nk = torch.arange(k, dtype=torch.float64, device=label_nk.device).expand(n_cells, k)
        first_nl = torch.full_like(vote_nl, k).scatter_reduce_(1, label_nk, rank_nk, "amin")
        return vote_nl.add_(first_nl.sub_(k), alpha=-_FIRST / k)


class Encoded(ModelKind):
    """An encoder and the nearest cells of a reference: imported from SCimilarity."""

    tensors: TensorTable = {  # noqa: RUF012  # a Mapping: nobody writes to it
        "encoder_input": Tensor(("hidden", "features"), "weights of log1p expression in the first hidden layer"),
        "encoder_hidden": Tensor(("later layers", "hidden", "hidden"), "weights of the other hidden layers"),
        "encoder_bias": Tensor(("layers", "hidden"), "added in each of the hidden layers"),
        "encoder_slope": Tensor(("layers",), "what values below 0 are multiplied with after each hidden layer"),
        "latent": Tensor(("components", "hidden"), "weights of the last hidden layer in a cell's coordinates"),
        "latent_bias": Tensor(("components",), "added to the coordinates, before these are scaled to length 1"),
        "reference": Tensor(("cells", "components"), "the coordinates of the reference cells, of length 1", large=True),
        "reference_label": Tensor(
            ("cells",), "the position of each reference cell's label, a whole number", large=True
        ),
    }

    def weights(self, card: ModelCard, tensors: Mapping[str, torch.Tensor], *, where: str = "") -> EncodedWeights:
        """See ``ModelKind``."""
        own = _own(card, where)
        match card.preprocessing:
            case (NormaliseFeatures(target_sum=target_sum), Log1p()):
                pass
            case _:
                steps = " → ".join(step.step for step in card.preprocessing) or "none"
                raise invalid(f"preprocessing {steps}", "normalise_features → log1p for an encoded model", where)
        found = checked(self.tensors, _sizes(own), tensors, where=where)
        matrices = [found["encoder_input"], *found["encoder_hidden"]]
        rows = zip(matrices, found["encoder_bias"], found["encoder_slope"].tolist(), strict=True)
        hidden = [Layer(weight_oi, bias_o, hidden=True, slope=slope) for weight_oi, bias_o, slope in rows]
        return EncodedWeights(
            layers=(*hidden, Layer(found["latent"], found["latent_bias"])),
            reference_rc=found["reference"].float(),
            label_r=labels_of(found["reference_label"], len(card.labels), where),
            n_labels=len(card.labels),
            k=own.k,
            target_sum=target_sum,
        )

    def flops_per_cell(self, card: ModelCard) -> float:
        """A multiplication and an addition per weight, and the products with the reference."""
        own = _own(card, card.reference)
        first, later = len(card.features) * own.n_hidden, (own.n_encoder_layers - 1) * own.n_hidden**2
        return 2.0 * (first + later + own.n_components * (own.n_hidden + own.n_reference))


def _sizes(card: EncodedCard) -> dict[str, int]:
    return {
        "features": len(card.features),
        "hidden": card.n_hidden,
        "layers": card.n_encoder_layers,
        "later layers": card.n_encoder_layers - 1,
        "components": card.n_components,
        "cells": card.n_reference,
    }


def _own(card: ModelCard, where: str) -> EncodedCard:
    if not isinstance(card, EncodedCard):
        raise invalid(f"a card of kind {card.kind}", "a card of kind encoded", where)
    return card
