"""The layers of a scANVI model as those of a bundle: batch norm, and the batch of a cell, become part of them.

After training, batch normalisation scales and shifts each unit by constants, ``w·(y - m) / √(v + e) + b``, so it is
part of the weights and biases of the dense layer before it. The one-hot column of an assumed batch adds one column of
the weights to each cell, so that column is part of the bias. Both are exact, and computed in float64.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from jobs.modeling.scanvi_files import SavedModel, unsupported
from shared.domain.words import plural

_EPSILON = 1e-3
"""Of scvi-tools' batch norm (``scvi.nn.FCLayers``)."""
_NORMALISED = {"encoder", "both"}
_CLASSIFIER_SETTINGS = {"n_layers", "n_hidden", "dropout_rate", "logits"}
_MOST_LAYERS = 20

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Network:
    """What a bundle holds of a scANVI model.

    Attributes:
        tensors: Those of a neural model (``jobs.engine.kinds.neural``), float32.
        sizes: The card's fields that only this kind has.
        log1p: Whether the encoder takes log1p of counts.
    """

    tensors: Mapping[str, torch.Tensor]
    sizes: Mapping[str, Any]
    log1p: bool


@dataclass(frozen=True, slots=True)
class _Dense:
    """``W·x + b``: weights, outputs x inputs, and biases, float64."""

    weight_oi: Floats
    bias_o: Floats


def check_parts(saved: SavedModel) -> None:
    """Check that a model has nothing that changes its labels and that a bundle has no place for.

    Raises:
        UnsupportedModelError: It has.
    """
    own, settings = saved.tensors, saved.settings
    encoder, classifier = settings.get("extra_encoder_kwargs"), settings.get("classifier_parameters")
    strange = [*(encoder or {}), *(set(classifier or {}) - _CLASSIFIER_SETTINGS)]
    if strange:
        raise unsupported(f"a scANVI model with its own {', '.join(sorted(strange))}", saved.where)
    if any(name.startswith("classifier_groups.") for name in own):
        raise unsupported("a scANVI model whose labels are in groups (use_labels_groups)", saved.where)
    extra = _n_covariates(saved)
    known = len(saved.batches) if len(saved.batches) > 1 else 0
    if extra and (extra != known or settings.get("batch_representation", "one-hot") != "one-hot"):
        found = (
            f"a scANVI model that takes {plural(extra, 'number')} beside {len(saved.genes):,} genes: further "
            "covariates of a cell, or an embedding of batches"
        )
        hint = "Train it without encode_covariates=True, or without further covariates."
        raise unsupported(found, saved.where, hint)


def network_of(saved: SavedModel, n_labels: int, batch: int | None) -> Network:
    """The layers that lead from a cell's counts to the scores of its labels.

    Args:
        batch: The position of the assumed batch; None if the encoder takes none.

    Raises:
        UnsupportedModelError: The tensors do not fit each other.
    """
    encoder = [*_hidden(saved, "z_encoder.encoder", len(saved.genes), batch)]
    if not encoder:
        raise unsupported("a scANVI model without an encoder", saved.where)
    latent = _plain(saved, "z_encoder.mean_encoder", len(encoder[-1].bias_o))
    classifier = [*_hidden(saved, "classifier.classifier.0", len(latent.bias_o), None)]
    last = classifier[-1] if classifier else latent
    output = _plain(saved, f"classifier.classifier.{int(bool(classifier))}", len(last.bias_o))
    if len(output.bias_o) != n_labels:
        raise unsupported(f"a classifier of {len(output.bias_o)} labels, not {n_labels}", saved.where)
    norm = saved.settings.get("use_layer_norm", "none") in _NORMALISED
    sizes = {
        "n_hidden": len(encoder[0].bias_o),
        "n_encoder_layers": len(encoder),
        "n_latent": len(latent.bias_o),
        "n_classifier_layers": len(classifier),
        "n_classifier_hidden": len(classifier[0].bias_o) if classifier else 0,
        "encoder_layer_norm": norm,
        "classifier_layer_norm": norm and bool(classifier),
    }
    arrays = {
        **_stacked("encoder", encoder, len(saved.genes)),
        "latent": latent.weight_oi,
        "latent_bias": latent.bias_o,
        **_stacked("classifier", classifier, len(latent.bias_o)),
        "output": output.weight_oi,
        "output_bias": output.bias_o,
    }
    tensors = {name: torch.from_numpy(np.ascontiguousarray(array, np.float32)) for name, array in arrays.items()}
    return Network(tensors, sizes, log1p=bool(saved.settings.get("log_variational", True)))


