"""Imports SCimilarity models as bundles, without running their files. Labels stay those of the exact neighbours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import ValidationError

from jobs.modeling.card_names import no_name
from jobs.modeling.celltypist_genes import feature_table, species_of
from jobs.modeling.scimilarity_files import SavedEncoder, read_folder, unsupported
from jobs.modeling.trees import labels_and_terms
from shared.bundles.card import MOST_LABELS, Log1p, NormaliseFeatures, Training
from shared.bundles.kinds import EncodedCard
from shared.faults import first_fault

NEIGHBOURS = 50
"""How many vote, in ``CellAnnotation.get_predictions_knn``."""
TARGET_SUM = 1e4
"""Of ``scimilarity.utils.lognorm_counts``."""
_LEAST_GENES = 5_000
"""What ``scimilarity.utils.align_dataset`` asks a file for."""
_LEAST_OVERLAP = 0.5
"""Of a model with few genes, the least share that a file must have."""
_EPSILON = 1e-5
"""Of PyTorch's batch norm."""
_MOST_LAYERS = 20

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Dense:
    """``W·x + b``, outputs x inputs, float64; in a hidden layer values below 0 are multiplied by the slope."""

    weight_oi: Floats
    bias_o: Floats
    slope: float = 0.0


def import_scimilarity(
    path: Path,
    *,
    name: str,
    version: str,
    licence: str = "",
    citation: str = "",
    ontology: Path | None = None,
) -> tuple[EncodedCard, dict[str, torch.Tensor]]:
    """Read the folder of a SCimilarity model. Returns the card and the tensors of an encoded model.

    After training, batch normalisation scales and shifts each unit by constants, so it is part of the dense layer
    before it. The votes are those of ``CellAnnotation.get_predictions_knn`` with its usual options.

    Args:
        path: The folder, or the ``encoder.ckpt`` in it.
        ontology: An .obo file. Labels that match the name or an exact synonym of a term get its Cell Ontology id.

    Raises:
        UnsafeModelError: A file contains more than data.
        UnsupportedModelError: It is not such a model, or one with parts that a bundle cannot have.
        InvalidOptionError: The ontology cannot be read, or the name or version is invalid.
    """
    saved = read_folder(path)
    labels, place_r = np.unique(np.array(saved.label_r, dtype=object), return_inverse=True)
    _check_labels(labels.tolist(), saved)
    hidden, latent = _layers(saved)
    n_reference = len(saved.vectors_rc)
    if n_reference < NEIGHBOURS:
        raise unsupported(f"an index of {n_reference} cells, fewer than the {NEIGHBOURS} that vote", saved.where)
    about = {
        "name": name,
        "version": version,
        "licence": licence,
        "citation": citation,
        **labels_and_terms(labels.tolist(), ontology),
        "n_hidden": len(hidden[0].bias_o),
        "n_encoder_layers": len(hidden),
        "n_components": len(latent.bias_o),
        "n_reference": n_reference,
        "k": NEIGHBOURS,
    }
    tensors = {**_tensors(hidden, latent), "reference": saved.vectors_rc, "reference_label": place_r}
    return _card(saved, about), {
        name: torch.from_numpy(np.ascontiguousarray(array, np.float32)) for name, array in tensors.items()
    }


def _check_labels(labels: list[str], saved: SavedEncoder) -> None:
    if "" in labels:
        raise unsupported("reference cells without a label", saved.where)
    if len(labels) < 2:
        raise unsupported(f"reference cells that are all of the label {labels[0]!r}", saved.where)
    if len(labels) > MOST_LABELS:
        raise unsupported(f"{len(labels):,} labels, more than {MOST_LABELS:,}", saved.where)


