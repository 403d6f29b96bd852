"""The scores of Cell Ontology terms: those of a model's labels, summed up to the root."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from shared.bundles.card import Label, ModelCard
from shared.bundles.groups import Group
from shared.bundles.kinds import NeighboursCard
from shared.bundles.terms import ROOT_ID, ROOT_NAME, Term

Float32s = npt.NDArray[np.float32]
Float64s = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]

PRUNED_BELOW = 0.05
"""Terms with a lower score are left out, as Cellarium CAS does by default."""


@dataclass(frozen=True)
class TermGraph:
    """The terms that a model can say something about, and what is a kind of what.

    Attributes:
        names: The name of each term by id, parents before their children: the root first.
        parents: The ids of each term's parents; none of the root.
        term_l: The most specific term that each label is known to be a kind of, by id; None if there is none.
    """

    names: Mapping[str, str]
    parents: Mapping[str, tuple[str, ...]]
    term_l: tuple[str | None, ...]

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the terms, in their order."""
        return tuple(self.names)

    @cached_property
    def ancestors(self) -> dict[str, tuple[str, ...]]:
        """The ids of all terms above each term, in their order; without the term itself."""
        place = {term: number for number, term in enumerate(self.names)}
        found: dict[str, tuple[str, ...]] = {}
        for term in self.names:
            above = {one for parent in self.parents[term] for one in (parent, *found[parent])}
            found[term] = tuple(sorted(above, key=place.__getitem__))
        return found

    @cached_property
    def children(self) -> dict[str, tuple[str, ...]]:
        """The ids of each term's children, in their order."""
        found: dict[str, list[str]] = {term: [] for term in self.names}
        for term in self.names:
            for parent in self.parents[term]:
                found[parent].append(term)
        return {term: tuple(children) for term, children in found.items()}

    @cached_property
    def shortest(self) -> dict[str, int]:
        """The number of steps from the root to each term, along the shortest way."""
        found: dict[str, int] = {}
        for term in self.names:
            found[term] = min((found[parent] + 1 for parent in self.parents[term]), default=0)
        return found

    @cached_property
    def longest(self) -> dict[str, int]:
        """Likewise along the longest way."""
        return longest(self.names, self.parents)

    @cached_property
    def places_l(self) -> tuple[Int64s, ...]:
        """For each label, the positions of its term and of all terms above it; none without a term."""
        place = {term: number for number, term in enumerate(self.names)}
        within = [(term, *self.ancestors[term]) if term else () for term in self.term_l]
        return tuple(np.array(sorted(place[term] for term in terms), np.int64) for terms in within)


def graph_of(labels: Sequence[Label], groups: Sequence[Group] = (), terms: Sequence[Term] = ()) -> TermGraph:
    """The terms of a card's labels and all above them, up to the root, which is added if it is not there.

    A term that is not among ``terms`` is a kind of the narrowest group around its label that is a term, or else of the
    root. The name of such a term is that of the first label or group with its id.

    Args:
        groups: The groups of the labels' tree, the narrowest first.
        terms: The part of the ontology that the bundle carries.
    """
    names = {ROOT_ID: ROOT_NAME} | {term.id: term.name for term in terms}
    parents: dict[str, list[str]] = {ROOT_ID: []}
    parents |= {term.id: list(term.parents) or [ROOT_ID] for term in terms if term.id != ROOT_ID}
    carried = set(parents)
    around: dict[str, list[Group]] = {}
    for group in groups:
        for name in group.labels:
            around.setdefault(name, []).append(group)
    term_l: list[str | None] = []
    for label in labels:
        chain = list(_chain(label, around.get(label.name, ())))
        for name, term in chain:
            names.setdefault(term, name)
        term_l.append(chain[0][1] if chain else None)
        above = [*(term for _, term in chain), ROOT_ID]
        for term, parent in pairwise(above):
            known = parents.setdefault(term, [])
            if term not in carried and parent not in known and not is_above(term, parent, parents):
                known.append(parent)
    depth = longest(parents_first(parents), parents)
    order = sorted(parents, key=lambda term: (depth[term], term))
    return TermGraph(
        {term: names[term] for term in order}, {term: tuple(parents[term]) for term in order}, tuple(term_l)
    )


def _chain(label: Label, around: Sequence[Group]) -> Iterator[tuple[str, str]]:
    """The names and ids of the label and of the groups around it, of those that are terms, the narrowest first."""
    seen: set[str] = set()
    chain: tuple[Label | Group, ...] = (label, *around)
    for one in chain:
        if one.ontology_id and one.ontology_id not in seen:
            seen.add(one.ontology_id)
            yield one.name, one.ontology_id


def is_above(term: str, other: str, parents: Mapping[str, Sequence[str]]) -> bool:
    """Whether the other term is this one or a kind of it."""
    left, seen = [other], {other}
    while left:
        one = left.pop()
        if one == term:
            return True
        new = [parent for parent in parents.get(one, ()) if parent not in seen]
        seen.update(new)
        left += new
    return False


