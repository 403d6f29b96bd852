"""Clusters of cells with similar expression: many small ones (over-clustering), found in a sample of the cells.

All distances are between whole numbers and exact: the same coordinates give the same clusters on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Int16s = npt.NDArray[np.int16]
Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]

LEAST_CELLS = 200
"""The fewest cells that are clustered. Of fewer, many clusters would be of one or two cells."""
SAMPLE_CELLS = 6000
"""The most cells that clusters are found in. Then every cell joins the cluster whose centre is nearest."""
NEIGHBOURS = 10
_RESOLUTIONS = ((5_000, 5.0), (20_000, 10.0), (40_000, 15.0), (100_000, 20.0), (200_000, 25.0))
"""For files of fewer cells, as in CellTypist's over-clustering."""
_FINEST = 30.0
_ROWS = 512
_SEARCHED_ROWS = 64
_STACK = 16
"""Cells in a stack: few enough that the fewest cells that are clustered are more than 10 stacks."""


@dataclass(frozen=True, slots=True)
class Clusters:
    """The clusters of all cells of a file, and how their cells voted. Axis ``c`` is the clusters.

    Attributes:
        names: Distinct.
        code_n: The cluster of each cell; -1 without one.
        votes_cl: The number of cells by cluster and label, with the labels of ``Vocabulary.names``.
        label_c: The label that each cluster's vote gives, as a position in ``Vocabulary.names``.
        unfamiliar_c: The number of unfamiliar cells.
        agreeing_c: The number of cells that agree with the vote: with this label themselves or, if it is Unassigned,
            unassigned or unfamiliar.
        column: The column of obs that the clusters are from; None for those found by expression.
    """

    names: tuple[str, ...]
    code_n: Int32s
    votes_cl: Int64s
    label_c: Int64s
    unfamiliar_c: Int64s
    agreeing_c: Int64s
    column: str | None = None

    @property
    def cells_c(self) -> Int64s:
        """The number of cells."""
        total_c: Int64s = self.votes_cl.sum(axis=1)
        return total_c

    @property
    def share_c(self) -> npt.NDArray[np.float32]:
        """The share of cells that agree with the vote."""
        return (self.agreeing_c / np.maximum(self.cells_c, 1)).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Membership:
    """The clusters of some cells; ``code_n`` is their part of ``Clusters.code_n``."""

    code_n: Int32s
    clusters: Clusters


def sample_stride(n_cells: int) -> int:
    """The distance between the rows that clusters are found in."""
    return max(1, -(-n_cells // SAMPLE_CELLS))


def centres_of(place_nd: Int16s, n_cells: int | None = None) -> Float64s | None:
    """Find clusters of sampled cells: their centres, rounded to whole numbers; None if there are too few cells.

    The graph joins each cell with its 10 nearest cells, with the share of neighbours in common as the weight of an edge
    (Jaccard index, as in PhenoGraph: Levine et al., Cell 162, 2015), and is partitioned by the Leiden algorithm (Traag,
    Waltman and van Eck, Scientific Reports 9, 2019) at the resolution of CellTypist's over-clustering.

    Args:
        place_nd: Coordinates of the sampled cells.
        n_cells: Number of cells of the file; None: all are sampled.
    """
    from graspologic_native import leiden_csr  # noqa: PLC0415  # only merges with clusters need it

    n_sampled = len(place_nd)
    if n_sampled < LEAST_CELLS:
        return None
    n_cells = n_sampled if n_cells is None else n_cells
    indptr, indices, weights = _graph(_neighbours(place_nd.astype(np.float64)))
    resolution = next((value for most, value in _RESOLUTIONS if n_cells < most), _FINEST)
    _, found = leiden_csr(indptr, indices, weights, n_sampled, resolution=resolution, seed=0)
    code_n = np.array([found[cell] for cell in range(n_sampled)])
    cells_c = np.bincount(code_n)
    sums_dc = [np.bincount(code_n, place_n) for place_n in place_nd.T]
    kept = cells_c > 0
    centre_cd: Float64s = np.rint(np.stack([sum_c[kept] / cells_c[kept] for sum_c in sums_dc], axis=1))
    return np.unique(centre_cd, axis=0)


def nearest(place_nd: Int16s, centre_cd: Float64s) -> Int64s:
    """The nearest centre of each cell, the first of several."""
    codes = [np.zeros(0, np.int64)]
    square_c = (centre_cd**2).sum(axis=1)
    for start in range(0, len(place_nd), _ROWS):
        # The squared distances, less a number for each cell.
        distance_nc = square_c - 2 * (place_nd[start : start + _ROWS].astype(np.float64) @ centre_cd.T)
        codes.append(distance_nc.argmin(axis=1))
    return np.concatenate(codes)


def _neighbours(place_nd: Float64s) -> Int64s:
    """The nearest other cells of each cell, sorted by position; of equally distant ones, the first.

    The cells are dealt into stacks. The 10 nearest of a cell are in the 10 stacks with the nearest cells, so that only
    these are searched.
    """
    n_cells = len(place_nd)
    n_stacks = -(-n_cells // _STACK)
    # A cell's distance and position in one whole number: no two are equal, and all are below 2^53.
    other_md = np.zeros((n_stacks * _STACK, place_nd.shape[1]))
    other_md[:n_cells] = -2.0 * n_cells * place_nd
    rank_m = np.full(len(other_md), np.inf)
    rank_m[:n_cells] = (place_nd**2).sum(axis=1) * n_cells + np.arange(n_cells)
    found = []
    for start in range(0, n_cells, _SEARCHED_ROWS):
        rank_nm = place_nd[start : start + _SEARCHED_ROWS] @ other_md.T + rank_m
        n_rows = len(rank_nm)
        rank_nm[np.arange(n_rows), np.arange(start, start + n_rows)] = np.inf
        least_ns = rank_nm.reshape(n_rows, _STACK, n_stacks).min(axis=1)
        stack_nk = np.argpartition(least_ns, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
        searched_nm = (stack_nk[:, None, :] + n_stacks * np.arange(_STACK)[:, None]).reshape(n_rows, -1)
        nearest_nk = np.argpartition(np.take_along_axis(rank_nm, searched_nm, 1), NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
        found.append(np.sort(np.take_along_axis(searched_nm, nearest_nk, 1), axis=1))
    return np.concatenate(found)


def _graph(neighbour_nk: Int64s) -> tuple[Int64s, Int32s, Float64s]:
    """The weighted graph as the arrays of a symmetric CSR matrix."""
    n_cells, k = neighbour_nk.shape
    own_nk = np.concatenate([neighbour_nk, np.arange(n_cells)[:, None]], axis=1)
    from_e, to_e = np.repeat(np.arange(n_cells), k), neighbour_nk.reshape(-1)
    common_e = np.concatenate(
        [
            (own_nk[from_e[at : at + _ROWS * k], :, None] == own_nk[to_e[at : at + _ROWS * k], None, :]).sum((1, 2))
            for at in range(0, len(from_e), _ROWS * k)
        ]
    )
    weight_e = common_e / (2 * (k + 1) - common_e)
    key_e = np.concatenate([from_e * n_cells + to_e, to_e * n_cells + from_e])
    key_u, first_u = np.unique(key_e, return_index=True)
    indptr = np.searchsorted(key_u, np.arange(n_cells + 1) * n_cells)
    return indptr.astype(np.int64), (key_u % n_cells).astype(np.int32), np.tile(weight_e, 2)[first_u]
