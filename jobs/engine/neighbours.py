"""Finds the k nearest cells of a reference, exactly: shortlists by matrix products, distances pair by pair."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

_SPARE = 16
"""Groups beyond the k nearest that are looked at in any case."""
_ROUNDOFF = {"highest": 2.0**-24, "high": 2.0**-11, "medium": 2.0**-8}
"""Unit roundoff of a float32 matrix product, by torch's setting. ``high`` may be TF32, ``medium`` bfloat16."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is computed at once. It changes the memory and the speed, and no result.

    Attributes:
        queries: Cells that are searched for at once.
        chunk: Reference cells that they are compared with at once: with 256 cells, 16 MB.
        group: The most reference cells that share one value of the shortlist; a divisor of the chunk.
        groups: So many values are enough: in a smaller reference, fewer cells share one.
        coordinates: Coordinates of shortlisted cells that are held at once: 24 MB.
    """

    queries: int = 256
    chunk: int = 16_384
    group: int = 32
    groups: int = 32_768
    coordinates: int = 1 << 21


@dataclass(frozen=True, slots=True)
class Nearest:
    """The k nearest reference cells of n cells, the nearest first; of equal distances, the first in the reference.

    Attributes:
        distance_nk: Euclidean distances, float64.
        place_nk: Positions in the reference, int64.
    """

    distance_nk: torch.Tensor
    place_nk: torch.Tensor


_USUAL = Sizes()


class NearestSearch(torch.nn.Module):
    """Exact search for the k nearest of R reference cells by Euclidean distance.

    A result's bytes depend on nothing but the cell and the reference: not on the other cells of the batch, on the
    number of threads or on the size of the chunks. Two steps:

    1. **Shortlist.** ``a = |r|² - 2·q·r`` in float32, by matrix products, orders the reference as the distance from
       ``q`` does, but for rounding. Of each group of reference cells, only the least ``a`` is kept. In whatever order
       a product is summed, ``a`` is off by at most ``e = 1.1·(d + 4)·u·(R² + 2·|q|·R)``, for d coordinates, the unit
       roundoff u and the largest norm R of a reference cell (Higham, Accuracy and Stability of Numerical Algorithms,
       2002, section 3.1, with the Cauchy-Schwarz inequality; 4 is for the rounding of q, of |r|², and of the sum).
       The k groups of least ``a`` hold k cells whose exact value is at most ``a_k + e``. So none of the k nearest
       cells is in a group with an ``a`` above ``a_k + 2·e``; all other groups are shortlisted.
    2. **Distances** of the shortlisted cells, in float64, each pair for itself. A longer shortlist than is needed gives
       the same result.

    The reference should be centred, as ``e`` grows with its norms, and the shortlist with ``e``.

    Args:
        reference_rd: Coordinates, R x d, float32. They are not copied.
        k: Number of neighbours, from 1 to R.

    Attributes:
        alive: Called as a sign of life whenever a query has been compared with a chunk.
    """

    reference_rd: torch.Tensor
    square_r: torch.Tensor

    def __init__(self, reference_rd: torch.Tensor, k: int, sizes: Sizes = _USUAL) -> None:
        super().__init__()
        assert reference_rd.dtype == torch.float32
        assert 1 <= k <= len(reference_rd)
        assert sizes.chunk % sizes.group == 0
        self.k = k
        self._sizes = sizes
        self._group = _shared_by(len(reference_rd), sizes)
        square_r = torch.empty(len(reference_rd))
        # A chunk at a time, into memory that is there already: a copy in float64 would be twice as large.
        for square_c, part_rd in zip(_parts(square_r, sizes.chunk), _parts(reference_rd, sizes.chunk), strict=True):
            square_c.copy_(part_rd.double().square().sum(dim=1))
        self._largest = float(square_r.double().max().sqrt())
        self.alive: Callable[[], None] = lambda: None
        self.register_buffer("reference_rd", reference_rd)
        self.register_buffer("square_r", square_r)

    @property
    def shortlisted(self) -> int:
        """The usual number of cells in a shortlist."""
        return min((self.k + _SPARE) * self._group, len(self.reference_rd))

    @property
    def cell_bytes(self) -> int:
        """An upper bound on the bytes that are allocated for a cell, unless a shortlist is unusually long."""
        n_reference, d = self.reference_rd.shape
        chunk = min(n_reference, self._sizes.chunk) if self._group > 1 else 0
        groups = n_reference // self._group + self._group
        return 4 * chunk + 4 * groups + 12 * (2 * self.k + _SPARE) + self.shortlisted * (20 * d + 120) + 48 * self.k

    def forward(self, query_nd: torch.Tensor) -> Nearest:
        """Find the nearest reference cells of n cells.

        Args:
            query_nd: Coordinates, n x d, float64, within the range of float32.
        """
        assert query_nd.dtype == torch.float64
        found = [self._tile(tile_nd) for tile_nd in _parts(query_nd, self._sizes.queries)]
        return Nearest(torch.cat([one.distance_nk for one in found]), torch.cat([one.place_nk for one in found]))

    def _tile(self, query_nd: torch.Tensor) -> Nearest:
        least_ng = self._least(query_nd.float())
        group_nm = self._shortlist(least_ng, query_nd)
        del least_ng
        n_rows = max(1, self._sizes.coordinates // (group_nm.shape[1] * self._group * query_nd.shape[1]))
        pairs = zip(_parts(query_nd, n_rows), _parts(group_nm, n_rows), strict=True)
        found = [self._ranked(*pair) for pair in pairs]
        return Nearest(torch.cat([one.distance_nk for one in found]), torch.cat([one.place_nk for one in found]))

    def _least(self, query_nd: torch.Tensor) -> torch.Tensor:
        """The least ``|r|² - 2·q·r`` of each group, n x groups, float32.

        A chunk of the reference has C / group groups, each of every (C / group)-th cell: so the least of all groups
        are computed side by side.
        """
        n_reference, width = len(self.reference_rd), self._sizes.chunk // self._group
        if self._group == 1:
            return torch.addmm(self.square_r, query_nd, self.reference_rd.T, alpha=-2)
        n_chunks = -(-n_reference // self._sizes.chunk)
        least_ng = query_nd.new_empty(len(query_nd), n_chunks * width)
        chunk_nc = query_nd.new_empty(len(query_nd), self._sizes.chunk)
        for place in range(n_chunks):
            self.alive()
            rows = slice(place * self._sizes.chunk, min((place + 1) * self._sizes.chunk, n_reference))
            n_rows = rows.stop - rows.start
            if n_rows < self._sizes.chunk:
                chunk_nc.fill_(torch.inf)
            torch.addmm(self.square_r[rows], query_nd, self.reference_rd[rows].T, alpha=-2, out=chunk_nc[:, :n_rows])
            groups = slice(place * width, (place + 1) * width)
            torch.amin(chunk_nc.view(-1, self._group, width), dim=1, out=least_ng[:, groups])
        return least_ng

    def _shortlist(self, least_ng: torch.Tensor, query_nd: torch.Tensor) -> torch.Tensor:
        """The groups that can hold one of the k nearest cells of each of n cells, and perhaps others."""
        n_groups, d = least_ng.shape[1], query_nd.shape[1]
        n_taken = min(self.k + _SPARE, n_groups)
        kept_nm, group_nm = least_ng.topk(n_taken, largest=False)
        norm_n = torch.linalg.vector_norm(query_nd, dim=1)
        roundoff = _ROUNDOFF[torch.get_float32_matmul_precision()]
        error_n = 1.1 * (d + 4) * roundoff * (self._largest**2 + 2 * norm_n * self._largest)
        reach_n = kept_nm[:, min(self.k, n_groups) - 1].double() + 2 * error_n
        if n_taken == n_groups or bool((kept_nm[:, -1] > reach_n).all()):
            return group_nm
        n_needed = int((least_ng <= reach_n[:, None]).sum(dim=1).max())
        return least_ng.topk(max(n_needed, n_taken), largest=False).indices

    def _ranked(self, query_nd: torch.Tensor, group_nm: torch.Tensor) -> Nearest:
        """The k nearest of the cells of some groups."""
        place_nm = self._members(group_nm).sort(dim=1).values
        n_at_once = max(self.k, self._sizes.coordinates // max(1, query_nd.numel()))
        best: Nearest | None = None
        for part_mn in _parts(place_nm.T, n_at_once):
            self.alive()
            best = self._nearer(best, query_nd, part_mn.T)
        assert best is not None
        return best

    def _members(self, group_nm: torch.Tensor) -> torch.Tensor:
        """The cells of some groups; beyond the last one, R."""
        if self._group == 1:
            return group_nm
        width = self._sizes.chunk // self._group
        first_nm = group_nm.div(width, rounding_mode="floor") * self._sizes.chunk + group_nm % width
        step_g = torch.arange(self._group, device=group_nm.device) * width
        return (first_nm[:, :, None] + step_g).flatten(1).clamp_(max=len(self.reference_rd))

    def _nearer(self, best: Nearest | None, query_nd: torch.Tensor, place_nm: torch.Tensor) -> Nearest:
        """The k nearest of the best so far and some cells that come later in the reference."""
        n_reference = len(self.reference_rd)
        there_nmd = self.reference_rd[place_nm.clamp(max=n_reference - 1)].double()
        # Without a matrix product: its order of summation depends on the number of rows and threads.
        away_nm = torch.cdist(query_nd[:, None], there_nmd, compute_mode="donot_use_mm_for_euclid_dist")[:, 0]
        away_nm = away_nm.masked_fill_(place_nm == n_reference, torch.inf)
        if best is not None:
            away_nm = torch.cat([best.distance_nk, away_nm], dim=1)
            place_nm = torch.cat([best.place_nk, place_nm], dim=1)
        away_nm, order_nm = away_nm.sort(dim=1, stable=True)
        return Nearest(away_nm[:, : self.k], place_nm.gather(1, order_nm[:, : self.k]))


def _shared_by(n_reference: int, sizes: Sizes) -> int:
    """How many reference cells share one value of the shortlist: as few as the number of values allows.

    All cells of a shortlisted group are compared exactly, which takes longer than to choose among more groups (k = 50,
    100,000 x 50 reference cells, one thread: groups of 4 take half the time of groups of 32; 2026-11-30).
    """
    divisors = (size for size in range(1, sizes.group + 1) if sizes.group % size == 0)
    return next((size for size in divisors if n_reference <= size * sizes.groups), sizes.group)


def _parts(rows: torch.Tensor, size: int) -> list[torch.Tensor]:
    """Consecutive rows, ``size`` at a time; at least one part."""
    return [rows[start : start + size] for start in range(0, max(len(rows), 1), size)]
