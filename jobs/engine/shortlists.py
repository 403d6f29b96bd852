"""Lists the reference cells that can be among the nearest ones, by coordinates rounded to whole numbers."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from jobs.engine import native
from jobs.engine.workers import Workers

_CHUNK = 4_096
"""Reference cells that are rounded at once: of 50 coordinates, 400 kB."""
_SHARE = 512
"""The most queries that a thread compares with them at once: of 50 coordinates, 50 kB."""
_SPARE = 64
_FURTHEST, _FURTHEST_QUERY = 20_000.0, 32_767.0
"""Norms of rounded reference cells and queries: no value takes more than 32 bits, nor a coordinate more than 16."""
_LARGEST = 1e30
"""Norms and scales up to here overflow nowhere in float32."""
_MOST_COORDINATES = 1 << 16
_SLACK = 2.02


@dataclass(frozen=True, slots=True)
class RoundedReference:
    """A reference whose cells are compared with queries in whole numbers of 16 bits.

    They are multiplied faster than floating point, and exactly. Cells are given about the reference's centre, in such a
    unit that the furthest is 20,000 from it. Rounding changes a coordinate by at most 0.505 (0.005 are for arithmetic
    in float32 before it), so a cell is moved by at most ``0.505·√d``, for d coordinates, and the distance of two cells
    changes by at most ``1.01·√d`` (triangle inequality). So k cells are at most ``1.01·√d`` further away than the k-th
    of the rounded distances, and none of the k nearest has a rounded distance that is larger than that by more than
    ``2.02·√d``. All cells that have no larger one are listed.

    It is done in one pass, which keeps for each query the k-th least distance so far, and cells up to the limit that
    follows from it. There is no list for a query further than 32,767 from the centre, and where at some
    time more than 2k + 32 of the cells compared so far can be among the k nearest.

    Attributes:
        n_reference: R.
        centre_d: The centre, float32.
        scale: Units in a coordinate's 1.
        k: Number of neighbours, from 1 to R.
    """

    n_reference: int
    centre_d: torch.Tensor
    scale: float
    k: int

    @classmethod
    def of(cls, reference_rd: torch.Tensor, k: int) -> RoundedReference | None:
        """None where the loops are not there, or the cells cannot be rounded so.

        Args:
            reference_rd: Coordinates, R x d, float32, on the CPU. They are not kept.
        """
        n_reference, d = reference_rd.shape
        if not native.available() or d > _MOST_COORDINATES or n_reference > native.MOST - _CHUNK:
            return None
        # Of some cells: any centre gives the same result.
        centre_d = reference_rd[:: max(1, n_reference // _CHUNK)].double().mean(dim=0).float()
        parts = [reference_rd[first : first + _CHUNK] for first in range(0, n_reference, _CHUNK)]
        squares = [(part_rd.double() - centre_d).square().sum(dim=1).max() for part_rd in parts]
        furthest = float(torch.stack(squares).max().sqrt())
        if not furthest <= _LARGEST:
            return None
        scale = min(_FURTHEST / furthest, _LARGEST) if furthest > 0 else 1.0
        return cls(n_reference, centre_d, ctypes.c_float(scale).value, k)

    @property
    def _room(self) -> int:
        return 2 * self.k + _SPARE

    @property
    def query_bytes(self) -> int:
        """An upper bound on the bytes that are allocated for a query; a chunk of the reference is beside it."""
        return 8 * self._room + 32 * len(self.centre_d) + 64

    def lists(
        self, reference_rd: torch.Tensor, query_nd: torch.Tensor, workers: Workers, alive: Callable[[], None]
    ) -> native.Lists:
        """The lists of n queries.

        Args:
            reference_rd: The reference.
            query_nd: Coordinates, n x d, float64.
            alive: Called as a sign of life whenever they have been compared with a chunk.
        """
        lists, shares = self._empty(query_nd), workers.shares(len(query_nd), _SHARE, native.QUERIES)
        for first in range(0, self.n_reference, _CHUNK):
            alive()
            chunk = native.pack(reference_rd[first : first + _CHUNK], self.centre_d, self.scale)
            for _ in workers.each(partial(native.compare, lists, chunk, first), shares):
                pass
        for share in shares:
            native.settle(lists, share)
        return lists

    def _empty(self, query_nd: torch.Tensor) -> native.Lists:
        """Lists of n queries before any cell has been compared; those of queries too far away take none."""
        n, d = query_nd.shape
        n_blocks, n_pairs = -(-n // native.QUERIES), -(-d // 2)
        rounded_nd = (query_nd - self.centre_d).mul_(self.scale).round_()
        square_n = rounded_nd.square().sum(dim=1)
        near_n = square_n <= _FURTHEST_QUERY**2
        n_rows = n_blocks * native.QUERIES
        query_nd16 = torch.zeros((n_rows, 2 * n_pairs), dtype=torch.int16)
        query_nd16[:n, :d] = rounded_nd.neg_().where(near_n[:, None], 0.0)
        query_bqp = query_nd16.view(torch.int32).view(n_blocks, native.QUERIES, n_pairs)
        below_n = torch.full((n_rows,), native.LEAST, dtype=torch.int32)
        below_n[:n].masked_fill_(near_n, native.MOST)
        return native.Lists(
            query_bpq=query_bqp.transpose(1, 2).contiguous(),
            square_n=square_n.where(near_n, 0.0).int(),
            below_n=below_n,
            count_n=near_n.int() - 1,
            value_nm=torch.empty((n_rows, self._room), dtype=torch.int32),
            place_nm=torch.empty((n_rows, self._room), dtype=torch.int32),
            k=self.k,
            slack=_SLACK * d**0.5,
        )
