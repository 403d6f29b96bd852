"""Agreement in the Cell Ontology: a prediction that is a kind of the true type, or a wider one, is partly right.

The definitions are those of Cellarium CAS (Broad Institute), so that figures can be compared:

- Hierarchical precision, recall and F: each term stands for the set of itself and its ancestors, but not the root, of
  which all cells are. Over all cells, precision is the size of the common sets over that of the predicted sets, and
  recall that over the true sets (Kiritchenko et al. 2006; CAS, ``benchmarking/hierarchical_f_measure``, 1.8.1).
- Hop-wise F1: within k hops, along ``is_a`` in both directions, a prediction is right. Outside, it is wrong unless it
  is related to a term within k hops: an ancestor or a descendant of one, or a term with a common descendant. Then it
  is neither right nor wrong (CAS, ``benchmarking/ontology_aware``). The score of the best label is taken as 1.

A label of the model that is no term has no set of ancestors and is related to nothing. It is wrong within any number of
hops, and loses recall. Precision is over the cells whose prediction is a term.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]
Terms = frozenset[str]

ROOT = "CL:0000000"
"""Cell, the root of the Cell Ontology."""
HOPS = 4
"""As many as in CAS's own tables."""


@dataclass(frozen=True)
class Hierarchy:
    """What is a kind of what.

    Attributes:
        parents: The ids of each term's parents.
        root: The term that everything is a kind of.
    """

    parents: Mapping[str, Sequence[str]]
    root: str = ROOT

    @cached_property
    def children(self) -> dict[str, list[str]]:
        """The ids of each term's children."""
        found: dict[str, list[str]] = {}
        for child, parents in self.parents.items():
            for parent in parents:
                found.setdefault(parent, []).append(child)
        return found

    def ancestors(self, term: str) -> Terms:
        """The term and everything that it is a kind of."""
        return _reached([term], self.parents)

    def kinds(self, term: str) -> Terms:
        """The same without the root: what a term says of a cell."""
        return self.ancestors(term) - {self.root}

    def descendants(self, terms: Iterable[str]) -> Terms:
        """The terms and every kind of them."""
        return _reached(terms, self.children)

    def within(self, term: str, hops: int) -> Terms:
        """The terms that are at most so many steps away, up or down at each step."""
        found = frontier = frozenset([term])
        for _ in range(hops):
            frontier = frozenset(
                near for one in frontier for near in (*self.parents.get(one, ()), *self.children.get(one, ()))
            )
            found |= frontier
        return found


def _reached(starts: Iterable[str], following: Mapping[str, Sequence[str]]) -> Terms:
    found, left = set(starts), list(starts)
    while left:
        new = [term for term in following.get(left.pop(), ()) if term not in found]
        found.update(new)
        left += new
    return frozenset(found)


@dataclass(frozen=True, slots=True)
class HierarchicalAgreement:
    """Agreement over the cells whose own label is a term of the ontology.

    Attributes:
        exact: Share of cells with the same term.
        precision: Hierarchical precision, over the cells whose prediction is a term; 0 if there are none.
        recall: Hierarchical recall, over all cells: one whose prediction is no term has nothing in common.
        f1: Of common, predicted and true sets, over all cells.
        macro_f1: The mean F of the terms in true sets, each by the cells that are and are said to be of it.
        ancestor: Share of cells whose prediction is an ancestor of the true term: right, but wider.
        descendant: Share of cells whose prediction is a descendant of it: it may be right.
        hop_f1: Mean F1 within 0, 1, … ``HOPS`` hops.
        hop_specificity: Share of cells whose prediction is not wrong within so many hops. One that is no term is wrong.
        unplaced: The model's labels that are no terms of the ontology.
    """

    n_cells: int
    exact: float
    ancestor: float
    descendant: float
    precision: float
    recall: float
    f1: float
    macro_f1: float
    hop_f1: tuple[float, ...]
    hop_specificity: tuple[float, ...]
    unplaced: tuple[str, ...] = ()