def parents_first(parents: Mapping[str, Sequence[str]]) -> list[str]:
    """The terms in an order in which each comes after its parents."""
    children: dict[str, list[str]] = {}
    missing = {term: len(above) for term, above in parents.items()}
    for term, above in parents.items():
        for parent in above:
            children.setdefault(parent, []).append(term)
    ready = [term for term, number in missing.items() if not number]
    for term in ready:
        for child in children.get(term, ()):
            missing[child] -= 1
            if not missing[child]:
                ready.append(child)
    assert len(ready) == len(parents), "a circle of terms"
    return ready


def longest(order: Iterable[str], parents: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """The number of steps from the root to each term along the longest way; ``order`` is that of ``parents_first``."""
    found: dict[str, int] = {}
    for term in order:
        found[term] = max((found[parent] + 1 for parent in parents[term]), default=0)
    return found


@dataclass(frozen=True, slots=True)
class TermScores:
    """The scores of terms for n cells, and what they are shares of.

    Attributes:
        score_nt: The share of the weight that is of the term and of all kinds of it, cells x terms; 0 if pruned.
        total_weight_n: The weight of all that voted.
        n_voters_n: The number of those that voted, int32.
        n_unrecognized_n: Of these, how many have no term, int32. Their weight is in the total.
    """

    score_nt: Float32s
    total_weight_n: Float32s
    n_voters_n: npt.NDArray[np.int32]
    n_unrecognized_n: npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class TermScorer:
    """Sums the probabilities of labels to scores of terms, as Cellarium CAS sums the votes of neighbours.

    Each label votes with its probability for its term and all terms above it; a score is the share of the votes. So the
    root has 1, unless a label has no term.

    With a neighbours bundle, the votes are those of its k neighbours, before smoothing and calibration: the very shares
    that CAS computes (``jobs.engine.kinds.neighbours``).

    Attributes:
        neighbours: The card of a neighbours bundle; None for another kind.
    """

    graph: TermGraph
    neighbours: NeighboursCard | None = None

    @classmethod
    def of(cls, card: ModelCard) -> TermScorer:
        """That of a model."""
        graph = graph_of(card.labels, card.tree, card.terms)
        return cls(graph, card if isinstance(card, NeighboursCard) else None)

    @property
    def corrects(self) -> bool:
        """Whether probabilities may be corrected to the sample's shares of labels. The votes of CAS are not."""
        return self.neighbours is None

    def scores(self, probability_nl: Float32s, silent_n: npt.NDArray[np.bool_]) -> TermScores:
        """The scores of n cells.

        Args:
            probability_nl: The labels' probabilities, cells x labels, as parts keep them.
            silent_n: Cells without a value of the model's genes. Nobody votes: all that is said of them is the root.
        """
        weight_nl = probability_nl.astype(np.float64) if self.neighbours is None else self._votes(probability_nl)
        total_n = np.zeros(len(weight_nl))
        sum_tn = np.zeros((len(self.graph.names), len(weight_nl)))
        unknown_n = np.zeros(len(weight_nl))
        # Label by label: the sums do not depend on the number of cells at once.
        for label, places in enumerate(self.graph.places_l):
            total_n += weight_nl[:, label]
            sum_tn[places] += weight_nl[:, label]
            if not len(places):
                unknown_n += weight_nl[:, label]
        return self._as_shares(sum_tn, total_n, unknown_n, silent_n | (total_n <= 0))

    def _as_shares(
        self, sum_tn: Float64s, total_n: Float64s, unknown_n: Float64s, none_n: npt.NDArray[np.bool_]
    ) -> TermScores:
        divisor_n = np.where(none_n, 1.0, total_n)
        share_nt = np.ascontiguousarray((sum_tn / divisor_n).T)
        share_nt[share_nt < PRUNED_BELOW] = 0
        share_nt[none_n] = 0
        share_nt[none_n, 0] = 1
        if self.neighbours is None:
            n_voters, n_unknown_n = len(self.graph.term_l), np.full(len(total_n), self.graph.term_l.count(None))
        else:
            n_voters, n_unknown_n = self.neighbours.k, np.rint(unknown_n / divisor_n * self.neighbours.k)
        return TermScores(
            score_nt=share_nt.astype(np.float32),
            total_weight_n=np.where(none_n, 0.0, total_n).astype(np.float32),
            n_voters_n=np.where(none_n, 0, n_voters).astype(np.int32),
            n_unrecognized_n=np.where(none_n, 0, n_unknown_n).astype(np.int32),
        )

    def _votes(self, probability_nl: Float32s) -> Float64s:
        """The shares of the labels in the neighbours' votes: ``NeighboursModel`` and the temperature, undone."""
        card = self.neighbours
        assert card is not None
        power_nl = probability_nl.astype(np.float64) ** card.temperature
        smooth_nl = power_nl / np.maximum(power_nl.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
        share_nl = (smooth_nl * (card.k + 1) - 1 / power_nl.shape[1]) / card.k
        share_nl[share_nl < _NO_VOTE] = 0
        return np.asarray(share_nl / np.maximum(share_nl.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny))


_NO_VOTE = 1e-6
"""Below, a share is what rounding to float32 leaves of nothing."""
