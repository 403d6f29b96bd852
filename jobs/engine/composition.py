"""The shares of the labels in a sample, by which its scores are corrected (label shift)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from jobs.engine.keeping import CellGroups, SampleScores
from jobs.engine.sampling import every

Float64s = npt.NDArray[np.float64]
Float32s = npt.NDArray[np.float32]
Rows: TypeAlias = slice | npt.NDArray[np.int64]
_ALL = slice(None)

PRIOR_CELLS = 50
"""The weight of the assumed shares, in cells: a handful of cells says little about shares."""
MOST_BYTES = 16 * 2**20
"""The memory for the scores that shares are estimated from. Of a sample with more, every k-th cell is used."""
MOST_SAMPLE_BYTES = 64 * 2**20
"""The same for all samples together, if a column names samples."""
_MOST_STEPS = 1000
_CLOSE = 1e-6
_DIGITS = 6
_ROWS = 4096


@dataclass(frozen=True, slots=True)
class Samples:
    """The shares of the labels in each of several samples. Axis ``s`` is the samples.

    Attributes:
        column: The obs column that names them.
        code_n: The sample of each cell of the file; -1 without one.
        share_sl: As ``Composition.share_l``.
        factor_sl: As ``Composition.factor_l``.
        n_cells_s: The number of cells of each that were used.
    """

    column: str
    names: tuple[str, ...]
    code_n: npt.NDArray[np.int32]
    share_sl: Float64s
    factor_sl: Float64s
    n_cells_s: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Composition:
    """The estimated shares.

    Attributes:
        share_l: The share of each label, rounded to millionths, and at least a millionth.
        factor_l: By what the probabilities of each label are multiplied, before they are scaled to add up to 1.
        n_cells: The number of cells that were used.
        information: How much their probabilities, before they are corrected, say of these cells: the mean relative
            entropy to the assumed shares, by what it is for certain labels with these shares (nats by nats). 0 if
            nothing, about 1 if all; None without cells.
        samples: The shares of each sample, by which its cells are corrected; None if the file is taken as one.
    """

    share_l: tuple[float, ...]
    factor_l: tuple[float, ...]
    n_cells: int
    information: float | None = None
    samples: Samples | None = None

    def corrected(self, probability_nl: Float32s, row_n: Rows = _ALL) -> Float32s:
        """Correct the probabilities of the cells in these rows, cells x labels."""
        if self.samples is None:
            return corrected(probability_nl, self.factor_l)
        # The last row is that of cells without a sample, whose code is -1.
        factor_sl = np.concatenate([self.samples.factor_sl, [self.factor_l]])
        return corrected(probability_nl, factor_sl, self.samples.code_n[row_n])

    def by_name(self, names: Sequence[str]) -> dict[str, float]:
        """The share of each name, the largest first. Labels may share a name."""
        return _by_name(names, self.share_l)

    def by_sample(self, names: Sequence[str]) -> dict[str, dict[str, float]] | None:
        """The same for each sample; None if the file is taken as one."""
        if self.samples is None:
            return None
        pairs = zip(self.samples.names, self.samples.share_sl.tolist(), strict=True)
        return {sample: _by_name(names, share_l) for sample, share_l in pairs}

    @property
    def cells_by_sample(self) -> dict[str, int] | None:
        """The number of cells that each sample's shares were estimated from; None if the file is taken as one."""
        return None if self.samples is None else dict(zip(self.samples.names, self.samples.n_cells_s, strict=True))


def _by_name(names: Sequence[str], share_l: Sequence[float]) -> dict[str, float]:
    shares: dict[str, float] = {}
    for name, share in zip(names, share_l, strict=True):
        shares[name] = round(shares.get(name, 0.0) + share, _DIGITS)
    return dict(sorted(shares.items(), key=lambda item: (-item[1], item[0])))


