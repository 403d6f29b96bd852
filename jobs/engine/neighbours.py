"""Finds the k nearest cells of a reference, exactly: shortlists by matrix products, distances pair by pair."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import torch

from jobs.engine import native
from jobs.engine.shortlists import RoundedReference
from jobs.engine.workers import workers

_SPARE = 16
"""Groups beyond the k nearest that are looked at in any case."""
_LEAST, _MOST = 2.0**-125, 2.0**126
"""Squares and products of at least and at most as much are computed: a float32 overflows at 2^128."""
_ROUNDOFF = {"highest": 2.0**-24, "high": 2.0**-11, "medium": 2.0**-8}
"""Unit roundoff of a float32 matrix product, by torch's setting. ``high`` may be TF32, ``medium`` bfloat16."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is computed at once. It changes the memory and the speed, and no result.

    Attributes:
        queries: Cells that are searched for at once.
        chunk: Reference cells that they are compared with at once: with 256 cells, 4 MB, which a CPU's cache holds.
        group: The most reference cells that share one value of the shortlist; a divisor of the chunk.
        groups: So many values are enough: in a smaller reference, fewer cells share one.
        coordinates: Coordinates of shortlisted cells that are held at once: 1.5 MB.
    """

    queries: int = 256
    chunk: int = 4_096
    group: int = 32
    groups: int = 32_768
    coordinates: int = 1 << 17


@dataclass(frozen=True, slots=True)
class Nearest:
    """The k nearest reference cells of n cells, the nearest first; of equal distances, the first in the reference.

    Attributes:
        distance_nk: Euclidean distances, float64.
        place_nk: Positions in the reference, int64.
    """

    distance_nk: torch.Tensor
    place_nk: torch.Tensor


_ON_CPU = Sizes()
_ON_GPU = Sizes(chunk=16_384, coordinates=1 << 21)
"""Few large operations: 16 MB and 24 MB."""


class NearestSearch(torch.nn.Module):
    """Exact search for the k nearest of R reference cells by Euclidean distance.

    A result's bytes depend on nothing but the cell and the reference: not on the other cells of the batch, on the
    number of threads, on the size of the chunks or on how the shortlist is made. Two steps:

    1. **Shortlist.** ``a = |r|² - 2·q·r`` in float32, by matrix products, orders the reference as the distance from
       ``q`` does, but for rounding. Of each group of reference cells, only the least ``a`` is kept. In whatever order
       a product is summed, ``a`` is off by at most ``e = 1.1·(d + 4)·u·(R² + 2·|q|·R)``, for d coordinates, the unit
       roundoff u and the largest norm R of a reference cell (Higham, Accuracy and Stability of Numerical Algorithms,
       2002, section 3.1, with the Cauchy-Schwarz inequality; 4 is for the rounding of q, of |r|², and of the sum),
       and by ``1.1·(d + 4)·2^-125`` more, as numbers below 2^-126 may count as 0. Where ``a`` may overflow, the whole
       reference is shortlisted.
       The k groups of least ``a`` hold k cells whose exact value is at most ``a_k + e``. So none of the k nearest
       cells is in a group with an ``a`` above ``a_k + 2·e``; all other groups are shortlisted.

       On a CPU, ``RoundedReference`` makes shortlists in a quarter of the time, where its loops are compiled.
    2. **Distances** of the shortlisted cells, in float64, each pair for itself. A longer shortlist than is needed gives
       the same result.

    The reference should be centred, as ``e`` grows with its norms, and the shortlist with ``e``.

    Args:
        reference_rd: Coordinates, R x d, float32. They are not copied.
        k: Number of neighbours, from 1 to R.
        sizes: None for what suits the device.
        compiled: Whether compiled loops are used where they can be.

    Attributes:
        alive: Called as a sign of life, in the thread that searches, whenever queries have been compared with a chunk.
    """

    reference_rd: torch.Tensor
    square_r: torch.Tensor

    def __init__(
        self, reference_rd: torch.Tensor, k: int, sizes: Sizes | None = None, *, compiled: bool = True
    ) -> None:
        super().__init__()
        assert reference_rd.dtype == torch.float32
        assert 1 <= k <= len(reference_rd)
        self.k = k
        self._given = sizes
        self.register_buffer("reference_rd", reference_rd)
        assert self._sizes.chunk % self._sizes.group == 0
        self._group = _shared_by(len(reference_rd), self._sizes)
        self._rounded = RoundedReference.of(reference_rd, k) if compiled else None
        square_r = torch.empty(len(reference_rd))
        # A chunk at a time, into memory that is there already: a copy in float64 would be twice as large.
        chunk = self._sizes.chunk
        for square_c, part_rd in zip(_parts(square_r, chunk), _parts(reference_rd, chunk), strict=True):
            square_c.copy_(part_rd.double().square().sum(dim=1))
        self._largest = float(square_r.double().max().sqrt())
        self.alive: Callable[[], None] = _nothing
        self.register_buffer("square_r", square_r)

    @property
    def _sizes(self) -> Sizes:
        return self._given or (_ON_GPU if self.reference_rd.is_cuda else _ON_CPU)

    @property
    def shortlisted(self) -> int:
        """The usual number of cells in a shortlist."""
        return min((self.k + _SPARE) * self._group, len(self.reference_rd))

    @property
    def cell_bytes(self) -> int:
        """An upper bound on the bytes that are allocated for a cell, unless a shortlist is unusually long."""
        n_reference, d = self.reference_rd.shape
        # The device is not known yet.
        chunk = min(n_reference, (self._given or _ON_GPU).chunk) if self._group > 1 else 0
        groups = n_reference // self._group + self._group
        listed = self._rounded.query_bytes if self._rounded else 0
        ranked = self.shortlisted * (20 * d + 120) + 48 * self.k
        return 4 * chunk + 4 * groups + 12 * (2 * self.k + _SPARE) + listed + ranked

    def forward(self, query_nd: torch.Tensor) -> Nearest:
        """Find the nearest reference cells of n cells.

        Args:
            query_nd: Coordinates, n x d, float64, within the range of float32.
        """
        assert query_nd.dtype == torch.float64
        if self._rounded is None or self.reference_rd.is_cuda or not len(query_nd):
            return self._by_products(query_nd)
        return self._by_rounding(self._rounded, query_nd)

    def _by_rounding(self, rounded: RoundedReference, query_nd: torch.Tensor) -> Nearest:
        with workers(torch.get_num_threads()) as threads:
            lists = rounded.lists(self.reference_rd, query_nd, threads, self.alive)
            n_rows = max(1, self._sizes.coordinates // ((self.k + _SPARE) * query_nd.shape[1]))
            found = threads.each(partial(self._listed, lists, query_nd), threads.shares(len(query_nd), n_rows, 1))
            nearest = _joined(self._living(found))
        unlisted_n = lists.count_n < 0
        if bool(unlisted_n.any()):
            other = self._by_products(query_nd[unlisted_n])
            nearest.distance_nk[unlisted_n], nearest.place_nk[unlisted_n] = other.distance_nk, other.place_nk
        return nearest

    def _listed(self, lists: native.Lists, query_nd: torch.Tensor, rows: slice) -> Nearest:
        """The k nearest cells of those that are listed for some queries; of queries without a list, any."""
        count_n = lists.count_n[rows, None]
        place_nm = lists.place_nm[rows, : max(self.k, int(count_n.max()))]
        is_there_nm = torch.arange(place_nm.shape[1]) < count_n
        return self._nearer(None, query_nd[rows], place_nm.where(is_there_nm, len(self.reference_rd)).long())

    def _by_products(self, query_nd: torch.Tensor) -> Nearest:
        with workers(1 if self.reference_rd.is_cuda else torch.get_num_threads()) as threads:
            # Signs of life are given by this thread.
            alive = self.alive if threads.n_threads == 1 else _nothing
            shares = threads.shares(len(query_nd), self._sizes.queries, 1)
            return _joined(self._living(threads.each(lambda rows: self._tile(query_nd[rows], alive), shares)))

    def _living(self, found: Iterable[Nearest]) -> Iterator[Nearest]:
        for one in found:
            self.alive()
            yield one

    def _tile(self, query_nd: torch.Tensor, alive: Callable[[], None]) -> Nearest:
        least_ng = self._least(query_nd.float(), alive)
        group_nm = self._shortlist(least_ng, query_nd)
        del least_ng
        n_rows = max(1, self._sizes.coordinates // (group_nm.shape[1] * self._group * query_nd.shape[1]))
        pairs = zip(_parts(query_nd, n_rows), _parts(group_nm, n_rows), strict=True)
        return _joined([self._ranked(*pair, alive) for pair in pairs])

    def _least(self, query_nd: torch.Tensor, alive: Callable[[], None]) -> torch.Tensor:
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
            alive()
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
        error_n = 1.1 * (d + 4) * (roundoff * (self._largest**2 + 2 * norm_n * self._largest) + _LEAST)
        reach_n = kept_nm[:, min(self.k, n_groups) - 1].double() + 2 * error_n
        in_range = bool(((norm_n + self._largest).square() < _MOST).all())
        if n_taken == n_groups or (in_range and bool((kept_nm[:, -1] > reach_n).all())):
            return group_nm
        n_needed = int((least_ng <= reach_n[:, None]).sum(dim=1).max()) if in_range else n_groups
        return least_ng.topk(max(n_needed, n_taken), largest=False).indices

    def _ranked(self, query_nd: torch.Tensor, group_nm: torch.Tensor, alive: Callable[[], None]) -> Nearest:
        """The k nearest of the cells of some groups."""
        place_nm = self._members(group_nm).sort(dim=1).values
        n_at_once = max(self.k, self._sizes.coordinates // max(1, query_nd.numel()))
        best: Nearest | None = None
        for part_mn in _parts(place_nm.T, n_at_once):
            alive()
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
        there_md = self.reference_rd.index_select(0, place_nm.clamp(max=n_reference - 1).flatten())
        there_nmd = there_md.double().view(*place_nm.shape, query_nd.shape[1])
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


def _nothing() -> None:
    """Is nobody's sign of life."""


def _joined(found: Iterable[Nearest]) -> Nearest:
    parts = list(found)
    return Nearest(torch.cat([one.distance_nk for one in parts]), torch.cat([one.place_nk for one in parts]))


def _parts(rows: torch.Tensor, size: int) -> list[torch.Tensor]:
    """Consecutive rows, ``size`` at a time; at least one part."""
    return [rows[start : start + size] for start in range(0, max(len(rows), 1), size)]
