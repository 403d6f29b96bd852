"""Counts over all cells of how several models agree. Memory does not grow with the number of cells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from jobs.engine.cell_types import NO_TYPE
from jobs.engine.consensus import Relation, relation
from jobs.inference.merge.calls import Calls, I64Array, Vocabulary, name_codes
from jobs.inference.merge.consensus import RELATION_WORDS, Consensus, Opinions
from jobs.inference.merge.tally import SCORE_BINS, most_first, score_bins


@dataclass(slots=True)
class OwnCounts:
    """Counts of a further model's answers. Axis ``c`` is its names, as in ``Tally``.

    Attributes:
        n_looked: Number of cells whose unfamiliarity to it is known.
        cells_c: Number of cells by its label.
        unfamiliar_c: Number of cells unfamiliar to it, by its label.
        score_b: Histogram of the best score, as in ``Tally``.
    """

    vocabulary: Vocabulary
    n_looked: int = 0
    cells_c: I64Array = field(init=False)
    unfamiliar_c: I64Array = field(init=False)
    score_b: I64Array = field(default_factory=lambda: np.zeros(SCORE_BINS, np.int64))

    def __post_init__(self) -> None:
        self.cells_c, self.unfamiliar_c = (np.zeros(len(self.vocabulary.names), np.int64) for _ in range(2))

    def add(self, calls: Calls, label_n: I64Array) -> None:
        """Add cells to the counts."""
        assert calls.facts.unfamiliarity_n is not None
        self.n_looked += int((~np.isnan(calls.facts.unfamiliarity_n)).sum())
        self.cells_c += np.bincount(label_n, minlength=len(self.cells_c))
        self.unfamiliar_c += np.bincount(label_n[calls.unfamiliar_n], minlength=len(self.unfamiliar_c))
        self.score_b += np.bincount(score_bins(calls.top_score_nk[:, 0]), minlength=SCORE_BINS)

    @property
    def n_unfamiliar(self) -> int | None:
        """Number of cells unfamiliar to it; None if it cannot tell."""
        return int(self.unfamiliar_c.sum()) if self.n_looked else None


@dataclass(slots=True)
class Disagreements:
    """Counts over the cells seen so far. Axis ``c`` is a model's names, axis ``s`` what it can stand by.

    Attributes:
        relation_cr: Number of cells by the main model's label and by ``Relation``.
        consensus_t: Number of cells by consensus, as in ``Consensus.names``.
        id_i: Number of cells by its Cell Ontology id, as in ``Consensus.ids``.
        own_m: What is counted of each further model alone.
        stance_mss: For each further model the number of cells by what the main model and it stand by.
        relation_mss: ``Relation`` of these, for the pairs that occur.
        disputed_c: Number of cells by the main model's label of which a further model contradicts the main one.
    """

    consensus: Consensus
    relation_cr: I64Array = field(init=False)
    consensus_t: I64Array = field(init=False)
    id_i: I64Array = field(init=False)
    own_m: tuple[OwnCounts, ...] = field(init=False)
    stance_mss: tuple[I64Array, ...] = field(init=False)
    relation_mss: tuple[I64Array, ...] = field(init=False)
    disputed_c: I64Array = field(init=False)

    def __post_init__(self) -> None:
        main, *others = self.consensus.ballots
        self.relation_cr = np.zeros((len(main.vocabulary.names), len(Relation)), np.int64)
        self.consensus_t = np.zeros(len(self.consensus.names), np.int64)
        self.id_i = np.zeros(len(self.consensus.ids), np.int64)
        self.own_m = tuple(OwnCounts(other.vocabulary) for other in others)
        self.stance_mss = tuple(np.zeros((len(main.names), len(other.names)), np.int64) for other in others)
        self.relation_mss = tuple(np.full(stance_ss.shape, Relation.UNSAID) for stance_ss in self.stance_mss)
        self.disputed_c = np.zeros(len(main.vocabulary.names), np.int64)

    def tables(self) -> Iterator[pa.Table]:
        """The tables of the consensus, with their cells counted as they are read."""
        for opinions in self.consensus.opinions():
            self._add(opinions)
            yield self.consensus.table(opinions)

    @property
    def relation_r(self) -> I64Array:
        """Number of cells by ``Relation``."""
        return np.asarray(self.relation_cr.sum(axis=0))

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return int(self.relation_cr.sum())

    @property
    def consensus_counts(self) -> dict[str, int]:
        """Number of cells by consensus, most first."""
        return _counts(self.consensus.names, self.consensus_t)

    @property
    def disputed(self) -> dict[str, int]:
        """Number of cells of which another model contradicts the main model, by the main model's label, most first."""
        return _counts(self.consensus.ballots[0].vocabulary.names, self.disputed_c)

    @property
    def absent(self) -> frozenset[str]:
        """The columns of reliable labels that are left out, as it is not known what is reliable."""
        others = enumerate(self.consensus.ballots[1:], 2)
        return frozenset(f"model{number}_reliable_label" for number, ballot in others if not ballot.reliable)

    def categories(self) -> dict[str, list[str]]:
        """The values that occur in each categorical column, sorted by name."""
        found = {
            "consensus_label": self.consensus_counts,
            "consensus_id": _counts(self.consensus.ids, self.id_i),
            "consensus_relation": _counts(RELATION_WORDS, self.relation_r),
        }
        for place, ballot in enumerate(self.consensus.ballots[1:]):
            name = f"model{place + 2}"
            found[f"{name}_label"] = _counts(ballot.vocabulary.names, self.own_m[place].cells_c)
            found[f"{name}_reliable_label"] = _counts(ballot.names, self.stance_mss[place].sum(axis=0))
        return {column: sorted(counts) for column, counts in found.items()}

    def _add(self, opinions: Opinions) -> None:
        agreed, consensus, stance_m = opinions.agreed, self.consensus, opinions.stance_m
        label_m = [
            name_codes(calls, ballot.vocabulary)
            for calls, ballot in zip(opinions.calls_m, consensus.ballots, strict=True)
        ]
        np.add.at(self.relation_cr, (label_m[0], agreed.relation_n), 1)
        np.add.at(self.consensus_t, consensus.name_codes[agreed.type_n], 1)
        id_n = consensus.id_codes[agreed.type_n]
        np.add.at(self.id_i, id_n[id_n != NO_TYPE], 1)
        disputed_n = np.zeros(len(label_m[0]), np.bool_)
        for place, (own, stance_ss) in enumerate(zip(self.own_m, self.stance_mss, strict=True), 1):
            pair = (stance_m[0], stance_m[place])
            self._compare(place, np.unique(np.stack([one_n[stance_ss[pair] == 0] for one_n in pair], axis=1), axis=0))
            own.add(opinions.calls_m[place], label_m[place])
            np.add.at(stance_ss, pair, 1)
            disputed_n |= self.relation_mss[place - 1][pair] == Relation.DIFFERENT
        np.add.at(self.disputed_c, label_m[0][disputed_n], 1)

    def _compare(self, place: int, pairs: I64Array) -> None:
        """Find out how pairs that occur for the first time agree."""
        types, ballots = self.consensus.types, self.consensus.ballots
        for ours, theirs in pairs.tolist():
            pair = int(ballots[0].type_s[ours]), int(ballots[place].type_s[theirs])
            self.relation_mss[place - 1][ours, theirs] = relation(types, pair)


def _counts(names: tuple[str, ...], count_c: I64Array) -> dict[str, int]:
    return most_first({name: int(n) for name, n in zip(names, count_c.tolist(), strict=True) if n})
