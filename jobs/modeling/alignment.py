"""The differences between data sets or batches of the same cell types, which a model should ignore."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from jobs.modeling.expression import log_normalise
from jobs.modeling.gene_places import GeneList, first_places, places_of_genes
from jobs.modeling.labelled import LabelledCells
from shared.bundles.card import Features, Label
from shared.domain.verdict import MatrixState

Float32s = npt.NDArray[np.float32]

LEAST_CELLS = 20
"""A type with fewer cells in either data set says more about these cells than about the data sets."""


def types_of(labels: Sequence[Label]) -> list[str]:
    """The type that each label is of in a comparison of data sets: its lineage, or else its own name."""
    return [label.lineage or label.name for label in labels]


def shared_types(cells: LabelledCells, other: LabelledCells) -> list[str]:
    """The types with enough cells in both data sets."""
    sizes = [_sizes(cells), _sizes(other)]
    return sorted(name for name in sizes[0] if all(size.get(name, 0) >= LEAST_CELLS for size in sizes))


def differences(
    cells: LabelledCells, other: LabelledCells, features: Features, mean_f: Float32s, std_f: Float32s, clip: float
) -> Float32s:
    """How the standardised expression of each shared type differs between two data sets, types x features.

    A type that several labels share is their mean, each label weighing the same, as the data sets may have different
    shares of them.
    """
    types = shared_types(cells, other)
    own_g, their_g = (_places(one, features) for one in (cells, other))
    there_f = np.isin(np.arange(len(features)), their_g)
    own = {name: _means(cells, name, own_g, mean_f, std_f, clip) for name in types}
    theirs = {name: _means(other, name, their_g, mean_f, std_f, clip) for name in types}
    # A gene that the other file lacks does not tell how the data sets differ.
    found = [np.where(there_f, theirs[name] - own[name], 0.0) for name in types]
    return np.stack(found).astype(np.float32) if found else np.zeros((0, len(features)), np.float32)


def batch_differences(
    cells: LabelledCells, features: Features, mean_f: Float32s, std_f: Float32s, clip: float
) -> Float32s:
    """How the standardised expression of each type differs between batches: the mean of each batch less that of all.

    Only types with enough cells in two batches or more tell. Returns pairs of type and batch x features.
    """
    place_g, batch_n = _places(cells, features), cells.batch_n
    found = [np.zeros((0, len(features)))]
    for name, batches in batched_types(cells).items():
        assert batch_n is not None
        own = [cells.take(np.flatnonzero(batch_n == batch)) for batch in batches]
        means = np.stack([_means(one, name, place_g, mean_f, std_f, clip) for one in own])
        found.append(means - means.mean(axis=0))
    return np.concatenate(found).astype(np.float32)


def batched_types(cells: LabelledCells) -> dict[str, list[int]]:
    """The types with enough cells in two batches or more, and these batches."""
    if cells.batch_n is None:
        return {}
    type_n = np.array(types_of(cells.labels))[cells.class_n]
    found: dict[str, list[int]] = {}
    for name in np.unique(type_n).tolist():
        codes, sizes = np.unique(cells.batch_n[(type_n == name) & (cells.batch_n >= 0)], return_counts=True)
        enough = codes[sizes >= LEAST_CELLS].tolist()
        if len(enough) > 1:
            found[name] = enough
    return found


def orthonormal(direction_df: torch.Tensor) -> torch.Tensor:
    """An orthonormal basis of what the directions span; without rows, none."""
    if not len(direction_df):
        return direction_df
    _, size_d, basis_df = torch.linalg.svd(direction_df.double(), full_matrices=False)
    kept_df: torch.Tensor = basis_df[size_d > 1e-6 * size_d[0]].to(direction_df.dtype)
    return kept_df


def without(values_nf: torch.Tensor, basis_df: torch.Tensor) -> torch.Tensor:
    """Remove the components along an orthonormal basis from each row, in place."""
    if len(basis_df):
        values_nf -= (values_nf @ basis_df.T) @ basis_df
    return values_nf


def _places(cells: LabelledCells, features: Features) -> npt.NDArray[np.int32]:
    return first_places(places_of_genes(cells.genes, GeneList(features, cells.species)))


def _sizes(cells: LabelledCells) -> dict[str, int]:
    types = np.array(types_of(cells.labels))
    names, sizes = np.unique(types[cells.class_n], return_counts=True)
    return dict(zip(names.tolist(), sizes.tolist(), strict=True))


def _means(
    cells: LabelledCells,
    name: str,
    place_g: npt.NDArray[np.int32],
    mean_f: Float32s,
    std_f: Float32s,
    clip: float,
) -> npt.NDArray[np.float64]:
    """The mean over a type's labels of their mean z-scores, for each feature.

    Args:
        place_g: The feature of each gene of the cells, or -1.
    """
    zero_f = np.minimum(-mean_f / std_f, clip)
    means = []
    for label in np.flatnonzero(np.array(types_of(cells.labels)) == name):
        chosen = cells.take(cells.class_n == label)
        if chosen.n_cells:
            expression_ng = log_normalise(chosen.value_ng, as_it_is=chosen.state is MatrixState.LOG1P_CP10K)
            place_z = place_g[expression_ng.indices]
            there_z = place_z >= 0
            place_z, x_z = place_z[there_z], expression_ng.data[there_z]
            above_z = np.minimum((x_z - mean_f[place_z]) / std_f[place_z], clip) - zero_f[place_z]
            means.append(zero_f + np.bincount(place_z, above_z, minlength=len(mean_f)) / chosen.n_cells)
    return np.asarray(np.mean(means, axis=0))