def _n_covariates(saved: SavedModel) -> int:
    """How many columns the encoder takes beside the genes."""
    first_oi = _array(saved, "z_encoder.encoder.fc_layers.Layer 0.0.weight", 2)
    return int(first_oi.shape[1]) - len(saved.genes)


def _hidden(saved: SavedModel, part: str, n_inputs: int, batch: int | None) -> Iterator[_Dense]:
    """The hidden layers of a part, in order; all of one width."""
    width = n_inputs
    for number in range(_MOST_LAYERS):
        start = f"{part}.fc_layers.Layer {number}"
        if f"{start}.0.weight" not in saved.tensors:
            return
        dense = _normalised(saved, start, _without_batch(_dense(saved, f"{start}.0"), width, batch, saved))
        if number and len(dense.bias_o) != width:
            raise _misfit(saved, f"{start}.0.weight")
        width = len(dense.bias_o)
        yield dense


def _without_batch(dense: _Dense, n_inputs: int, batch: int | None, saved: SavedModel) -> _Dense:
    """With the weights of the assumed batch as part of the bias, in a layer that takes batches."""
    n_beside = dense.weight_oi.shape[1] - n_inputs
    if n_beside and (batch is None or n_beside != len(saved.batches)):
        raise unsupported("a scANVI model with a layer of other inputs than the layer before gives", saved.where)
    if not n_beside:
        return dense
    assert batch is not None
    return _Dense(dense.weight_oi[:, :n_inputs], dense.bias_o + dense.weight_oi[:, n_inputs + batch])


def _normalised(saved: SavedModel, start: str, dense: _Dense) -> _Dense:
    """With the batch norm that follows as part of it, if one does."""
    if f"{start}.1.running_mean" not in saved.tensors:
        return dense
    names = ("running_mean", "running_var", "weight", "bias")
    mean_o, variance_o, scale_o, shift_o = (_array(saved, f"{start}.1.{name}", 1) for name in names)
    if any(array.shape != dense.bias_o.shape for array in (mean_o, variance_o, scale_o, shift_o)):
        raise _misfit(saved, f"{start}.1")
    if (variance_o < 0).any():
        raise unsupported("a batch norm with a variance below 0", saved.where)
    factor_o = scale_o / np.sqrt(variance_o + _EPSILON)
    return _Dense(dense.weight_oi * factor_o[:, None], (dense.bias_o - mean_o) * factor_o + shift_o)


def _plain(saved: SavedModel, start: str, n_inputs: int) -> _Dense:
    dense = _dense(saved, start)
    if dense.weight_oi.shape[1] != n_inputs:
        raise _misfit(saved, f"{start}.weight")
    return dense


def _dense(saved: SavedModel, start: str) -> _Dense:
    weight_oi, bias_o = _array(saved, f"{start}.weight", 2), _array(saved, f"{start}.bias", 1)
    if len(weight_oi) != len(bias_o):
        raise _misfit(saved, f"{start}.bias")
    return _Dense(weight_oi, bias_o)


def _array(saved: SavedModel, name: str, n_axes: int) -> Floats:
    array: Any = saved.tensors.get(name)
    if array is None:
        raise unsupported(f"a scANVI model without {name!r}", saved.where)
    if array.ndim != n_axes or array.dtype.kind != "f":
        raise _misfit(saved, name)
    if not np.isfinite(array).all():
        raise unsupported(f"NaN or infinite values in {name!r}", saved.where)
    return np.asarray(array, np.float64)


def _stacked(part: str, layers: Sequence[_Dense], n_inputs: int) -> dict[str, Floats]:
    width = len(layers[0].bias_o) if layers else 0
    later = [layer.weight_oi for layer in layers[1:]]
    return {
        f"{part}_input": layers[0].weight_oi if layers else np.zeros((0, n_inputs)),
        f"{part}_hidden": np.stack(later) if later else np.zeros((0, width, width)),
        f"{part}_bias": np.stack([layer.bias_o for layer in layers]) if layers else np.zeros((0, 0)),
    }


def _misfit(saved: SavedModel, name: str) -> Exception:
    shape = tuple(saved.tensors[name].shape) if name in saved.tensors else ()
    return unsupported(f"a scANVI model whose tensors do not fit: {name!r} of shape {shape}", saved.where)
