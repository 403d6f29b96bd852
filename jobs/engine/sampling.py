"""The expression of sampled cells, as the model sees it: evidence is computed and an embedding is learned from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float32s = npt.NDArray[np.float32]
Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SampledCells:
    """The expression of m sampled cells of a block, as compressed sparse rows.

    Attributes:
        place_m: Their positions in the block.
        indptr_m: Where each cell starts in ``feature_z`` and ``value_z``, and the end; int32, m + 1 values from 0.
        feature_z: The features that the cells express, by position in the model.
        value_z: Their log1p expression, scaled as for the model, but not standardised; above 0.
    """

    place_m: Int64s
    indptr_m: Int32s
    feature_z: Int32s
    value_z: Float32s


NO_CELLS = SampledCells(np.zeros(0, np.int64), np.zeros(1, np.int32), np.zeros(0, np.int32), np.zeros(0, np.float32))


@dataclass(frozen=True, slots=True)
class Picked:
    """The values of the sampled cells of a block that belong to the model's features.

    Attributes:
        place_m: The cells' positions in the block.
        indptr_m: As in ``SampledCells``.
        place_z: The values' positions in the block.
    """

    place_m: Int64s
    indptr_m: Int32s
    place_z: Int64s


def every(stride: int, first_row: int, n_cells: int) -> Int64s:
    """The positions of a block's cells in rows that are a multiple of ``stride``; the first is in ``first_row``."""
    return np.arange(-first_row % stride, n_cells, stride)


def pick(place_m: Int64s, indptr: Int32s, feature_z: Int32s, n_features: int) -> Picked:
    """Choose cells of a block, and their values of the model's features.

    Args:
        place_m: The cells' positions in the block.
        indptr: Where each cell of the block starts in ``feature_z``, and the end.
        n_features: The positions from there on are no features.
    """
    places = [np.arange(indptr[place], indptr[place + 1]) for place in place_m.tolist()]
    kept = [inside[feature_z[inside] < n_features] for inside in places]
    indptr_m = np.cumsum([0, *map(len, kept)], dtype=np.int32)
    return Picked(place_m, indptr_m, np.concatenate([np.zeros(0, np.int64), *kept]))
