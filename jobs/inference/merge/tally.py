"""Counts over all cells of a submission, collected in one pass. Memory does not grow with the number of cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from jobs.engine.agreement import cross_counts
from jobs.engine.levels import Level
from jobs.inference.merge.calls import NOTES, Calls, I64Array, Vocabulary, lineage_codes, name_codes, reliable_codes
from shared.domain.verdict import MOSTLY_UNFAMILIAR, CellNote

SCORE_BINS = 200
LOG_STEP = 0.02
"""Bin width of the histograms of counts and genes, in natural logarithm: medians are precise to 1 %."""
LOG_BINS = 1000
FEW_GENES = 200
"""Cells with fewer genes are often debris or empty droplets: the first filter in scanpy's and Seurat's tutorials."""
MITO_BINS = 1000
MUCH_MITO = np.float32(0.2)
"""Cells with a larger share of mitochondrial counts are often damaged or dying: a usual limit; tissues differ."""


@dataclass(slots=True)
class Tally:
    """Counts over the cells seen so far. Axis ``c`` is the vocabulary's names, including ``Unassigned``.

    Attributes:
        n_counted: Number of cells with known total counts.
        n_looked: Number of cells whose unfamiliarity is known.
        unfamiliar_c: Number of unfamiliar cells by label.
        lineage_counts: Number of cells by lineage; empty if the model has none.
        reliable_counts: Number of cells by reliable label; empty if it is not known what is reliable.
        level_counts: Number of cells by how specific their reliable label is; empty likewise.
        reliable_c: Number of cells by label of which this label is reliable.
        cells_c: Number of cells by label.
        best_c: Number of cells by best guess, including unassigned cells.
        second_c: Number of cells by second label.
        ids_i: Number of cells by Cell Ontology id.
        score_cb: Histogram of the best score, 0 to 1, by label.
        genes_cb: Histogram of the number of expressed genes, in ``log_bins``, by label.
        counts_cb: Histogram of total counts, if known, in ``log_bins``, by label.
        close_cc: Number of cells by best and second label, if the second score is at least half of the best.
        note_t: Number of cells by ``CellNote``.
        n_much_mito: Number of cells with more than a share of ``MUCH_MITO`` of their counts in mitochondrial genes.
        mito_b: Histogram of the share of counts in mitochondrial genes, 0 to 1, where known.
    """

    vocabulary: Vocabulary
    n_cells: int = 0
    n_abstained: int = 0
    n_few_genes: int = 0
    n_counted: int = 0
    n_looked: int = 0
    unfamiliar_c: I64Array = field(init=False)
    lineage_counts: Counter[str] = field(default_factory=Counter)
    reliable_counts: Counter[str] = field(default_factory=Counter)
    level_counts: Counter[Level] = field(default_factory=Counter)
    reliable_c: I64Array = field(init=False)
    cells_c: I64Array = field(init=False)
    best_c: I64Array = field(init=False)
    second_c: I64Array = field(init=False)
    ids_i: I64Array = field(init=False)
    score_cb: I64Array = field(init=False)
    genes_cb: I64Array = field(init=False)
    counts_cb: I64Array = field(init=False)
    close_cc: I64Array = field(init=False)
    note_t: I64Array = field(default_factory=lambda: np.zeros(len(CellNote), np.int64))
    n_much_mito: int = 0
    mito_b: I64Array = field(default_factory=lambda: np.zeros(MITO_BINS, np.int64))

    def __post_init__(self) -> None:
        n_names = len(self.vocabulary.names)
        self.cells_c, self.best_c, self.second_c, self.unfamiliar_c, self.reliable_c = (
            np.zeros(n_names, np.int64) for _ in range(5)
        )
        self.ids_i = np.zeros(len(self.vocabulary.ontology_ids), np.int64)
        self.score_cb = np.zeros((n_names, SCORE_BINS), np.int64)
        self.genes_cb, self.counts_cb = np.zeros((n_names, LOG_BINS), np.int64), np.zeros((n_names, LOG_BINS), np.int64)
        self.close_cc = np.zeros((n_names, n_names), np.int64)

    def add(self, calls: Calls) -> None:
        """Add cells to the counts."""
        best_n = self.vocabulary.name_codes[calls.top_label_nk[:, 0]]
        second_n = self.vocabulary.name_codes[calls.top_label_nk[:, 1]]
        name_n = name_codes(calls, self.vocabulary)
        self._add_labels(calls, name_n, second_n)
        self.best_c += np.bincount(best_n, minlength=len(self.best_c))
        self._add_quality(calls, name_n)
        self._add_unfamiliar(calls, name_n)
        self._add_levels(calls, name_n)
        self.score_cb += cross_counts(name_n, score_bins(calls.top_score_nk[:, 0]), self.score_cb.shape)
        close_n = calls.top_score_nk[:, 1] * 2 >= calls.top_score_nk[:, 0]
        self.close_cc += cross_counts(best_n[close_n], second_n[close_n], self.close_cc.shape)

    @property
    def label_counts(self) -> dict[str, int]:
        """Number of cells by label, most first, ties by name; without labels that no cell has."""
        return _counts(self.vocabulary.names, self.cells_c)

    @property
    def reliable_label_counts(self) -> dict[str, int]:
        """Number of cells of which the label itself is reliable, by label, in the same order."""
        return _counts(self.vocabulary.names, self.reliable_c)

    @property
    def second_counts(self) -> dict[str, int]:
        """Number of cells by second label, in the same order."""
        return _counts(self.vocabulary.names, self.second_c)

    @property
    def id_counts(self) -> dict[str, int]:
        """Number of cells by Cell Ontology id, in the same order; without cells that have none."""
        return _counts(self.vocabulary.ontology_ids, self.ids_i)

    @property
    def n_unfamiliar(self) -> int | None:
        """Number of unfamiliar cells; None if the model cannot tell."""
        return int(self.unfamiliar_c.sum()) if self.n_looked else None

    @property
    def unfamiliar_share(self) -> float:
        """Share of unfamiliar cells among those that could be judged; 0 if the model cannot tell."""
        return (self.n_unfamiliar or 0) / max(self.n_looked, 1)

    @property
    def mostly_unfamiliar(self) -> bool:
        """Whether so many cells are unfamiliar that the labels mean little."""
        return self.unfamiliar_share > MOSTLY_UNFAMILIAR

    @property
    def notes(self) -> list[str]:
        """The values of ``value_note`` that occur."""
        return [words for note, words in NOTES.items() if self.note_t[note]]

    def _add_labels(self, calls: Calls, name_n: I64Array, second_n: I64Array) -> None:
        self.n_cells += len(calls)
        self.n_abstained += int(calls.abstained_n.sum())
        self.cells_c += np.bincount(name_n, minlength=len(self.cells_c))
        self.second_c += np.bincount(second_n, minlength=len(self.second_c))
        id_n = self.vocabulary.id_codes[calls.top_label_nk[:, 0]]
        self.ids_i += np.bincount(id_n[(id_n >= 0) & ~calls.abstained_n], minlength=len(self.ids_i))

    def _add_levels(self, calls: Calls, name_n: I64Array) -> None:
        if calls.lineages is not None:
            self._count(self.lineage_counts, self.vocabulary.lineages, lineage_codes(calls, self.vocabulary))
        if calls.level_n is not None:
            self._count(self.reliable_counts, self.vocabulary.reliable_names, reliable_codes(calls, self.vocabulary))
            self.reliable_c += np.bincount(name_n[calls.level_n == Level.LABEL], minlength=len(self.reliable_c))
            self.level_counts.update({level: int((calls.level_n == level).sum()) for level in Level})

    @staticmethod
    def _count(counts: Counter[str], names: tuple[str, ...], code_n: I64Array) -> None:
        counts.update(_counts(names, np.bincount(code_n, minlength=len(names))))

    def _add_unfamiliar(self, calls: Calls, name_n: I64Array) -> None:
        assert calls.facts.unfamiliarity_n is not None
        self.n_looked += int((~np.isnan(calls.facts.unfamiliarity_n)).sum())
        self.unfamiliar_c += np.bincount(name_n[calls.unfamiliar_n], minlength=len(self.unfamiliar_c))

    def _add_quality(self, calls: Calls, name_n: I64Array) -> None:
        self.n_few_genes += int((calls.facts.n_genes_n < FEW_GENES).sum())
        self.genes_cb += cross_counts(name_n, log_bins(calls.facts.n_genes_n), self.genes_cb.shape)
        total_n = calls.facts.total_n
        assert total_n is not None
        counted_n = ~np.isnan(total_n)
        self.n_counted += int(counted_n.sum())
        self.note_t += np.bincount(calls.facts.note_n, minlength=len(self.note_t))
        counts_n = log_bins(total_n[counted_n])
        self.counts_cb += cross_counts(name_n[counted_n], counts_n, self.counts_cb.shape)
        assert calls.facts.mito_n is not None
        mito_n = calls.facts.mito_n[~np.isnan(calls.facts.mito_n)]
        self.n_much_mito += int((mito_n > MUCH_MITO).sum())
        self.mito_b += np.bincount(np.minimum(mito_n * MITO_BINS, MITO_BINS - 1).astype(np.int64), minlength=MITO_BINS)


def score_bins(score_n: npt.NDArray[np.float32]) -> I64Array:
    """The bin of each score from 0 to 1."""
    return np.clip((score_n * SCORE_BINS).astype(np.int64), 0, SCORE_BINS - 1)


def log_bins(value_n: npt.NDArray[np.number]) -> I64Array:
    """The bin of each value from 0: bin 0 for values below 1, then bins of width ``LOG_STEP`` in logarithm."""
    whole_n = np.maximum(value_n.astype(np.float64), 1e-9)
    steps_n = np.floor(np.log(whole_n) / LOG_STEP).astype(np.int64) + 1
    return np.clip(steps_n, 0, LOG_BINS - 1)


def log_value(bins: npt.NDArray[np.number] | int) -> npt.NDArray[np.float64]:
    """The value at the middle of each bin of ``log_bins``; 0 for bin 0."""
    places = np.asarray(bins, np.float64)
    return np.where(places < 1, 0.0, np.exp((places - 0.5) * LOG_STEP))


def median_bin(histogram_b: I64Array) -> int:
    """The bin of the median; 0 for an empty histogram."""
    total = int(histogram_b.sum())
    return int(np.searchsorted(np.cumsum(histogram_b), (total + 1) // 2)) if total else 0


def median_score(histogram_b: I64Array) -> float:
    """The median score, rounded down to hundredths: half of the cells have this score or more."""
    return median_bin(histogram_b) * 100 // SCORE_BINS / 100


def most_first(counts: Mapping[str, int]) -> dict[str, int]:
    """Counts by name, most first, ties by name."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _counts(names: tuple[str, ...], count_c: I64Array) -> dict[str, int]:
    present = [(name, int(n)) for name, n in zip(names, count_c, strict=True) if n]
    return most_first(dict(present))
