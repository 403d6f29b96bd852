"""Keeps the probabilities of evenly spaced cells, of a file and of each of its samples, while all of them pass by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from jobs.engine.sampling import every

Float32s = npt.NDArray[np.float32]
Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class CellGroups(Protocol):
    """The cells of each sample, as ``shared.h5ad.read.groupings`` reads them from an obs column."""

    @property
    def column(self) -> str:
        """The obs column that names the samples."""
        ...

    @property
    def code_n(self) -> Int32s:
        """The position of each cell's sample in ``names``; -1 if it has none."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """Distinct names of the samples."""
        ...


@dataclass(frozen=True, slots=True)
class Kept:
    """The probabilities of m cells, cells x labels, and the rows of the cells."""

    probability_ml: Float32s
    row_m: Int64s

    def __len__(self) -> int:
        return len(self.row_m)


@dataclass(slots=True)
class KeptScores:
    """The probabilities of evenly spaced cells of a file, and of each of its samples.

    Attributes:
        most_cells: So many of the file, and of each sample.
        most_bytes: The memory for their probabilities: for those of the file, and for those of all samples together.
        samples: None if the file is taken as one.
    """

    n_cells: int
    n_labels: int
    most_cells: int
    most_bytes: int
    samples: CellGroups | None = None
    _kept: list[Kept] = field(default_factory=list)
    _of_samples: SampleScores | None = None

    def watch(self, pieces: Iterable[tuple[Float32s, Bools]]) -> Iterator[tuple[Float32s, Bools]]:
        """Pass on probabilities, cells x labels, with a mark for the cells to use, in row order."""
        most = max(1, min(self.most_cells, self.most_bytes // (4 * self.n_labels)))
        step, row = max(1, -(-self.n_cells // most)), 0
        if self.samples is not None:
            self._of_samples = SampleScores.of(self.samples, self.n_labels, self.most_bytes, self.most_cells)
        for probability_nl, used_n in pieces:
            chosen = every(step, row, len(used_n))
            chosen = chosen[used_n[chosen]]
            self._kept.append(Kept(probability_nl[chosen], chosen + row))
            if self._of_samples is not None:
                self._of_samples.add(probability_nl, used_n, row)
            row += len(used_n)
            yield probability_nl, used_n

    @property
    def whole(self) -> Kept:
        """The kept cells of the file."""
        return joined(self._kept, self.n_labels)

    @property
    def without_sample(self) -> Kept:
        """Those of them that have no sample; all of them if there are no samples."""
        found = self.whole
        if self.samples is None:
            return found
        own = self.samples.code_n[found.row_m] < 0
        return Kept(found.probability_ml[own], found.row_m[own])

    def by_sample(self) -> Iterator[Kept]:
        """Those of each sample, in the order of their names."""
        if self._of_samples is not None:
            yield from self._of_samples.by_sample()


@dataclass(slots=True)
class SampleScores:
    """The probabilities of evenly spaced cells of each sample: all of a small one, every k-th of a large one.

    Axis ``s`` is the samples.
    """

    samples: CellGroups
    n_labels: int
    step_s: Int64s
    seen_s: Int64s
    kept: list[Kept]

    @classmethod
    def of(cls, samples: CellGroups, n_labels: int, most_bytes: int, most_cells: int | None = None) -> SampleScores:
        """Those of ``samples``, of which none was seen yet.

        Args:
            most_bytes: The memory for the probabilities of all samples together.
            most_cells: So many of each; None keeps as many as the memory allows.
        """
        n_samples = len(samples.names)
        cells_s = np.bincount(samples.code_n[samples.code_n >= 0], minlength=n_samples)
        most = max(1, most_bytes // (4 * n_labels * max(n_samples, 1)))
        most = most if most_cells is None else min(most, most_cells)
        return cls(samples, n_labels, np.maximum(1, -(-cells_s // most)), np.zeros(n_samples, np.int64), [])

    def add(self, probability_nl: Float32s, used_n: Bools, row: int) -> None:
        """Add the cells from ``row`` on, of which some say something about their sample."""
        code_n = self.samples.code_n[row : row + len(used_n)]
        chosen = np.flatnonzero(used_n & (code_n >= 0))
        order = chosen[np.argsort(code_n[chosen], kind="stable")]
        code_m = code_n[order]
        cells_s = np.bincount(code_m, minlength=len(self.seen_s))
        first_s = np.cumsum(cells_s) - cells_s
        place_m = self.seen_s[code_m] + np.arange(len(order)) - first_s[code_m]
        self.seen_s += cells_s
        kept = order[place_m % self.step_s[code_m] == 0]
        self.kept.append(Kept(probability_nl[kept], kept + row))

    def by_sample(self) -> Iterator[Kept]:
        """The kept cells of each sample, in the order of their names; its rows ascend."""
        found = joined(self.kept, self.n_labels)
        code_m = self.samples.code_n[found.row_m]
        for code in range(len(self.samples.names)):
            own = code_m == code
            yield Kept(found.probability_ml[own], found.row_m[own])


def joined(kept: Sequence[Kept], n_labels: int) -> Kept:
    """Cells one after the other."""
    if not kept:
        return Kept(np.zeros((0, n_labels), np.float32), np.zeros(0, np.int64))
    return Kept(np.concatenate([one.probability_ml for one in kept]), np.concatenate([one.row_m for one in kept]))
