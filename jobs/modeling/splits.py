"""Seeded splits of labelled cells in which every label keeps its share."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def hold_out(class_n: Int64s, share: float, generator: np.random.Generator) -> Bools:
    """Cells to keep aside: ``share`` of each label, rounded, but at least one and never all."""
    held_n = np.zeros(len(class_n), dtype=bool)
    for cells in _by_class(class_n, generator):
        held_n[cells[: min(max(round(len(cells) * share), 1), len(cells) - 1)]] = True
    return held_n


def folds(class_n: Int64s, n_folds: int, generator: np.random.Generator) -> Int64s:
    """The fold of each cell, 0 to ``n_folds`` - 1; each label is dealt out in turn."""
    fold_n = np.zeros(len(class_n), dtype=np.int64)
    offset = 0
    for cells in _by_class(class_n, generator):
        fold_n[cells] = (offset + np.arange(len(cells))) % n_folds
        offset += len(cells)
    return fold_n


def at_most(class_n: Int64s, n_cells: int, generator: np.random.Generator) -> Int64s:
    """Cells to train on, ascending: all, or ``n_cells`` with rare labels kept whole and the others cut to one size."""
    if len(class_n) <= n_cells:
        return np.arange(len(class_n))
    cap = _cap(np.bincount(class_n), n_cells)
    return np.sort(np.concatenate([cells[:cap] for cells in _by_class(class_n, generator)]))


def _cap(size_k: Int64s, n_cells: int) -> int:
    """The largest cap on each label with which at most ``n_cells`` remain, and at least 1."""
    low, high = 1, int(size_k.max())
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if np.minimum(size_k, middle).sum() <= n_cells else (low, middle - 1)
    return low


def _by_class(class_n: Int64s, generator: np.random.Generator) -> list[Int64s]:
    return [generator.permutation(np.flatnonzero(class_n == label)) for label in np.unique(class_n)]
