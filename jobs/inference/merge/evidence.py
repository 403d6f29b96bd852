"""The genes that spoke for each label in this file: mean expression and contribution to the score, against the rest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from jobs.engine.slopes import Slopes
from jobs.inference.merge.calls import Vocabulary, name_codes
from jobs.inference.merge.groups import Group
from jobs.inference.parts.arrays import values_of
from jobs.inference.parts.part import names_in_file

LEAST_CELLS = 5
"""A label with fewer sampled cells has no evidence: its means would say little."""
MOST_SPEAKING = 30
MOST_ABSENT = 10
_STRONGEST = 10
_LEAST_SHARE = 0.1
_AT_ONCE = 256
"""Sampled cells that are added at once: a few hundred, with 2,000 genes each, take 10 MB."""
_STANDS_OUT = 0.1

BoolArray = npt.NDArray[np.bool_]
F64Array = npt.NDArray[np.float64]
I64Array = npt.NDArray[np.int64]


class SpeaksBy(StrEnum):
    """How a gene speaks for a label."""

    EXPRESSION = "expression"
    """The label's cells express it more than the rest, and the model takes that for the label."""
    ABSENCE = "absence"
    """The label's cells express it less than the rest, and the model takes that for the label."""
    MISSING = "missing"
    """It is among the genes by which the model recognises the label best, but not in the file."""


class Against(StrEnum):
    """What the cells of a label are compared with."""

    REST = "rest"
    """All other sampled cells."""
    TRAINING = "training"
    """The mean of the model's training cells, in a file with hardly any other cells."""


@dataclass(slots=True)
class Sums:
    """Sums over sampled cells; axis ``f`` is the model's features.

    Attributes:
        total_f: Sum of log1p expression.
        clipped_f: The same of what the model sees of it (``Slopes.ceiling_f``).
        expressed_f: Number of cells with a value.
    """

    n_cells: int
    total_f: F64Array
    clipped_f: F64Array
    expressed_f: I64Array

    @classmethod
    def none(cls, n_features: int) -> Sums:
        """Sums over no cell."""
        return cls(0, np.zeros(n_features), np.zeros(n_features), np.zeros(n_features, np.int64))

    def add(self, n_cells: int, feature_z: npt.NDArray[np.integer], value_z: F64Array, ceiling_f: F64Array) -> None:
        """Add the values of some cells."""
        self.n_cells += n_cells
        np.add.at(self.total_f, feature_z, value_z)
        np.add.at(self.clipped_f, feature_z, np.minimum(value_z, ceiling_f[feature_z]))
        np.add.at(self.expressed_f, feature_z, 1)

    @classmethod
    def over(cls, parts: Iterable[Sums], n_features: int) -> Sums:
        """The sums over all parts."""
        whole = cls.none(n_features)
        for part in parts:
            whole.n_cells += part.n_cells
            whole.total_f += part.total_f
            whole.clipped_f += part.clipped_f
            whole.expressed_f += part.expressed_f
        return whole

    def less(self, other: Sums) -> Sums:
        """The sums over the cells that are not among the others."""
        return Sums(
            self.n_cells - other.n_cells,
            self.total_f - other.total_f,
            self.clipped_f - other.clipped_f,
            self.expressed_f - other.expressed_f,
        )

    @property
    def mean_f(self) -> F64Array:
        """Mean log1p expression."""
        return self.total_f / max(self.n_cells, 1)

    @property
    def clipped_mean_f(self) -> F64Array:
        """Mean of what the model sees."""
        return self.clipped_f / max(self.n_cells, 1)

    @property
    def share_f(self) -> F64Array:
        """Share of the cells that express each gene."""
        return self.expressed_f / max(self.n_cells, 1)


