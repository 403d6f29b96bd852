"""The label and score of every cell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jobs.engine.abstaining import is_unassigned, is_unfamiliar
from jobs.engine.composition import Composition
from jobs.engine.facts import CellFacts
from jobs.engine.levels import LeastScores, Level, Lineages, level_of_place, lineages_of, reliable_level
from jobs.engine.raising import Thresholds
from jobs.engine.tree import NOTHING, Tree, narrowest, tree_of
from jobs.inference.merge.clusters import Clusters, Membership
from jobs.inference.parts.arrays import F32Array, values_of
from jobs.inference.parts.part import facts_from
from jobs.inference.parts.ranking import best_first
from shared.bundles.card import UNASSIGNED, Familiarity, Label
from shared.bundles.groups import Group
from shared.domain.verdict import CellNote

NOTES = {CellNote.CONVERTED: "converted", CellNote.UNCLEAR: "unclear values", CellNote.SILENT: "no model genes"}
"""The values of the column ``value_note``, which is empty for almost all cells."""

BoolArray = npt.NDArray[np.bool_]
I64Array = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Vocabulary:
    """The categories of a model's labels: distinct names and Cell Ontology ids, in the model's order.

    Labels may share an id, and names that a card would refuse are no fault here; categories must be distinct.

    Attributes:
        groups: The groups of the labels' tree, if they have one.
    """

    labels: tuple[Label, ...]
    groups: tuple[Group, ...] = ()

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Distinct label names, followed by ``Unassigned`` unless the model has that label."""
        return tuple(dict.fromkeys([*(label.name for label in self.labels), UNASSIGNED]))

    @cached_property
    def ontology_ids(self) -> tuple[str, ...]:
        """Distinct Cell Ontology ids."""
        return tuple(dict.fromkeys(label.ontology_id for label in self.labels if label.ontology_id))

    @cached_property
    def name_codes(self) -> I64Array:
        """The position of each label in ``names``."""
        return np.array([self.names.index(label.name) for label in self.labels], np.int64)

    @cached_property
    def id_codes(self) -> I64Array:
        """The position of each label in ``ontology_ids``; -1 without an id."""
        ids = self.ontology_ids
        return np.array([ids.index(label.ontology_id) if label.ontology_id else -1 for label in self.labels], np.int64)

    @cached_property
    def unassigned_code(self) -> int:
        """The position of ``Unassigned`` in ``names``."""
        return self.names.index(UNASSIGNED)

    @cached_property
    def lineages(self) -> tuple[str, ...]:
        """Distinct lineages, followed by ``Unassigned``."""
        found = [label.lineage for label in self.labels if label.lineage]
        return tuple(dict.fromkeys([*found, UNASSIGNED]))

    @cached_property
    def lineage_codes(self) -> I64Array:
        """The position of each label's lineage in ``lineages``; that of ``Unassigned`` without one."""
        return np.array([self.lineages.index(label.lineage or UNASSIGNED) for label in self.labels], np.int64)

    @cached_property
    def alone_l(self) -> BoolArray:
        """Whether a label has the name of its lineage, and is the only one of it."""
        cells = Counter(label.lineage for label in self.labels)
        return np.array([label.name == label.lineage and cells[label.lineage] == 1 for label in self.labels], np.bool_)

    @cached_property
    def reliable_names(self) -> tuple[str, ...]:
        """Distinct names that a reliable label can have: labels, lineages, groups and ``Unassigned``."""
        return tuple(dict.fromkeys([*self.names, *self.lineages, *(group.name for group in self.groups)]))

    @cached_property
    def place_codes(self) -> I64Array:
        """The position in ``reliable_names`` of each place in the tree, and of ``Unassigned`` for the last."""
        names = [*(label.name for label in self.labels), *(group.name for group in self.groups), UNASSIGNED]
        return np.array([self.reliable_names.index(name) for name in names], np.int64)

    @cached_property
    def tree(self) -> Tree:
        """The tree; without groups if there is none."""
        return tree_of(self.groups, self.labels)


@dataclass(frozen=True, slots=True)
class Rules:
    """How scores become calls.

    Attributes:
        min_score: Cells with a lower best score are unassigned; None: no cell is.
        familiarity: How the model recognises unfamiliar cells; None if it does not.
        composition: The shares of the labels that scores are corrected to; None: they are not corrected.
        lineages: Whether cells get a lineage beside their label.
        thresholds: From which score on a label is reliable; None if that is not known.
        clusters: The clusters of all cells; None if there are none.
    """

    min_score: float | None = None
    familiarity: Familiarity | None = None
    composition: Composition | None = None
    lineages: bool = False
    thresholds: Thresholds | None = None
    clusters: Clusters | None = None


@dataclass(frozen=True, slots=True)
class Calls:
    """The labels and scores of n consecutive cells, as arrays.

    Attributes:
        top_label_nk: Indices into the model's labels, best first.
        top_score_nk: Their probabilities.
        abstained_n: Whether the best score is below the threshold, or the cell has no value of the model's genes.
        unfamiliar_n: Whether the cell is unlike the model's training cells; False if that is not known.
        probability_nl: The probabilities of all labels; None if only those of the best are known.
        lineages: The cells' lineages; None if they have none.
        level_n: How specific each cell's reliable label is (``Level``); None if it is not known what is reliable.
        place_n: Its place in the labels' tree (``jobs.engine.tree``); None if they have none.
        facts: The cells' facts. Totals and unfamiliarity are NaN where they are not known.
        membership: The cells' clusters; None if there are none.
    """

    cell_ids: pa.StringArray
    top_label_nk: I64Array
    top_score_nk: F32Array
    abstained_n: BoolArray
    unfamiliar_n: BoolArray
    facts: CellFacts
    probability_nl: F32Array | None = None
    lineages: Lineages | None = None
    level_n: npt.NDArray[np.uint8] | None = None
    place_n: I64Array | None = None
    membership: Membership | None = None

    def __len__(self) -> int:
        return len(self.cell_ids)