def _card(saved: SavedEncoder, about: Mapping[str, Any]) -> EncodedCard:
    genes = saved.genes
    try:
        return EncodedCard(
            **about,
            title=f"SCimilarity model {saved.title}",
            description=f"{len(about['labels'])} cell types by {len(genes):,} genes and {about['n_reference']:,} "
            f"reference cells, imported from {saved.title}.",
            species=species_of(genes),
            features=feature_table(genes),
            preprocessing=(NormaliseFeatures(target_sum=TARGET_SUM), Log1p()),
            default_overlap=min(_LEAST_OVERLAP, _LEAST_GENES / len(genes)),
            training=Training(
                method="imported from SCimilarity",
                source=saved.title,
                source_sha256=saved.sha256,
                n_cells=len(saved.vectors_rc),
                parameters={"k": NEIGHBOURS},
            ),
        )
    except ValidationError as error:
        fault = first_fault(error)
        raise (
            no_name(error) if fault.place in {"name", "version"} else unsupported(fault.reason, saved.where)
        ) from error


def _layers(saved: SavedEncoder) -> tuple[list[_Dense], _Dense]:
    """The hidden layers, and the one that gives the coordinates."""
    hidden = [*_hidden(saved)]
    if not hidden:
        raise unsupported("an encoder of SCimilarity without hidden layers", saved.where)
    widths = [len(layer.bias_o) for layer in hidden]
    if len(set(widths)) > 1:
        found = f"an encoder of SCimilarity with hidden layers of different widths: {', '.join(map(str, widths))}"
        raise unsupported(
            found, saved.where, "A bundle takes hidden layers of one width, as the published models have."
        )
    latent = _dense(saved, f"network.{len(hidden)}", widths[-1])
    if len(latent.bias_o) != saved.vectors_rc.shape[1]:
        found = (
            f"an encoder of SCimilarity with {len(latent.bias_o)} coordinates, and an index with "
            f"{saved.vectors_rc.shape[1]}"
        )
        raise unsupported(found, saved.where)
    return hidden, latent


def _hidden(saved: SavedEncoder) -> Iterator[_Dense]:
    n_inputs = len(saved.genes)
    for number in range(_MOST_LAYERS):
        start = f"network.{number}"
        if f"{start}.1.weight" not in saved.tensors:
            return
        dense = _dense(saved, f"{start}.1", n_inputs)
        n_inputs = len(dense.bias_o)
        names = ("running_mean", "running_var", "weight", "bias")
        mean_o, variance_o, scale_o, shift_o = (_array(saved, f"{start}.2.{name}", (n_inputs,)) for name in names)
        if (variance_o < 0).any():
            raise unsupported("a batch norm with a variance below 0", saved.where)
        factor_o = scale_o / np.sqrt(variance_o + _EPSILON)
        slope = float(_array(saved, f"{start}.3.weight", (1,))[0])
        yield _Dense(dense.weight_oi * factor_o[:, None], (dense.bias_o - mean_o) * factor_o + shift_o, slope)


def _dense(saved: SavedEncoder, start: str, n_inputs: int) -> _Dense:
    bias_o = _array(saved, f"{start}.bias", None)
    return _Dense(_array(saved, f"{start}.weight", (len(bias_o), n_inputs)), bias_o)


def _array(saved: SavedEncoder, name: str, shape: tuple[int, ...] | None) -> Floats:
    """A tensor of this shape; of any length if that is not given."""
    array = saved.tensors.get(name)
    if array is None:
        raise unsupported(f"an encoder of SCimilarity without {name!r}", saved.where)
    fits = array.shape == shape if shape else array.ndim == 1 and len(array)
    if not fits or array.dtype.kind != "f":
        wanted = f", not {shape}" if shape else ""
        raise unsupported(f"an encoder of SCimilarity whose {name!r} has the shape {array.shape}{wanted}", saved.where)
    if not np.isfinite(array).all():
        raise unsupported(f"NaN or infinite values in {name!r}", saved.where)
    return np.asarray(array, np.float64)


def _tensors(hidden: list[_Dense], latent: _Dense) -> dict[str, Floats]:
    width = len(hidden[0].bias_o)
    later = [layer.weight_oi for layer in hidden[1:]]
    return {
        "encoder_input": hidden[0].weight_oi,
        "encoder_hidden": np.stack(later) if later else np.zeros((0, width, width)),
        "encoder_bias": np.stack([layer.bias_o for layer in hidden]),
        "encoder_slope": np.array([layer.slope for layer in hidden]),
        "latent": latent.weight_oi,
        "latent_bias": latent.bias_o,
    }