@dataclass(slots=True)
class Expression:
    """The expression of the sampled cells, summed by label as their groups come by.

    Memory: 24 bytes for each feature and each label that occurs. The sums are in row order, so they are the same for
    any number of tasks.

    Attributes:
        in_file_f: The file's name of each of the model's features; None for a feature that it lacks.
    """

    vocabulary: Vocabulary
    slopes: Slopes
    sums: dict[str, Sums] = field(default_factory=dict)
    in_file_f: tuple[str | None, ...] = ()

    def add(self, group: Group) -> None:
        """Add the sampled cells of a group, a batch at a time."""
        code_n = name_codes(group.calls, self.vocabulary)
        if group.rows.start == 0:
            self.in_file_f = names_in_file(group.batches[0])
        held: list[pa.RecordBatch] = []
        start = stop = 0
        for batch in group.batches:
            held.append(batch)
            stop += batch.num_rows
            if sum(one.num_rows - one["feature"].null_count for one in held) >= _AT_ONCE:
                self._add(held, code_n[start:stop])
                held, start = [], stop
        if held:
            self._add(held, code_n[start:stop])

    def _add(self, batches: Sequence[pa.RecordBatch], code_n: I64Array) -> None:
        feature, value = (
            pa.chunked_array([batch[name] for batch in batches]).combine_chunks() for name in ("feature", "expression")
        )
        place_m = np.flatnonzero(values_of(feature.is_valid()))
        code_m = code_n[place_m]
        code_z = np.repeat(code_m, values_of(pc.list_value_length(feature), 0)[place_m])
        feature_z = values_of(pc.list_flatten(feature))
        value_z = values_of(pc.list_flatten(value)).astype(np.float64)
        for code in np.unique(code_m).tolist():
            chosen_z = code_z == code
            sums = self.sums.setdefault(self.vocabulary.names[code], Sums.none(len(self.slopes.ceiling_f)))
            sums.add(int((code_m == code).sum()), feature_z[chosen_z], value_z[chosen_z], self.slopes.ceiling_f)


@dataclass(frozen=True, slots=True)
class GeneEvidence:
    """One gene that speaks for a label. The numbers are None if it is missing in the file, or not known.

    Attributes:
        feature: Its position in the model.
        name: Its name for readers: a symbol where one is known.
        in_file: Its name in the file; None if the file lacks it.
        contribution: ``slope · (mean in the label - mean in the rest)``: what it adds to the difference between the
            mean margin of the label's cells and that of the rest (``Slopes``), in units of the decision score.
        mean: Mean log1p expression of the label's cells.
        share: Share of the label's cells that express it.
    """

    feature: int
    name: str
    in_file: str | None
    speaks_by: SpeaksBy
    contribution: float | None = None
    mean: float | None = None
    mean_rest: float | None = None
    share: float | None = None
    share_rest: float | None = None

    @property
    def stands_out(self) -> bool:
        """Whether the shares of cells that express it differ clearly. If it is not known, it does."""
        return self.share is None or self.share_rest is None or abs(self.share - self.share_rest) >= _STANDS_OUT


@dataclass(frozen=True, slots=True)
class LabelEvidence:
    """The genes that speak for a label, in the order of ``SpeaksBy`` and then the largest contribution first.

    Attributes:
        n_cells: Number of sampled cells with the label.
        n_rest: Number of other sampled cells.
        by_expression: The sum of the contributions of all genes that speak by expression, also of those not listed.
        by_absence: Likewise by absence.
    """

    name: str
    n_cells: int
    n_rest: int
    against: Against
    genes: tuple[GeneEvidence, ...]
    by_expression: float
    by_absence: float

    def by(self, how: SpeaksBy) -> list[GeneEvidence]:
        """The genes that speak in one way: first those that clearly more, or fewer, of the label's cells express.

        So genes that all cells express, such as those of ribosomes, come last, even if they add more to the score.
        """
        found = [gene for gene in self.genes if gene.speaks_by is how]
        return sorted(found, key=lambda gene: not gene.stands_out)


@dataclass(frozen=True, slots=True)
class Evidence:
    """The evidence for each label.

    Attributes:
        labels: Labels with evidence, most cells of the whole file first.
        too_few: Labels without, as they have fewer than ``LEAST_CELLS`` sampled cells.
        expression: What it was computed from.
    """

    labels: tuple[LabelEvidence, ...]
    too_few: tuple[str, ...]
    expression: Expression


