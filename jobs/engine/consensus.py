"""What most of several models say about a cell, through the Cell Ontology, as popV counts it.

Each model votes for the type that it stands by, and for every wider type that this is a kind of. The consensus is the
most specific type that more than half of the models vote for. The idea is that of popV (Ergen et al., Consensus
prediction of cell type labels in single-cell data with popV, Nature Genetics 56, 2731 (2024),
doi:10.1038/s41588-024-01993-3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import combinations

import numpy as np
import numpy.typing as npt

from jobs.engine.cell_types import NO_TYPE, CellTypes

Int64s = npt.NDArray[np.int64]

_MOST_KEPT = 100_000


class Relation(IntEnum):
    """How the types that several models stand by, for one cell, agree."""

    SAME = 0
    """All are the same."""
    WIDER = 1
    """They differ only in how specific they are: of any two, one is a kind of the other."""
    DIFFERENT = 2
    """Two of them are known to be different (``Distinctions``)."""
    NOT_COMPARABLE = 3
    """Of two of them it is not known whether they differ, or whether one is a kind of the other."""
    UNSAID = 4
    """Some model stands by none."""


@dataclass(frozen=True, slots=True)
class Agreed:
    """What the models say together about n cells.

    Attributes:
        type_n: The type that most vote for, or NO_TYPE.
        votes_n: The number of models that do.
        relation_n: ``Relation`` of the types that they stand by.
    """

    type_n: Int64s
    votes_n: Int64s
    relation_n: Int64s


@dataclass(frozen=True, slots=True)
class Counting:
    """Counts votes for many cells. What the same types lead to is computed once.

    Attributes:
        known: What types led to: consensus, votes and relation. It is emptied when it becomes large.
    """

    types: CellTypes
    known: dict[tuple[int, ...], tuple[int, int, int]] = field(default_factory=dict)

    def agreed(self, type_nm: Int64s) -> Agreed:
        """Count the votes of each cell.

        Args:
            type_nm: The type that each model stands by, cells x models.
        """
        different, place_n = np.unique(type_nm, axis=0, return_inverse=True)
        found = np.array([self._of(tuple(row)) for row in different.tolist()], np.int64).reshape(-1, 3)
        type_n, votes_n, relation_n = found[place_n.reshape(-1)].T
        return Agreed(type_n, votes_n, relation_n)

    def _of(self, type_m: tuple[int, ...]) -> tuple[int, int, int]:
        found = self.known.get(type_m)
        if found is None:
            if len(self.known) >= _MOST_KEPT:
                self.known.clear()
            found = self.known[type_m] = (*vote(self.types, type_m), relation(self.types, type_m))
        return found


def vote(types: CellTypes, type_m: Sequence[int]) -> tuple[int, int]:
    """The most specific type that more than half of the models vote for, and by how many.

    Of equally specific ones it is that with most votes, then the first by name. NO_TYPE and 0 if there is none.

    Args:
        type_m: The type that each model stands by; NO_TYPE if by none.
    """
    votes: dict[int, int] = {}
    for one in type_m:
        for wider in types.within[one] if one != NO_TYPE else ():
            votes[wider] = votes.get(wider, 0) + 1
    most = [one for one, n in votes.items() if 2 * n > len(type_m)]
    if not most:
        return NO_TYPE, 0
    best = min(most, key=lambda one: (-types.depth[one], -votes[one], types.names[one], types.ids[one] or ""))
    return best, votes[best]


def relation(types: CellTypes, type_m: Sequence[int]) -> Relation:
    """How the types that the models stand by agree.

    Two that are known to be different are so whatever the others say; likewise two that cannot be compared, if none are
    different.
    """
    named = sorted({one for one in type_m if one != NO_TYPE})
    unrelated = [pair for pair in combinations(named, 2) if not _are_related(types, *pair)]
    if any(types.distinctions.differ(*pair) for pair in unrelated):
        return Relation.DIFFERENT
    if unrelated:
        return Relation.NOT_COMPARABLE
    if NO_TYPE in type_m:
        return Relation.UNSAID
    return Relation.SAME if len(named) == 1 else Relation.WIDER


def _are_related(types: CellTypes, one: int, other: int) -> bool:
    return one in types.within[other] or other in types.within[one]
