"""What the top of the report says of several models: where they disagree, and why their agreement may prove little."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from jobs.engine.consensus import Relation
from jobs.inference.merge.disagreements import Disagreements
from jobs.inference.report.data import Assessment
from jobs.inference.report.wording import listing
from shared.bundles.card import UNASSIGNED, ModelCard
from shared.bundles.common_sources import common_sources
from shared.domain.verdict import Verdict
from shared.domain.words import percent, plural, shortened
from shared.h5ad.judge.cautions import LABELS_IN_DOUBT, WarningCode

_NAME = 60
_PLAIN = {
    WarningCode.LOW_SCORES: "for most cells, none of its labels stands out",
    WarningCode.UNFAMILIAR_CELLS: "many cells are unlike its training cells",
    WarningCode.WEAK_MODEL: "on cells held out of its training, it got few labels right",
    WarningCode.MISSING_GENES: "the file lacks much of what it tells labels apart by",
    WarningCode.LOW_OVERLAP: "the file lacks most of its genes",
    WarningCode.SHALLOW_CELLS: "the cells have far fewer counts than its training cells",
}


def with_doubts(
    found: Assessment, disagreements: Disagreements | None, cards: Sequence[ModelCard], verdict: Verdict
) -> Assessment:
    """What is said first, with what is not sure as models disagree; as it is if there is one model only.

    Args:
        cards: Those of the models, the main model's first.
    """
    if disagreements is None or verdict.warns_of(WarningCode.GENES_DISAGREE):
        return found
    doubts = (*_disagreeing(disagreements), *_warned(verdict), *_related(cards))
    # Where nothing is sure, the reason for that comes first.
    unsure = (*doubts, *found.unsure) if found.sure else (*found.unsure, *doubts)
    return replace(found, unsure=unsure, to_do=(*found.to_do, *_to_do(disagreements)))


def _disagreeing(found: Disagreements) -> Iterator[str]:
    n_cells = max(found.n_cells, 1)
    different, unclear = (int(found.relation_r[one]) for one in (Relation.DIFFERENT, Relation.NOT_COMPARABLE))
    unanswered = found.consensus_counts.get(UNASSIGNED, 0)
    two = len(found.consensus.ballots) == 2
    by, most = ("two models", "both") if two else ("models", "most of them")
    kinds = ((different, "different types"), (unclear, "types that cannot be compared"))
    shares = [(percent(number / n_cells), what) for number, what in kinds if number]
    types = [f"{share} {what if place else f'of the cells have {what}'}" for place, (share, what) in enumerate(shares)]
    of = "" if types else "of the cells "
    none = f"{percent(unanswered / n_cells)} {of}have no type that {most} agree on" if unanswered else ""
    if words := "; ".join(filter(None, (listing(types), none))):
        yield f"By the {by}, {words}: see \u201cDo the models agree?\u201d below."


def _to_do(found: Disagreements) -> Iterator[str]:
    if set(found.consensus_counts) - {UNASSIGNED}:
        yield (
            "What most of the models agree on is celldrop_consensus_label (consensus_label in consensus.csv.gz). Look "
            "at the cells with different types first: celldrop_consensus_relation marks them."
        )


def _warned(verdict: Verdict) -> Iterator[str]:
    known = {finding.code for finding in verdict.warnings} - LABELS_IN_DOUBT
    for other in verdict.others:
        serious = [one.code for one in other.findings if not one.is_calm and one.code not in known]
        plain = [_PLAIN[WarningCode(code)] for code in serious if code in _PLAIN]
        if serious:
            more = [f"{plural(len(serious) - len(plain), 'warning')} below"] if len(plain) < len(serious) else []
            yield f"Of the further model {shortened(other.model, _NAME)}: {listing([*plain, *more])}."


def _related(cards: Sequence[ModelCard]) -> Iterator[str]:
    for common in common_sources(cards):
        models = listing([shortened(model, _NAME) for model in common.models])
        yield f"{models} are made from the same data: that they agree is no independent evidence."
