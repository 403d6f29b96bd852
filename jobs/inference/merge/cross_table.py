"""Counts cells by the file's own label and by the model's, in the pass that counts everything else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from jobs.engine.agreement import (
    CALIBRATION_BINS,
    Floats,
    accuracy,
    calibration_error,
    calibration_gaps,
    cross_counts,
    macro_f1,
)
from jobs.engine.levels import Level
from jobs.inference.merge.calls import Calls, I64Array, Vocabulary, lineage_codes, name_codes
from jobs.inference.merge.own_labels import OwnLabels
from shared.domain.geometry import Rows
from shared.domain.verdict import CellNote


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far the model agrees with the file's own labels, over the cells whose own label has a counterpart.

    An unassigned cell does not agree, even if the model has a label that is called Unassigned.

    Attributes:
        n_cells: Cells whose own label has a counterpart.
        accuracy: The share of them with that counterpart.
        macro_f1: Mean F1 over these counterparts.
        calibration_error: Expected calibration error of the best score, over those of them with a value of the model's
            genes; None for lineages, and if there are none.
    """

    n_cells: int
    accuracy: float
    macro_f1: float
    calibration_error: float | None = None


class What(StrEnum):
    """What is compared with the file's own labels."""

    RELIABLE = "reliable labels"
    LINEAGES = "lineages"


class Agreeing(NamedTuple):
    """So many cells can be compared, and this share of them agrees."""

    n_cells: int
    share: float


LEAST_COMPARED = 50
"""Of fewer cells, the agreement with the file's own labels says little."""


@dataclass(slots=True)
class CrossTable:
    """Counts over the cells seen so far. Memory: names x labels.

    Attributes:
        cells_tc: Cells by own label (rows; the last row is of cells without one) and by the vocabulary's names.
        cells_tg: Cells by own label and by lineage; empty if the model has no lineages.
        abstained_t: Unassigned cells by own label. ``cells_tc`` counts them with a label of that name, if there is one.
        gap_b: Sums of (right - score) by bin of the best score.
        n_scored: Cells in ``gap_b``.
        n_reliable: Cells with a reliable label whose own label is aligned with one.
        n_reliable_right: Those of them that got that label.
    """

    own: OwnLabels
    vocabulary: Vocabulary
    cells_tc: I64Array = field(init=False)
    cells_tg: I64Array = field(init=False)
    abstained_t: I64Array = field(init=False)
    gap_b: Floats = field(default_factory=lambda: np.zeros(CALIBRATION_BINS))
    n_scored: int = 0
    n_reliable: int = 0
    n_reliable_right: int = 0
    _label_t: I64Array = field(init=False)
    _lineage_t: I64Array = field(init=False)

    def __post_init__(self) -> None:
        n_rows, vocabulary = len(self.own.names) + 1, self.vocabulary
        self.cells_tc = np.zeros((n_rows, len(vocabulary.names)), np.int64)
        self.cells_tg = np.zeros((n_rows, len(vocabulary.lineages)), np.int64)
        self.abstained_t = np.zeros(n_rows, np.int64)
        labels = [None if one.label is None else vocabulary.names.index(one.label) for one in self.own.meanings]
        lineages = [
            None if one.lineage is None else vocabulary.lineages.index(one.lineage) for one in self.own.meanings
        ]
        self._label_t, self._lineage_t = _codes(labels), _codes(lineages)

    def add(self, rows: Rows, calls: Calls) -> None:
        """Add the calls of consecutive cells."""
        own_n = self.own.code_n[rows.start : rows.stop].astype(np.int64) % len(self.abstained_t)
        self.cells_tc += cross_counts(own_n, name_codes(calls, self.vocabulary), self.cells_tc.shape)
        self.abstained_t += np.bincount(own_n[calls.abstained_n], minlength=len(self.abstained_t))
        if calls.lineages is not None:
            self.cells_tg += cross_counts(own_n, lineage_codes(calls, self.vocabulary), self.cells_tg.shape)
        meant_n = self._label_t[own_n]
        scored_n = (meant_n >= 0) & (calls.facts.note_n != CellNote.SILENT)
        score_n = calls.top_score_nk[scored_n, 0].astype(np.float64)
        best_n = self.vocabulary.name_codes[calls.top_label_nk[:, 0]]
        right_n = meant_n == best_n
        self.gap_b += calibration_gaps(score_n, right_n[scored_n])
        self.n_scored += int(scored_n.sum())
        if calls.level_n is not None:
            reliable_n = (calls.level_n == Level.LABEL) & (meant_n >= 0)
            self.n_reliable += int(reliable_n.sum())
            self.n_reliable_right += int(right_n[reliable_n].sum())

    @property
    def labels(self) -> Agreement | None:
        """Agreement of labels; None if no name is aligned with one."""
        error = calibration_error(self.gap_b, self.n_scored) if self.n_scored else None
        return _agreement(np.column_stack([self._assigned_tc, self.abstained_t]), self._label_t, error)

    @property
    def reliable_accuracy(self) -> float | None:
        """The share of cells with a reliable label that agree, as far as they can be compared; None without any."""
        return self.n_reliable_right / self.n_reliable if self.n_reliable else None

    @property
    def lineages(self) -> Agreement | None:
        """Agreement of lineages; None if no name is aligned with one."""
        return _agreement(self.cells_tg, self._lineage_t, None)

    @property
    def agreeing(self) -> dict[What, Agreeing]:
        """How many cells can be compared in each way, and the share of them that agree; without a way of few cells."""
        lineages = self.lineages
        found = {
            What.RELIABLE: Agreeing(self.n_reliable, self.reliable_accuracy or 0.0),
            What.LINEAGES: Agreeing(0, 0.0) if lineages is None else Agreeing(lineages.n_cells, lineages.accuracy),
        }
        return {what: one for what, one in found.items() if one.n_cells >= LEAST_COMPARED}

    @property
    def labelled_tc(self) -> I64Array:
        """Cells by own label and by the vocabulary's names."""
        return self.cells_tc[:-1]

    @property
    def n_labelled(self) -> int:
        """Cells with an own label."""
        return int(self.cells_tc[:-1].sum())

    @property
    def n_comparable(self) -> int:
        """Cells whose own label has a counterpart: a label, or a lineage."""
        return int(self.cells_tc[(self._label_t >= 0) | (self._lineage_t >= 0)].sum())

    @property
    def main_share(self) -> float | None:
        """The share of the cells with an own label that have the most frequent label of their group.

        Unassigned cells have none, so that they count among the others. None if no cell has an own label.
        """
        return int(self._assigned_tc[:-1].max(axis=1).sum()) / self.n_labelled if self.n_labelled else None

    @property
    def _assigned_tc(self) -> I64Array:
        """As ``cells_tc``, without unassigned cells."""
        found = self.cells_tc.copy()
        found[:, self.vocabulary.unassigned_code] -= self.abstained_t
        return found


