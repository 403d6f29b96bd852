"""Fits the rules of a merge to the sample: the shares of its labels, and from which score on a label is reliable."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from jobs.engine.abstaining import says_shares
from jobs.engine.composition import estimate
from jobs.engine.keeping import CellGroups, Kept, KeptScores, joined
from jobs.engine.levels import lineages_of
from jobs.engine.raising import LEAST_CELLS, MOST_BYTES, MOST_CELLS, Thresholds, raised, raised_in_tree
from jobs.inference.merge.groups import Merge
from jobs.inference.parts.arrays import F32Array
from shared.bundles.card import Reliability


def fitted(
    merge: Merge, assumed: Sequence[float], samples: CellGroups | None, beat: Callable[[], None] = lambda: None
) -> Merge:
    """Correct scores to the shares of the labels in the sample, and raise the thresholds of reliable labels.

    One pass over the parts. Without a cell that is like the training cells, the rules stay as they are. Samples with
    too few of them share thresholds with the cells that have no sample.

    Args:
        assumed: The shares that the scores assume; empty if they are not to be corrected.
        samples: The samples of the cells. Each has shares and thresholds of its own; None takes the file as one.
    """
    thresholds, n_cells = merge.rules.thresholds, merge.layout.n_cells
    if thresholds is not None and thresholds.why_none:
        thresholds = None
    kept = KeptScores(n_cells, len(merge.vocabulary.labels), MOST_CELLS, MOST_BYTES, samples)
    pieces = used_scores(merge) if thresholds is None else kept.watch(used_scores(merge))
    if assumed:
        found = estimate(pieces, assumed, n_cells, beat, samples)
        if found.n_cells:
            merge = replace(merge, rules=replace(merge.rules, composition=found))
    else:
        for _ in pieces:
            beat()
    if thresholds is None:
        return merge
    used = _thresholds(thresholds.learned, kept, merge, beat)
    return replace(merge, rules=replace(merge.rules, thresholds=used))


def _thresholds(learned: Reliability, kept: KeptScores, merge: Merge, beat: Callable[[], None]) -> Thresholds:
    if kept.samples is None:
        return Thresholds(learned, _raised(learned, kept.whole, merge))
    of_samples, names = list(kept.by_sample()), kept.samples.names
    few = frozenset(name for name, own in zip(names, of_samples, strict=True) if len(own) < LEAST_CELLS)
    small = [own for name, own in zip(names, of_samples, strict=True) if name in few]
    rest = joined([kept.without_sample, *small], kept.n_labels)
    shared = _raised(learned, rest if len(rest) >= LEAST_CELLS else kept.whole, merge)
    found = []
    for name, own in zip(names, of_samples, strict=True):
        found.append(shared if name in few else _raised(learned, own, merge))
        beat()
    return Thresholds(learned, shared, kept.samples, tuple(found), few)


def _raised(learned: Reliability, kept: Kept, merge: Merge) -> Reliability:
    probability_ml = kept.probability_ml
    if merge.rules.composition is not None:
        probability_ml = merge.rules.composition.corrected(probability_ml, kept.row_m)
    vocabulary, score_m = merge.vocabulary, probability_ml.max(axis=1)
    if merge.rules.min_score is not None:
        score_m = np.where(score_m < np.float32(merge.rules.min_score), np.float32(-1), score_m)
    if vocabulary.groups:
        return raised_in_tree(learned, probability_ml, score_m, vocabulary.tree)
    lineages = None
    if merge.rules.lineages:
        lineages = lineages_of(probability_ml, vocabulary.lineage_codes, len(vocabulary.lineages))
    return raised(learned, score_m, lineages)


def used_scores(merge: Merge) -> Iterator[tuple[F32Array, npt.NDArray[np.bool_]]]:
    """The probabilities of all cells, with a mark for those that say something about the sample's composition."""
    for group in merge.groups():
        calls = group.calls
        assert calls.probability_nl is not None
        yield calls.probability_nl, says_shares(calls.unfamiliar_n, calls.facts.note_n)
