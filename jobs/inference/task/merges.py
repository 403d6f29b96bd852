"""Builds the merge of a model from its card and the options, and fits its rules to the sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from jobs.engine.cell_types import CellTypes
from jobs.inference.data_manager import TaskInputs
from jobs.inference.merge.calls import Rules, Vocabulary
from jobs.inference.merge.consensus import Consensus
from jobs.inference.merge.fitting import fitted
from jobs.inference.merge.groups import Merge
from jobs.inference.task.looking_up import find_thresholds, why_none
from shared.domain.errors import InternalError
from shared.domain.submission import Receipt
from shared.h5ad.read.groupings import Bounds, Grouping, NoGrouping, read_grouping
from shared.ports.blobs import BlobStore


def merge_of(inputs: TaskInputs, store: BlobStore, receipts: tuple[Receipt, ...], other: int | None = None) -> Merge:
    """The merge of a model, with rules that are not fitted to the sample yet.

    Args:
        other: The place of a further model of a consensus; None for the model itself.
    """
    card = inputs.card
    rules = Rules(min_score=inputs.min_score, familiarity=card.familiarity, lineages=card.has_lineages)
    merge = Merge(store, receipts, inputs.layout, Vocabulary(card.labels, card.tree), rules, other=other)
    return replace(merge, rules=replace(rules, thresholds=find_thresholds(inputs, merge.coverage)))


def is_fitted(inputs: TaskInputs, merge: Merge) -> bool:
    """Whether scores or thresholds are fitted to the sample, as the model and the options say."""
    return bool(_assumed(inputs)) or (merge.rules.thresholds is not None and inputs.card.needs_all_scores)


def fit(inputs: TaskInputs, merge: Merge, beat: Callable[[], None]) -> Merge:
    """Fit them."""
    column = inputs.options.samples
    return fitted(merge, _assumed(inputs), grouping_of(inputs, column, beat) if column else None, beat)


def consensus_of(inputs: TaskInputs, merge: Merge, beat: Callable[[], None]) -> Consensus:
    """The consensus of the model itself with the further ones, each by the rules that it has alone."""
    others = []
    for place, other in enumerate(inputs.others):
        own = replace(merge_of(other, merge.store, merge.receipts, place), layout=merge.layout)
        others.append(fit(other, own, beat) if is_fitted(other, own) else own)
    models = [inputs, *inputs.others]
    types = CellTypes.of([one.card for one in models])
    # A model without thresholds votes although genes are missing: how much that matters is measured for others only.
    return Consensus(merge, tuple(others), types, tuple(bool(why_none(one, None)) for one in models))


def consensus_about(inputs: TaskInputs) -> dict[str, str]:
    """Which model is which in the columns of a consensus, for the metadata of a file."""
    models = [inputs, *inputs.others]
    return {"consensus": ", ".join(one.card.reference for one in models)} if inputs.others else {}


def grouping_of(inputs: TaskInputs, column: str, beat: Callable[[], None]) -> Grouping:
    """The groups of a column of obs, which was checked when the file was accepted."""
    groups = read_grouping(inputs.source, column, Bounds(gets_on=beat))
    if isinstance(groups, NoGrouping):
        raise InternalError(groups.reason, expected="a column that groups the cells", where=f"obs/{column}")
    return groups


def _assumed(inputs: TaskInputs) -> tuple[float, ...]:
    """The shares of labels that scores are corrected from; empty if they are not corrected."""
    return inputs.card.assumed_shares if inputs.options.composition else ()
