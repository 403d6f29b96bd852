"""What the manifest says of the labels: the number of cells of each, and what they rest on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from jobs.engine.composition import Composition
from jobs.engine.levels import Level
from jobs.engine.raising import Thresholds
from jobs.inference.merge.groups import Merge
from jobs.inference.merge.tally import Tally, most_first
from jobs.inference.outputs.manifest import Labels, ReliabilityFacts, cluster_facts
from shared.bundles.card import Reliability

Shares = TypeVar("Shares")


def label_facts(tally: Tally, merge: Merge) -> Labels:
    """The facts of all cells of a merge, which were counted."""
    used = merge.rules.thresholds
    return Labels(
        n_cells=tally.n_cells,
        n_unassigned=tally.n_abstained,
        n_unfamiliar=tally.n_unfamiliar,
        n_judged=tally.n_looked or None,
        lineages=most_first(tally.lineage_counts) or None,
        reliable=most_first(tally.reliable_counts) or None,
        reliability=None if used is None else _reliability_facts(used.whole, used.learned, used.why_none),
        reliability_by_sample=_reliability_by_sample(used),
        reliable_labels=tally.reliable_label_counts if tally.level_counts else None,
        n_reliable_label=tally.level_counts[Level.LABEL] if tally.level_counts else None,
        n_reliable_group=tally.level_counts[Level.GROUP] if tally.level_counts and tally.vocabulary.groups else None,
        n_reliable_lineage=tally.level_counts[Level.LINEAGE] if tally.level_counts else None,
        shares=_composed(merge, Composition.by_name),
        shares_by_sample=_composed(merge, Composition.by_sample),
        cells_by_sample=_composed(merge, lambda found, _names: found.cells_by_sample),
        clusters=cluster_facts(merge.rules.clusters, merge.vocabulary) if merge.rules.clusters else None,
        counts=tally.label_counts,
    )


def _reliability_by_sample(used: Thresholds | None) -> dict[str, ReliabilityFacts] | None:
    if used is None or used.by_sample is None:
        return None
    return {name: _reliability_facts(one, used.learned) for name, one in used.by_sample.items()}


def _reliability_facts(used: Reliability, learned: Reliability, why_none: str = "") -> ReliabilityFacts:
    return ReliabilityFacts(
        error=used.error,
        label_score=used.label_score,
        lineage_score=used.lineage_score,
        tree_score=used.tree_score,
        raised=used != learned,
        why_none=why_none or None,
    )


def _composed(merge: Merge, by: Callable[[Composition, Sequence[str]], Shares]) -> Shares | None:
    """The shares of the labels that the scores were corrected to, if they were."""
    found = merge.rules.composition
    return None if found is None else by(found, [label.name for label in merge.vocabulary.labels])