def evidence_of(expression: Expression, name_f: Sequence[str], label_names: Sequence[str]) -> Evidence:
    """Find the genes that speak for each label.

    Args:
        name_f: The name for readers of each feature.
        label_names: The labels that occur, in the wanted order. Unassigned cells are among the rest.
    """
    vocabulary = expression.vocabulary
    place = {label.name: index for index, label in enumerate(vocabulary.labels)}
    labels = [name for name in label_names if name in place and name != vocabulary.names[vocabulary.unassigned_code]]
    enough = [name for name in labels if name in expression.sums and expression.sums[name].n_cells >= LEAST_CELLS]
    everything = Sums.over(expression.sums.values(), len(name_f))
    there_f = np.array([in_file is not None for in_file in expression.in_file_f])
    found = [_evidence_for((name, place[name]), expression, everything, there_f, name_f) for name in enough]
    return Evidence(tuple(found), tuple(name for name in labels if name not in enough), expression)


def _evidence_for(
    named: tuple[str, int], expression: Expression, everything: Sums, there_f: BoolArray, name_f: Sequence[str]
) -> LabelEvidence:
    name, label = named
    own, slopes = expression.sums[name], expression.slopes
    rest = everything.less(own)
    against = Against.REST if rest.n_cells >= LEAST_CELLS else Against.TRAINING
    other_f = rest.clipped_mean_f if against is Against.REST else slopes.mean_f
    difference_f, slope_f = own.clipped_mean_f - other_f, slopes.slope_lf[label]
    contribution_f = np.where(there_f, slope_f * difference_f, 0.0)
    expressed_f = (slope_f > 0) & (difference_f > 0) & (own.share_f >= _LEAST_SHARE)
    absent_f = (slope_f < 0) & (difference_f < 0)
    strongest = np.argsort(-slope_f * slopes.std_f, kind="stable")[:_STRONGEST]
    chosen = [
        *((f, SpeaksBy.EXPRESSION) for f in _largest(np.where(expressed_f, contribution_f, 0.0), MOST_SPEAKING)),
        *((f, SpeaksBy.ABSENCE) for f in _largest(np.where(absent_f, contribution_f, 0.0), MOST_ABSENT)),
        *((f, SpeaksBy.MISSING) for f in strongest.tolist() if not there_f[f] and slope_f[f] > 0),
    ]
    numbers = _Numbers(own, rest, against, slopes, contribution_f)
    found = tuple(_gene((f, name_f[f], expression.in_file_f[f], how), numbers) for f, how in chosen)
    sums = (float(contribution_f[chosen_f].sum()) for chosen_f in (expressed_f, absent_f))
    return LabelEvidence(name, own.n_cells, rest.n_cells, against, found, *sums)


def _largest(value_f: F64Array, most: int) -> list[int]:
    """The positions of the largest values above 0, largest first."""
    order = np.argsort(-value_f, kind="stable")[:most]
    return [f for f in order.tolist() if value_f[f] > 0]


@dataclass(frozen=True, slots=True)
class _Numbers:
    own: Sums
    rest: Sums
    against: Against
    slopes: Slopes
    contribution_f: F64Array


def _gene(named: tuple[int, str, str | None, SpeaksBy], numbers: _Numbers) -> GeneEvidence:
    f, _, _, how = named
    if how is SpeaksBy.MISSING:
        return GeneEvidence(*named)
    own, rest, in_rest = numbers.own, numbers.rest, numbers.against is Against.REST
    return GeneEvidence(
        *named,
        contribution=float(numbers.contribution_f[f]),
        mean=float(own.mean_f[f]),
        mean_rest=float(rest.mean_f[f] if in_rest else numbers.slopes.mean_f[f]),
        share=float(own.share_f[f]),
        share_rest=float(rest.share_f[f]) if in_rest else None,
    )
