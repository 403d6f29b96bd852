"""Counts over all cells of how several models' labels agree. Memory does not grow with the number of cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from jobs.engine.consensus import NO_TYPE, Relation
from jobs.inference.merge.calls import I64Array, name_codes
from jobs.inference.merge.consensus import Consensus, Opinions
from jobs.inference.merge.tally import most_first


@dataclass(slots=True)
class Disagreements:
    """Counts over the cells seen so far. Axis ``c`` is the main model's names, including ``Unassigned``.

    Attributes:
        relation_r: Number of cells by ``Relation``.
        relation_cr: The same by the main model's label.
        consensus_c: Number of cells by consensus, as in ``Consensus.names``.
        id_i: Number of cells by its Cell Ontology id, as in ``Consensus.ids``.
        votes_m: Number of cells by the number of models that vote for the consensus.
        label_mc: For each further model the number of cells by its names.
        cells_mcc: For each further model the number of cells by the main model's name and by its own.
    """

    consensus: Consensus
    relation_cr: I64Array = field(init=False)
    consensus_c: I64Array = field(init=False)
    id_i: I64Array = field(init=False)
    votes_m: I64Array = field(init=False)
    cells_mcc: tuple[I64Array, ...] = field(init=False)

    def __post_init__(self) -> None:
        main, *others = [len(vocabulary.names) for vocabulary in self.consensus.vocabularies]
        self.relation_cr = np.zeros((main, len(Relation)), np.int64)
        self.consensus_c = np.zeros(len(self.consensus.names), np.int64)
        self.id_i = np.zeros(len(self.consensus.ids), np.int64)
        self.votes_m = np.zeros(len(others) + 2, np.int64)
        self.cells_mcc = tuple(np.zeros((main, other), np.int64) for other in others)

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
        return _counts(self.consensus.names, self.consensus_c)

    @property
    def disputed(self) -> dict[str, int]:
        """Number of cells of which a model's label excludes another's, by the main model's label, most first."""
        return _counts(self.consensus.main.vocabulary.names, self.relation_cr[:, Relation.DIFFERENT])

    def categories(self) -> dict[str, list[str]]:
        """The values that occur in each categorical column, sorted by name."""
        found = {"consensus_label": self.consensus_counts, "consensus_id": _counts(self.consensus.ids, self.id_i)}
        pairs = zip(self.cells_mcc, self.consensus.others, strict=True)
        for number, (cells_cc, other) in enumerate(pairs, 2):
            found[f"model{number}_label"] = _counts(other.vocabulary.names, cells_cc.sum(axis=0))
        return {column: sorted(counts) for column, counts in found.items()}

    def _add(self, opinions: Opinions) -> None:
        agreed, consensus = opinions.agreed, self.consensus
        codes_m = [name_codes(*pair) for pair in zip(opinions.calls_m, consensus.vocabularies, strict=True)]
        np.add.at(self.relation_cr, (codes_m[0], agreed.relation_n), 1)
        np.add.at(self.consensus_c, consensus.name_codes[agreed.type_n], 1)
        id_n = consensus.id_codes[agreed.type_n]
        np.add.at(self.id_i, id_n[id_n != NO_TYPE], 1)
        self.votes_m += np.bincount(agreed.votes_n, minlength=len(self.votes_m))
        for code_n, cells_cc in zip(codes_m[1:], self.cells_mcc, strict=True):
            np.add.at(cells_cc, (codes_m[0], code_n), 1)


def _counts(names: tuple[str, ...], count_c: I64Array) -> dict[str, int]:
    present = Counter({name: int(n) for name, n in zip(names, count_c.tolist(), strict=True) if n})
    return most_first(present)
