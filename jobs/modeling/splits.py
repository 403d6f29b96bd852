"""Random splits of labelled cells, stratified by label and reproducible from a seed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def hold_out(class_n: Int64s, share: float, generator: np.random.Generator) -> Bools:
    """Mark the cells to hold out: ``share`` of each label, rounded, but at least one and never all; bool."""
    held_n = np.zeros(len(class_n), dtype=bool)
    for cells in _by_class(class_n, generator):
        held_n[cells[: min(max(round(len(cells) * share), 1), len(cells) - 1)]] = True
    return held_n


def folds(class_n: Int64s, n_folds: int, generator: np.random.Generator) -> Int64s:
    """The fold of each cell, from 0 to ``n_folds`` - 1. Each label is spread evenly over the folds."""
    fold_n = np.zeros(len(class_n), dtype=np.int64)
    offset = 0
    for cells in _by_class(class_n, generator):
        fold_n[cells] = (offset + np.arange(len(cells))) % n_folds
        offset += len(cells)
    return fold_n


def at_most(class_n: Int64s, n_cells: int, generator: np.random.Generator) -> Int64s:
    """Positions of at most ``n_cells`` cells, ascending: all cells of rare labels, and equally many of the others."""
    if len(class_n) <= n_cells:
        return np.arange(len(class_n))
    cap = _cap(np.bincount(class_n), n_cells)
    return np.sort(np.concatenate([cells[:cap] for cells in _by_class(class_n, generator)]))


def _cap(size_k: Int64s, n_cells: int) -> int:
    """The largest cap on the cells of a label for which at most ``n_cells`` remain; at least 1."""
    low, high = 1, int(size_k.max())
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if np.minimum(size_k, middle).sum() <= n_cells else (low, middle - 1)
    return low


def _by_class(class_n: Int64s, generator: np.random.Generator) -> list[Int64s]:
    return [generator.permutation(np.flatnonzero(class_n == label)) for label in np.unique(class_n)]
