"""What the nearest reference cells say about a cell, as Cellarium CAS counts it.

The formulas are those of the consensus strategies of Cellarium CAS (Broad Institute, ``cellarium-cloud``), so that
answers can be compared, field for field. Its third strategy, plain search, is ``jobs.engine.neighbours`` itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

PREFACTOR = 1.0
"""CAS's own."""
PRUNED_BELOW = 0.05
"""CAS's own."""


def vote_weights(distance_nk: torch.Tensor, prefactor: float = PREFACTOR) -> torch.Tensor:
    """The weight of each neighbour's vote, ``exp(-prefactor · d / median d)``, n x k, float64.

    If more than half of the neighbours are at distance 0, so is the median. Then these have the weight 1 and all others
    0, the limit of the formula. CAS would divide by 0.

    Args:
        distance_nk: Distances of k neighbours, in any order, float64.
    """
    k = distance_nk.shape[1]
    ordered_nk = distance_nk.sort(dim=1).values
    median_n = (ordered_nk[:, (k - 1) // 2] + ordered_nk[:, k // 2]) / 2
    none_n = median_n == 0
    rate_n = torch.where(none_n, -torch.inf, -prefactor / torch.where(none_n, 1.0, median_n))
    exponent_nk = torch.where(distance_nk == 0, 0.0, rate_n[:, None] * distance_nk)
    return exponent_nk.exp()


@dataclass(frozen=True, slots=True)
class OntologyVote:
    """The scores of the terms of an ontology for one cell.

    Attributes:
        score: The share of the weight that is of neighbours of this term or of a kind of it, for terms with at least
            the score to prune at; in the ontology's order.
        n_unrecognized: Neighbours whose term the ontology does not have. They count in the total weight.
    """

    score: Mapping[str, float]
    total_weight: float
    n_neighbours: int
    n_unrecognized: int

    def deepest(self, depth: Mapping[str, int], minimum: float) -> str | None:
        """The deepest term with at least this score; of equally deep ones, that of the highest, then the first by id.

        None if no term has it.
        """
        enough = [term for term, score in self.score.items() if score >= minimum]
        return min(enough, key=lambda term: (-depth[term], -self.score[term], term), default=None)


def ontology_vote(
    distance_k: Sequence[float],
    term_k: Sequence[str],
    ancestors: Mapping[str, Sequence[str]],
    *,
    prefactor: float = PREFACTOR,
    pruned_below: float = PRUNED_BELOW,
) -> OntologyVote:
    """Give each neighbour's weight, as a share of all, to its term and to everything that it is a kind of.

    Args:
        distance_k: Distances of the k neighbours of one cell, at least one.
        term_k: Their terms.
        ancestors: For each term of the ontology, those above it, without itself.
    """
    assert len(distance_k) == len(term_k) > 0
    weight_k = vote_weights(torch.tensor([distance_k], dtype=torch.float64), prefactor)[0].tolist()
    score = dict.fromkeys(ancestors, 0.0)
    for term, weight in zip(term_k, weight_k, strict=True):
        for one in (term, *ancestors[term]) if term in score else ():
            score[one] += weight
    total = sum(weight_k)
    share = {term: weight / total for term, weight in score.items()}
    return OntologyVote(
        score={term: value for term, value in share.items() if value >= pruned_below},
        total_weight=total,
        n_neighbours=len(term_k),
        n_unrecognized=sum(term not in score for term in term_k),
    )


@dataclass(frozen=True, slots=True)
class TypeStatistics:
    """The distances of the neighbours of one type; p25 and p75 are percentiles, interpolated linearly."""

    cell_type: str
    cell_count: int
    min_distance: float
    p25_distance: float
    median_distance: float
    p75_distance: float
    max_distance: float


def summary_statistics(distance_k: Sequence[float], type_k: Sequence[str]) -> list[TypeStatistics]:
    """The distances of one cell's neighbours by type: the most frequent first, else in order of appearance."""
    of: dict[str, list[float]] = {}
    for distance, cell_type in zip(distance_k, type_k, strict=True):
        of.setdefault(cell_type, []).append(distance)
    ordered = sorted(of.items(), key=lambda one: -len(one[1]))
    return [TypeStatistics(name, len(found), *_five_numbers(found)) for name, found in ordered]


def _five_numbers(distances: Sequence[float]) -> list[float]:
    return [float(value) for value in np.percentile(distances, [0, 25, 50, 75, 100])]
