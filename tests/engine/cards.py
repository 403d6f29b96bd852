"""Small models for tests: a card and tensors that belong together."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from shared.bundles.card import (
    Activation,
    Features,
    Label,
    Log1p,
    ModelCard,
    Normalise,
    NormaliseFeatures,
    Standardise,
    Training,
)
from shared.bundles.kinds import CentroidCard, EncodedCard, LinearCard, NeighboursCard, NeuralCard

Floats = npt.NDArray[np.float64]


def make_card(n_labels: int, n_features: int, **changes: object) -> ModelCard:
    target_sum, clip_max = changes.pop("target_sum", 1e4), changes.pop("clip_max", 10.0)
    fields: dict[str, object] = {
        "name": "test-model",
        "version": "1.0.0",
        "features": Features(symbol=tuple(f"GENE{i}" for i in range(n_features))),
        "labels": tuple(Label(name=f"cell {i}") for i in range(n_labels)),
        "preprocessing": (Normalise(target_sum=target_sum), Log1p(), Standardise(clip_max=clip_max)),  # type: ignore[arg-type]
        "activation": Activation.SIGMOID,
        "training": Training(method="made for a test"),
    }
    return LinearCard.model_validate(fields | changes)


def make_tensors(
    n_labels: int, n_features: int, *, seed: int = 0, scale: float = 0.1, dtype: torch.dtype = torch.float32
) -> dict[str, torch.Tensor]:
    draw = np.random.default_rng(seed)
    arrays = {
        "coef": draw.normal(0, scale, (n_labels, n_features)),
        "intercept": draw.normal(0, 1, n_labels),
        "mean": draw.uniform(0, 2, n_features),
        "std": draw.uniform(0.05, 1.5, n_features),
    }
    return {name: torch.tensor(array, dtype=dtype) for name, array in arrays.items()}


def make_centroid(
    n_labels: int, n_features: int, *, n_components: int = 3, seed: int = 0, dtype: torch.dtype = torch.float32
) -> tuple[CentroidCard, dict[str, torch.Tensor]]:
    """A centroid model with axes at right angles, as a PCA gives them."""
    draw = np.random.default_rng(seed)
    common = make_card(n_labels, n_features).model_dump(exclude={"kind", "activation"})
    card = CentroidCard.model_validate(common | {"n_components": n_components, "spread": 1.5})
    axes_fc, _ = np.linalg.qr(draw.normal(0, 1, (n_features, n_components)))
    arrays = {
        "components": axes_fc.T,
        "centroids": draw.normal(0, 2, (n_labels, n_components)),
        "mean": draw.uniform(0, 2, n_features),
        "std": draw.uniform(0.05, 1.5, n_features),
    }
    return card, {name: torch.tensor(array, dtype=dtype) for name, array in arrays.items()}


def make_neighbours(
    n_labels: int,
    n_features: int,
    *,
    n_components: int = 3,
    n_reference: int = 40,
    k: int = 9,
    prefactor: float = 1.0,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> tuple[NeighboursCard, dict[str, torch.Tensor]]:
    """An index of cells around a point for each label."""
    draw = np.random.default_rng(seed)
    common = make_card(n_labels, n_features).model_dump(exclude={"kind", "activation"})
    own = {"n_components": n_components, "n_reference": n_reference, "k": k, "prefactor": prefactor}
    label_r = np.arange(n_reference) % n_labels
    arrays = {
        "projection": draw.normal(0, 0.5, (n_components, n_features)),
        "reference": draw.normal(0, 2, (n_labels, n_components))[label_r]
        + draw.normal(0, 1, (n_reference, n_components)),
        "reference_label": label_r,
        "mean": draw.uniform(0, 2, n_features),
        "std": draw.uniform(0.05, 1.5, n_features),
    }
    tensors = {name: torch.tensor(array, dtype=dtype) for name, array in arrays.items()}
    return NeighboursCard.model_validate(common | own), tensors


def make_neural(
    n_labels: int,
    n_features: int,
    *,
    n_hidden: int = 6,
    n_encoder_layers: int = 2,
    n_latent: int = 3,
    n_classifier_layers: int = 2,
    layer_norm: bool = False,
    log1p: bool = True,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> tuple[NeuralCard, dict[str, torch.Tensor]]:
    """An encoder and a classifier with random weights."""
    draw = np.random.default_rng(seed)
    common = make_card(n_labels, n_features).model_dump(exclude={"kind", "activation", "preprocessing"})
    width = n_hidden if n_classifier_layers else 0
    own = {
        "preprocessing": (Log1p(),) if log1p else (),
        "n_hidden": n_hidden,
        "n_encoder_layers": n_encoder_layers,
        "n_latent": n_latent,
        "n_classifier_layers": n_classifier_layers,
        "n_classifier_hidden": width,
        "encoder_layer_norm": layer_norm,
        "classifier_layer_norm": layer_norm,
    }
    shapes = {
        "encoder_input": (n_hidden, n_features),
        "encoder_hidden": (n_encoder_layers - 1, n_hidden, n_hidden),
        "encoder_bias": (n_encoder_layers, n_hidden),
        "latent": (n_latent, n_hidden),
        "latent_bias": (n_latent,),
        "classifier_input": (width, n_latent),
        "classifier_hidden": (max(n_classifier_layers - 1, 0), width, width),
        "classifier_bias": (n_classifier_layers, width),
        "output": (n_labels, width or n_latent),
        "output_bias": (n_labels,),
    }
    tensors = {name: torch.tensor(draw.normal(0, 0.5, shape), dtype=dtype) for name, shape in shapes.items()}
    return NeuralCard.model_validate(common | own), tensors


def make_encoded(
    n_labels: int,
    n_features: int,
    *,
    n_hidden: int = 6,
    n_encoder_layers: int = 2,
    n_components: int = 3,
    n_reference: int = 40,
    k: int = 9,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> tuple[EncodedCard, dict[str, torch.Tensor]]:
    """An encoder with random weights, and random reference cells of length 1."""
    draw = np.random.default_rng(seed)
    common = make_card(n_labels, n_features).model_dump(exclude={"kind", "activation", "preprocessing"})
    own = {
        "preprocessing": (NormaliseFeatures(target_sum=1e4), Log1p()),
        "n_hidden": n_hidden,
        "n_encoder_layers": n_encoder_layers,
        "n_components": n_components,
        "n_reference": n_reference,
        "k": k,
    }
    reference_rc = draw.normal(0, 1, (n_reference, n_components))
    arrays = {
        "encoder_input": draw.normal(0, 0.5, (n_hidden, n_features)),
        "encoder_hidden": draw.normal(0, 0.5, (n_encoder_layers - 1, n_hidden, n_hidden)),
        "encoder_bias": draw.normal(0, 0.5, (n_encoder_layers, n_hidden)),
        "encoder_slope": draw.uniform(0.1, 0.4, n_encoder_layers),
        "latent": draw.normal(0, 0.5, (n_components, n_hidden)),
        "latent_bias": draw.normal(0, 0.5, n_components),
        "reference": reference_rc / np.linalg.norm(reference_rc, axis=1, keepdims=True),
        "reference_label": np.arange(n_reference) % n_labels,
    }
    tensors = {name: torch.tensor(array, dtype=dtype) for name, array in arrays.items()}
    return EncodedCard.model_validate(common | own), tensors


def identity_model(n_features: int, **changes: object) -> tuple[ModelCard, dict[str, torch.Tensor]]:
    """A model whose decisions are the log1p expression itself."""
    tensors = {
        "coef": torch.eye(n_features),
        "intercept": torch.zeros(n_features),
        "mean": torch.zeros(n_features),
        "std": torch.ones(n_features),
    }
    return make_card(n_features, n_features, clip_max=None, **changes), tensors