def calls_from(batches: Sequence[pa.RecordBatch], rules: Rules, vocabulary: Vocabulary, start: int = 0) -> Calls:
    """Join batches and apply the rules.

    Args:
        start: The row of the first cell.
    """
    table = pa.Table.from_batches(batches).combine_chunks()
    label_nk = _matrix(table["top_label"]).astype(np.int64)
    score_nk = _matrix(table["top_score"]).astype(np.float32, copy=False)
    probability_nl = _probability(table)
    if rules.composition is not None and probability_nl is not None:
        probability_nl = rules.composition.corrected(probability_nl, slice(start, start + len(probability_nl)))
        label_nk = best_first(probability_nl, label_nk.shape[1])
        score_nk = np.take_along_axis(probability_nl, label_nk, axis=1)
    facts = facts_from(table)
    assert facts.unfamiliarity_n is not None
    lineages = None
    if rules.lineages and probability_nl is not None:
        lineages = lineages_of(probability_nl, vocabulary.lineage_codes, len(vocabulary.lineages))
    calls = Calls(
        cell_ids=table["cell_id"].combine_chunks(),
        top_label_nk=label_nk,
        top_score_nk=score_nk,
        abstained_n=is_unassigned(score_nk[:, 0], facts.note_n, rules.min_score),
        unfamiliar_n=is_unfamiliar(facts.unfamiliarity_n, rules.familiarity),
        facts=facts,
        probability_nl=probability_nl,
        lineages=lineages,
    )
    if rules.thresholds is None:
        return calls
    return _with_levels(calls, rules.thresholds.least_scores(slice(start, start + len(calls))), vocabulary)


def name_codes(calls: Calls, vocabulary: Vocabulary) -> I64Array:
    """Positions of the cells' labels in ``Vocabulary.names``: ``Unassigned`` for an abstained cell."""
    return np.where(calls.abstained_n, vocabulary.unassigned_code, vocabulary.name_codes[calls.top_label_nk[:, 0]])


def lineage_codes(calls: Calls, vocabulary: Vocabulary) -> I64Array:
    """Positions of the cells' lineages in ``Vocabulary.lineages``: ``Unassigned`` for a silent cell."""
    assert calls.lineages is not None
    silent_n = calls.facts.note_n == CellNote.SILENT
    return np.where(silent_n, vocabulary.lineages.index(UNASSIGNED), calls.lineages.code_n)


def reliable_codes(calls: Calls, vocabulary: Vocabulary) -> I64Array:
    """Positions of the cells' reliable labels in ``Vocabulary.reliable_names``."""
    assert calls.level_n is not None
    if calls.place_n is not None:
        return vocabulary.place_codes[calls.place_n]
    names = vocabulary.reliable_names
    code_n = np.full(len(calls), names.index(UNASSIGNED), np.int64)
    if calls.lineages is not None:
        place_g = np.array([names.index(name) for name in vocabulary.lineages], np.int64)
        code_n = np.where(calls.level_n == Level.LINEAGE, place_g[calls.lineages.code_n], code_n)
    return np.where(calls.level_n == Level.LABEL, vocabulary.name_codes[calls.top_label_nk[:, 0]], code_n)


def _with_levels(calls: Calls, least: LeastScores, vocabulary: Vocabulary) -> Calls:
    """Add the most specific reliable level of each cell, and its place in the labels' tree if they have one.

    An unassigned cell can have a reliable lineage or group, but no label. An unfamiliar or silent cell has neither,
    whatever its scores.
    """
    score_n = np.where(calls.abstained_n, np.float32(-1), calls.top_score_nk[:, 0])
    unknown_n = calls.unfamiliar_n | (calls.facts.note_n == CellNote.SILENT)
    if not vocabulary.groups or calls.probability_nl is None:
        level_n = reliable_level(score_n, calls.lineages, least)
        if calls.lineages is not None:  # A lineage that says the same as its only label is this label.
            own_n = vocabulary.alone_l[calls.top_label_nk[:, 0]] & ~calls.abstained_n
            own_n &= vocabulary.lineage_codes[calls.top_label_nk[:, 0]] == calls.lineages.code_n
            level_n[own_n & (level_n == Level.LINEAGE)] = Level.LABEL
        level_n[unknown_n] = Level.NONE
        return replace(calls, level_n=level_n)
    tree, best_n = vocabulary.tree, calls.top_label_nk[:, 0]
    place_n = narrowest(calls.probability_nl, best_n, score_n, tree, least.tree)
    place_n[unknown_n] = NOTHING
    return replace(calls, level_n=level_of_place(place_n, tree), place_n=place_n)


def _probability(table: pa.Table) -> F32Array | None:
    if "probability" not in table.column_names:
        return None
    return _matrix(table["probability"]).astype(np.float32, copy=False)


def _matrix(column: pa.ChunkedArray) -> npt.NDArray[np.generic]:
    width = column.type.list_size
    return values_of(column.combine_chunks().flatten()).reshape(-1, width)
