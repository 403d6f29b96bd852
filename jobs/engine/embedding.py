"""An embedding of expression: the principal components of a file's own cells."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import embedding_bag, pad

from jobs.engine.facts import STEPS
from jobs.engine.sampling import SampledCells
from shared.domain.geometry import BLOCK_ROWS, Rows

PROJECTION_VALUE_BYTES = 8
"""Bytes that ``Projection`` allocates for each expressed gene: ``embedding_bag`` keeps its row."""
SAMPLE_CELLS = 2048
_RANGES = 16
_OVERSAMPLED = 10
_ITERATIONS = 5
_NOTHING = 1e-9
_LIMIT = float(np.iinfo(np.int16).max)


def sampled_ranges(n_cells: int) -> tuple[Rows, ...]:
    """The rows that the components are learned from: all, or the first of each of 16 evenly spaced blocks.

    Ranges and not single rows, as a file is read by chunks of many rows. They do not depend on the number of tasks.
    """
    if n_cells <= SAMPLE_CELLS:
        return tuple(Rows(0, n_cells).blocks())
    last = n_cells // BLOCK_ROWS - 1
    starts = dict.fromkeys(last * place // (_RANGES - 1) * BLOCK_ROWS for place in range(_RANGES))
    length = min(BLOCK_ROWS, SAMPLE_CELLS // len(starts))
    return tuple(Rows(start, start + length) for start in starts)


class Projection(torch.nn.Module):
    """Coordinates ``(x - m)·A`` of log1p expression ``x``, in steps of 1/64.

    Each row is summed by one thread in the stored order of its genes, so that a cell's bytes do not depend on the other
    cells or on the number of threads.

    Args:
        axes_fd: ``A``, features x dimensions.
        mean_f: ``m``, the mean expression of the sampled cells.
    """

    axes_fd: torch.Tensor
    base_d: torch.Tensor

    def __init__(self, axes_fd: torch.Tensor, mean_f: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("axes_fd", pad(axes_fd * STEPS, (0, 0, 0, 1)).float().contiguous())
        self.register_buffer("base_d", (mean_f @ axes_fd * STEPS).float())

    @property
    def dimensions(self) -> int:
        """The number of coordinates of each cell."""
        return len(self.base_d)

    def forward(self, expression_z: torch.Tensor, feature_z: torch.Tensor, indptr: torch.Tensor) -> torch.Tensor:
        """The coordinates of n cells in steps, n x dimensions, int16; the arguments are those of ``ScoringModule``."""
        sum_nd = embedding_bag(
            feature_z, self.axes_fd, indptr, mode="sum", per_sample_weights=expression_z, include_last_offset=True
        )
        return (sum_nd - self.base_d).round_().clamp_(-_LIMIT, _LIMIT).short()


def learn(cells: Iterable[SampledCells], n_features: int, dimensions: int) -> Projection:
    """Learn the principal components of cells: centred log1p expression, not scaled.

    By randomised subspace iteration (Halko, Martinsson and Tropp, SIAM Review 53, 2011, algorithm 4.4), from fixed
    starting values and in float64, but for the products with the cells: in float32 they are ten times as fast. A
    component points to where its largest weight is positive. With fewer components than ``dimensions``, the other
    coordinates are 0.

    Args:
        cells: The sampled cells, in blocks.
    """
    values = _Sparse.of(list(cells), n_features)
    rank = max(1, min(dimensions + _OVERSAMPLED, n_features, values.n_cells))
    start = np.random.default_rng(0).standard_normal((n_features, rank))
    basis_fk = torch.from_numpy(start)
    for _ in range(_ITERATIONS):
        basis_fk = torch.linalg.qr(values.transposed_times(values.times(basis_fk))).Q
    image_nk = values.times(basis_fk)
    strength_k, turn_kk = torch.linalg.eigh(image_nk.T @ image_nk)
    axes_fd = (basis_fk @ turn_kk).flip(1)[:, :dimensions]
    kept_d = strength_k.flip(0)[:dimensions] > _NOTHING * max(float(strength_k.max()), _NOTHING)
    largest_d = axes_fd.gather(0, axes_fd.abs().argmax(0, keepdim=True))
    axes_fd = axes_fd * torch.where(largest_d < 0, -1.0, 1.0) * kept_d
    return Projection(pad(axes_fd, (0, dimensions - axes_fd.shape[1])), values.mean_f)


@dataclass(frozen=True, slots=True)
class _Sparse:
    """Centred sparse values, cells x features, in CSR and CSC form; products are summed in a fixed order."""

    value_z: torch.Tensor
    feature_z: torch.Tensor
    indptr: torch.Tensor
    value_by_feature_z: torch.Tensor
    cell_z: torch.Tensor
    pointer_f: torch.Tensor
    mean_f: torch.Tensor

    @classmethod
    def of(cls, cells: list[SampledCells], n_features: int) -> _Sparse:
        value_z = np.concatenate([np.zeros(0, np.float32), *(one.value_z for one in cells)])
        feature_z = np.concatenate([np.zeros(0, np.int32), *(one.feature_z for one in cells)])
        length_n = np.concatenate([np.zeros(0, np.int64), *(np.diff(one.indptr_m) for one in cells)])
        n_cells = len(length_n)
        cell_z = np.repeat(np.arange(n_cells), length_n)
        key_z = feature_z.astype(np.uint16) if n_features <= 1 << 16 else feature_z  # Sorted four times as fast.
        order = np.argsort(key_z, kind="stable")
        sum_f = np.bincount(feature_z, value_z, minlength=n_features)
        return cls(
            value_z=torch.from_numpy(value_z),
            feature_z=torch.from_numpy(feature_z.astype(np.int64)),
            indptr=_pointers(cell_z, n_cells),
            value_by_feature_z=torch.from_numpy(value_z[order]),
            cell_z=torch.from_numpy(cell_z[order]),
            pointer_f=_pointers(feature_z, n_features),
            mean_f=torch.from_numpy(sum_f / max(n_cells, 1)),
        )

    @property
    def n_cells(self) -> int:
        return len(self.indptr) - 1

    def times(self, basis_fk: torch.Tensor) -> torch.Tensor:
        """The product with a matrix, features x columns."""
        return _product(self.feature_z, basis_fk, self.indptr, self.value_z) - self.mean_f @ basis_fk

    def transposed_times(self, image_nk: torch.Tensor) -> torch.Tensor:
        """The product of the transposed with a matrix, cells x columns."""
        summed_fk = _product(self.cell_z, image_nk, self.pointer_f, self.value_by_feature_z)
        return summed_fk - torch.outer(self.mean_f, image_nk.sum(0))


def _pointers(place_z: npt.NDArray[np.integer], n_places: int) -> torch.Tensor:
    """Where each place starts in sorted places, and the end."""
    return torch.from_numpy(np.concatenate([[0], np.cumsum(np.bincount(place_z, minlength=n_places))]))


def _product(
    place_z: torch.Tensor, matrix: torch.Tensor, pointers: torch.Tensor, value_z: torch.Tensor
) -> torch.Tensor:
    summed = embedding_bag(
        place_z, matrix.float().contiguous(), pointers, mode="sum", per_sample_weights=value_z, include_last_offset=True
    )
    return summed.double()
