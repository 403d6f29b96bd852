"""The neural kind: an encoder of a cell's counts, and a classifier of its output, as in scANVI."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod

import torch

from jobs.engine.kinds.dense import UNIT_BYTES, VALUE_BYTES, Layer, Network
from jobs.engine.kinds.kind import ModelKind, ScoringModule
from jobs.engine.kinds.tensors import Tensor, TensorTable, checked, invalid
from shared.bundles.card import Log1p, ModelCard
from shared.bundles.kinds import NeuralCard


@dataclass(frozen=True, slots=True)
class NeuralWeights:
    """The parameters of a neural model: its layers in order, of which the first takes the features.

    Attributes:
        log1p: Whether the first layer takes log1p of counts, not counts.
    """

    layers: tuple[Layer, ...]
    log1p: bool

    def module(self, matched_f: torch.Tensor) -> ScoringModule:
        """See ``KindWeights``."""
        return NeuralModel(self, matched_f)

    def importance_f(self) -> None:
        """Not known: a network's scores are no weighted sums."""


class NeuralModel(ScoringModule):
    """Decision scores ``y = C(E(x))`` of log1p counts ``x``: the mean of scANVI's q(z|x), and its classifier.

    ``E`` is a series of dense layers with ReLU and a last one without (Xu et al., Mol Syst Biol 2021,
    doi:10.15252/msb.20209620; ``scvi.module.SCANVAE.classify``); ``C`` is another one. Batch normalisation, which is
    linear after training, is part of the layers' weights. ``x`` is not scaled by the cell's total. A feature that the
    file lacks counts as not expressed, as in scvi-tools' ``prepare_query_anndata``.
    """

    def __init__(self, weights: NeuralWeights, matched_f: torch.Tensor) -> None:
        super().__init__()
        assert weights.layers[0].weight_oi.shape[1] == len(matched_f)
        self.target_sum = None
        self.arithmetic = torch.float64
        self.value_bytes = VALUE_BYTES
        self._log1p = weights.log1p
        self._network = Network(weights.layers)
        self.width = len(weights.layers[-1].bias_o) - (-self._network.cell_bytes // UNIT_BYTES)

    def forward(self, expression_z: torch.Tensor, feature_z: torch.Tensor, indptr: torch.Tensor) -> torch.Tensor:
        """See ``ScoringModule``; here, ``expression_z`` holds counts."""
        assert expression_z.shape == feature_z.shape
        value_z = expression_z.double()
        if self._log1p:
            value_z = value_z.log1p_().float().double()  # As in scvi-tools; and the same on every device.
        scores_nl: torch.Tensor = self._network(value_z, feature_z, indptr)
        return scores_nl


class Neural(ModelKind):
    """An encoder and a classifier: imported from scANVI. Batch normalisation is part of the weights and biases."""

    tensors: TensorTable = {  # noqa: RUF012  # a Mapping: nobody writes to it
        "encoder_input": Tensor(("hidden", "features"), "weights of log1p counts in the first hidden layer"),
        "encoder_hidden": Tensor(("later layers", "hidden", "hidden"), "weights of the encoder's other hidden layers"),
        "encoder_bias": Tensor(("layers", "hidden"), "added in each of the encoder's hidden layers"),
        "latent": Tensor(("latent", "hidden"), "weights of the last hidden layer in a cell's coordinates"),
        "latent_bias": Tensor(("latent",), "added to the coordinates"),
        "classifier_input": Tensor(
            ("classifier hidden", "latent"), "weights of the coordinates in the classifier's first hidden layer"
        ),
        "classifier_hidden": Tensor(
            ("later classifier layers", "classifier hidden", "classifier hidden"), "weights of its other hidden layers"
        ),
        "classifier_bias": Tensor(("classifier layers", "classifier hidden"), "added in each of its hidden layers"),
        "output": Tensor(("labels", "classifier output"), "weights of the last layer in each label's score"),
        "output_bias": Tensor(("labels",), "added to each label's score"),
    }

    def weights(self, card: ModelCard, tensors: Mapping[str, torch.Tensor], *, where: str = "") -> NeuralWeights:
        """See ``ModelKind``."""
        own = _own(card, where)
        if card.preprocessing not in ((), (Log1p(),)):
            steps = " → ".join(step.step for step in card.preprocessing)
            raise invalid(f"preprocessing {steps}", "log1p or none for a neural model", where)
        found = checked(self.tensors, _sizes(own), tensors, where=where)
        encoder = _hidden(found, "encoder", normalised=own.encoder_layer_norm)
        classifier = _hidden(found, "classifier", normalised=own.classifier_layer_norm)
        latent, output = (Layer(found[name], found[f"{name}_bias"]) for name in ("latent", "output"))
        return NeuralWeights((*encoder, latent, *classifier, output), log1p=bool(card.preprocessing))

    def flops_per_cell(self, card: ModelCard) -> float:
        """A multiplication and an addition per weight."""
        sizes = _sizes(_own(card, card.reference))
        matrices = [tensor.axes for name, tensor in self.tensors.items() if not name.endswith("bias")]
        return 2.0 * sum(prod(sizes[axis] for axis in axes) for axes in matrices)


def _hidden(found: Mapping[str, torch.Tensor], part: str, *, normalised: bool) -> Iterator[Layer]:
    """The hidden layers of a part; none if it has no biases."""
    matrices = [found[f"{part}_input"], *found[f"{part}_hidden"]]
    for weight_oi, bias_o in zip(matrices, found[f"{part}_bias"], strict=False):
        yield Layer(weight_oi, bias_o, hidden=True, normalised=normalised)


def _sizes(card: NeuralCard) -> dict[str, int]:
    return {
        "features": len(card.features),
        "labels": len(card.labels),
        "hidden": card.n_hidden,
        "layers": card.n_encoder_layers,
        "later layers": card.n_encoder_layers - 1,
        "latent": card.n_latent,
        "classifier hidden": card.n_classifier_hidden,
        "classifier layers": card.n_classifier_layers,
        "later classifier layers": max(card.n_classifier_layers - 1, 0),
        "classifier output": card.n_classifier_hidden or card.n_latent,
    }


def _own(card: ModelCard, where: str) -> NeuralCard:
    if not isinstance(card, NeuralCard):
        raise invalid(f"a card of kind {card.kind}", "a card of kind neural", where)
    return card
