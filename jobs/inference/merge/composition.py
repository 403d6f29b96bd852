"""The shares of the labels in a sample, by which its scores are corrected (label shift)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float64s = npt.NDArray[np.float64]
Float32s = npt.NDArray[np.float32]

PRIOR_CELLS = 50
"""The weight of the assumed shares, in cells: a handful of cells says little about shares."""
MOST_BYTES = 16 * 2**20
"""The memory for the scores that shares are estimated from. Of a sample with more, every k-th cell is used."""
_MOST_STEPS = 1000
_CLOSE = 1e-6
_DIGITS = 6
_ROWS = 4096


@dataclass(frozen=True, slots=True)
class Composition:
    """The estimated shares.

    Attributes:
        share_l: The share of each label, rounded to millionths, and at least a millionth.
        factor_l: By what the probabilities of each label are multiplied, before they are scaled to add up to 1.
        n_cells: The number of cells that were used.
    """

    share_l: tuple[float, ...]
    factor_l: tuple[float, ...]
    n_cells: int

    def by_name(self, names: Sequence[str]) -> dict[str, float]:
        """The share of each name, the largest first. Labels may share a name."""
        shares: dict[str, float] = {}
        for name, share in zip(names, self.share_l, strict=True):
            shares[name] = round(shares.get(name, 0.0) + share, _DIGITS)
        return dict(sorted(shares.items(), key=lambda item: (-item[1], item[0])))


def estimate(
    pieces: Iterable[tuple[Float32s, npt.NDArray[np.bool_]]],
    assumed: Sequence[float],
    n_cells: int,
    beat: Callable[[], None] = lambda: None,
) -> Composition:
    """Estimate the shares of the labels by expectation maximisation.

    Saerens, Latinne and Decaestecker, Neural Computation 14 (2002): with the model's probabilities ``p`` and the shares
    ``a`` that they assume, repeat ``q_il ∝ p_il·π_l / a_l`` and ``π_l = mean over cells of q_il``. Here, the mean has
    ``PRIOR_CELLS`` further cells with the assumed shares (a Dirichlet prior). The likelihood is concave, so there is
    one maximum. It stops where no share changes by a millionth, or after 1,000 steps. The result is the same for any
    number of tasks, as the pieces do not depend on it.

    Args:
        pieces: Probabilities, cells x labels, with a mark for the cells to use, in row order.
        assumed: The shares that the probabilities assume.
        n_cells: Number of cells in all pieces.
    """
    assumed_l = np.asarray(assumed)
    step = max(1, -(-n_cells * len(assumed) * 4 // MOST_BYTES))
    kept: list[Float32s] = []
    row = 0
    for probability_nl, used_n in pieces:
        used = np.flatnonzero(used_n & ((np.arange(row, row + len(used_n)) % step) == 0))
        kept.append(probability_nl[used] if len(used) < len(used_n) else probability_nl)
        row += len(used_n)
        beat()
    n_used = sum(map(len, kept))
    share_l = assumed_l
    for _ in range(_MOST_STEPS):
        beat()
        sum_l = PRIOR_CELLS * assumed_l
        for probability_nl in kept:
            weighed_nl = probability_nl * (share_l / assumed_l)
            weighed_nl /= weighed_nl.sum(axis=1, keepdims=True)
            sum_l = sum_l + weighed_nl.sum(axis=0)
        before_l, share_l = share_l, sum_l / (PRIOR_CELLS + n_used)
        if np.abs(share_l - before_l).max() < _CLOSE:
            break
    rounded_l = np.maximum(np.round(share_l, _DIGITS), 10.0**-_DIGITS)
    return Composition(tuple(rounded_l.tolist()), tuple((rounded_l / assumed_l).tolist()), n_used)


def corrected(probability_nl: Float32s, factor: Sequence[float]) -> Float32s:
    """Correct probabilities by the factors of a composition, cells x labels; each row adds up to 1."""
    factor_l, corrected_nl = np.asarray(factor), np.empty_like(probability_nl)
    for start in range(0, len(probability_nl), _ROWS):  # Only so many rows are held in float64.
        weighed_nl = probability_nl[start : start + _ROWS] * factor_l
        corrected_nl[start : start + _ROWS] = weighed_nl / weighed_nl.sum(axis=1, keepdims=True)
    return corrected_nl