def estimate(
    pieces: Iterable[tuple[Float32s, npt.NDArray[np.bool_]]],
    assumed: Sequence[float],
    n_cells: int,
    beat: Callable[[], None] = lambda: None,
    samples: CellGroups | None = None,
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
        samples: The samples of the cells, each of which has shares of its own; None takes the file as one.
    """
    assumed_l = np.asarray(assumed)
    step = max(1, -(-n_cells * len(assumed) * 4 // MOST_BYTES))
    of_samples = None if samples is None else SampleScores.of(samples, len(assumed), MOST_SAMPLE_BYTES)
    kept: list[Float32s] = []
    row = 0
    for probability_nl, used_n in pieces:
        chosen = every(step, row, len(used_n))
        used = chosen[used_n[chosen]]
        kept.append(_by_label(probability_nl[used] if len(used) < len(used_n) else probability_nl))
        if of_samples is not None:
            of_samples.add(probability_nl, used_n, row)
        row += len(used_n)
        beat()
    whole = _maximised(kept, assumed_l, beat)
    whole = replace(whole, information=_information(kept, assumed_l, np.asarray(whole.share_l)))
    if of_samples is None:
        return whole
    found = [_maximised([_by_label(own.probability_ml)], assumed_l, beat) for own in of_samples.by_sample()]
    return replace(whole, samples=_with_shares(of_samples.samples, found, len(assumed)))


def _with_shares(samples: CellGroups, found: Sequence[Composition], n_labels: int) -> Samples:
    """The samples with what was found for each."""
    share_sl, factor_sl = (
        np.array([getattr(one, name) for one in found], np.float64).reshape(-1, n_labels)
        for name in ("share_l", "factor_l")
    )
    n_cells = tuple(one.n_cells for one in found)
    return Samples(samples.column, samples.names, samples.code_n, share_sl, factor_sl, n_cells)


def _maximised(kept: Sequence[Float32s], assumed_l: Float64s, beat: Callable[[], None]) -> Composition:
    """The shares of the labels among these cells, given as probabilities, labels x cells."""
    n_used = sum(probability_ln.shape[1] for probability_ln in kept)
    share_l = assumed_l
    for _ in range(_MOST_STEPS):
        beat()
        sum_l = PRIOR_CELLS * assumed_l
        for probability_ln in kept:
            sum_l = sum_l + _weighed_sums(probability_ln, share_l / assumed_l)
        before_l, share_l = share_l, sum_l / (PRIOR_CELLS + n_used)
        if np.abs(share_l - before_l).max() < _CLOSE:
            break
    rounded_l = np.maximum(np.round(share_l, _DIGITS), 10.0**-_DIGITS)
    return Composition(tuple(rounded_l.tolist()), tuple((rounded_l / assumed_l).tolist()), n_used)


def _information(kept: Sequence[Float32s], assumed_l: Float64s, share_l: Float64s) -> float | None:
    """The mean of ``Σ_l p_l ln(p_l / a_l)`` of the cells, by ``Σ_l π_l ln(1 / a_l)``, that of certain labels."""
    n_used = sum(probability_ln.shape[1] for probability_ln in kept)
    if not n_used:
        return None
    said, share_l = 0.0, share_l / share_l.sum()
    for probability_ln in kept:
        for probability_n, assumed in zip(probability_ln, assumed_l.tolist(), strict=True):
            some_n = probability_n[probability_n > 0].astype(np.float64)
            said += float((some_n * np.log(some_n / assumed)).sum())
    certain = float((share_l * -np.log(assumed_l)).sum())
    return float(round(said / n_used / certain, _DIGITS))


def _by_label(probability_nl: Float32s) -> Float32s:
    """The same, labels x cells: sums over cells are several times as fast."""
    return np.ascontiguousarray(probability_nl.T)


def _weighed_sums(probability_ln: Float32s, factor_l: Float64s) -> Float64s:
    """The sums over cells of probabilities that are multiplied by factors, and scaled to add up to 1 for each cell."""
    weight_n = np.zeros(probability_ln.shape[1])
    for probability_n, factor in zip(probability_ln, factor_l.tolist(), strict=True):
        weight_n += np.multiply(probability_n, factor, dtype=np.float64)
    np.divide(1.0, weight_n, out=weight_n)
    sum_l = [float((probability_n * weight_n).sum()) for probability_n in probability_ln]
    weighed_l: Float64s = factor_l * np.array(sum_l)
    return weighed_l


def corrected(
    probability_nl: Float32s, factor: Sequence[float] | Float64s, code_n: npt.NDArray[np.int32] | None = None
) -> Float32s:
    """Correct probabilities, cells x labels, by the factors of a composition; each row adds up to 1.

    Args:
        factor: The factor of each label, or several rows of them.
        code_n: The row for each cell.
    """
    factor_sl, corrected_nl = np.atleast_2d(np.asarray(factor)), np.empty_like(probability_nl)
    for start in range(0, len(probability_nl), _ROWS):  # Only so many rows are held in float64.
        part = slice(start, start + _ROWS)
        weighed_nl = probability_nl[part] * (factor_sl if code_n is None else factor_sl[code_n[part]])
        corrected_nl[part] = weighed_nl / weighed_nl.sum(axis=1, keepdims=True)
    return corrected_nl