def hierarchical_agreement(
    hierarchy: Hierarchy,
    cells_tp: Int64s,
    true: Sequence[str | None],
    predicted: Sequence[str | None],
    unplaced: Iterable[str] = (),
) -> HierarchicalAgreement | None:
    """Compare terms; None if no cell has a true term.

    Args:
        cells_tp: Cells by own label (rows) and predicted label (columns).
        true: The term of each own label; None if it has none.
        predicted: The term of each predicted label; likewise.
        unplaced: The names of those without one.
    """
    rows = [row for row, term in enumerate(true) if term is not None and cells_tp[row].any()]
    if not rows:
        return None
    found = [_of_term(hierarchy, str(true[row]), cells_tp[row], predicted) for row in rows]
    n_cells = sum(one.n_cells for one in found)
    common, n_predicted, n_true = (
        sum(getattr(one, name).total() for one in found) for name in ("common", "predicted", "true")
    )
    return HierarchicalAgreement(
        n_cells=n_cells,
        exact=sum(one.exact for one in found) / n_cells,
        ancestor=sum(one.ancestor for one in found) / n_cells,
        descendant=sum(one.descendant for one in found) / n_cells,
        precision=_ratio(common, n_predicted),
        recall=_ratio(common, n_true),
        f1=_ratio(2 * common, n_predicted + n_true),
        macro_f1=_macro(found),
        hop_f1=tuple((np.sum([one.near_h for one in found], axis=0) / n_cells).tolist()),
        hop_specificity=tuple((1 - np.sum([one.off_h for one in found], axis=0) / n_cells).tolist()),
        unplaced=tuple(sorted(unplaced)),
    )


@dataclass(frozen=True, slots=True)
class _OfTerm:
    """The cells of one own label.

    Attributes:
        common: The number of cells by each term of their common sets; ``predicted`` and ``true`` likewise.
        near_h: Cells whose prediction is within each number of hops.
        off_h: Cells whose prediction is wrong within each number of hops, or no term.
    """

    n_cells: int
    exact: int
    ancestor: int
    descendant: int
    common: Counter[str]
    predicted: Counter[str]
    true: Counter[str]
    near_h: Int64s
    off_h: Int64s


def _of_term(hierarchy: Hierarchy, term: str, cells_p: Int64s, predicted: Sequence[str | None]) -> _OfTerm:
    above, below = hierarchy.ancestors(term), hierarchy.descendants([term])
    placed = [(one, n) for one, n in zip(predicted, cells_p.tolist(), strict=True) if n and one is not None]
    kinds = hierarchy.kinds(term)
    common, said = Counter[str](), Counter[str]()
    for one, n_cells in placed:
        of_one = hierarchy.kinds(one)
        common.update(dict.fromkeys(of_one & kinds, n_cells))
        said.update(dict.fromkeys(of_one, n_cells))
    n_unplaced = int(cells_p.sum()) - sum(n for _, n in placed)
    near_h, off_h = np.zeros(HOPS + 1, np.int64), np.full(HOPS + 1, n_unplaced, np.int64)
    for hops in range(HOPS + 1):
        nodes = hierarchy.within(term, hops)
        narrower = hierarchy.descendants(nodes)
        for one, n_cells in placed:
            near_h[hops] += n_cells * (one in nodes)
            # That of an ancestor of a node has the node in it.
            off_h[hops] += n_cells * narrower.isdisjoint(hierarchy.descendants([one]))
    return _OfTerm(
        n_cells=int(cells_p.sum()),
        exact=sum(n for one, n in placed if one == term),
        ancestor=sum(n for one, n in placed if one in above and one != term),
        descendant=sum(n for one, n in placed if one in below and one != term),
        common=common,
        predicted=said,
        true=Counter(dict.fromkeys(kinds, int(cells_p.sum()))),
        near_h=near_h,
        off_h=off_h,
    )


def _macro(found: Sequence[_OfTerm]) -> float:
    """The mean F of the terms of true sets; 0 if there are none."""
    common, predicted, true = (Counter[str]() for _ in range(3))
    for one in found:
        common.update(one.common)
        predicted.update(one.predicted)
        true.update(one.true)
    return float(np.mean([_ratio(2 * common[term], predicted[term] + true[term]) for term in sorted(true)] or [0.0]))


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