def _codes(places: Sequence[int | None]) -> I64Array:
    """Places, or -1; the last one is of cells without an own label, whose code is -1."""
    return np.array([*(-1 if place is None else place for place in places), -1], np.int64)


def _agreement(cells_tc: I64Array, counterpart_t: I64Array, error: float | None) -> Agreement | None:
    """Add up the rows of names with the same counterpart, and compare."""
    aligned = np.flatnonzero(counterpart_t >= 0)
    cells_cc = np.zeros((cells_tc.shape[1],) * 2, np.int64)
    np.add.at(cells_cc, counterpart_t[aligned], cells_tc[aligned])
    n_cells = int(cells_cc.sum())
    return Agreement(n_cells, accuracy(cells_cc), macro_f1(cells_cc), error) if n_cells else None


@dataclass(frozen=True, slots=True)
class Shown:
    """The part of a cross table that people read: the most frequent names and labels.

    Attributes:
        names: Positions of own labels, ordered so that names with the same main label are neighbours.
        labels: Positions in the vocabulary's names, most cells first.
        cells_tc: Cells of these names and labels.
        rest_t: For each of these names, its cells with other labels.
        rest_c: For each of these labels, its cells with other own labels.
        n_rest: Cells with another own label and another label.
        n_hidden: Number of other own labels that occur.
    """

    names: tuple[int, ...]
    labels: tuple[int, ...]
    cells_tc: I64Array
    rest_t: I64Array
    rest_c: I64Array
    n_rest: int
    n_hidden: int


def shown(cells_tc: I64Array, most_names: int = 20, most_labels: int = 15) -> Shown:
    """The most frequent own labels and labels. Ties go to the first.

    Args:
        cells_tc: Cells by own label (rows) and label (columns).
    """
    labels = _most(cells_tc.sum(axis=0), most_labels)
    names = _most(cells_tc.sum(axis=1), most_names)
    main = {name: int(cells_tc[name, labels].argmax()) for name in names.tolist()}
    ordered = np.array(sorted(names.tolist(), key=main.__getitem__), np.int64)
    some_tc = cells_tc[np.ix_(ordered, labels)]
    rest_t = cells_tc[ordered].sum(axis=1) - some_tc.sum(axis=1)
    rest_c = cells_tc[:, labels].sum(axis=0) - some_tc.sum(axis=0)
    n_rest = int(cells_tc.sum() - some_tc.sum() - rest_t.sum() - rest_c.sum())
    n_hidden = int(cells_tc.any(axis=1).sum()) - len(names)
    return Shown(tuple(ordered.tolist()), tuple(labels.tolist()), some_tc, rest_t, rest_c, n_rest, n_hidden)


def _most(cells: I64Array, most: int) -> I64Array:
    """Positions with the most cells, most first; none without cells."""
    order = np.argsort(-cells, kind="stable")[:most]
    return order[cells[order] > 0]
