"""Builds the merge of a model from its card and the options, and fits its rules to the sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from jobs.engine.cell_types import CellTypes
from jobs.engine.empty_genes import Typical
from jobs.inference.data_manager import TaskInputs
from jobs.inference.merge.calls import Rules, Vocabulary
from jobs.inference.merge.consensus import Consensus
from jobs.inference.merge.empty_genes import find_empty_genes
from jobs.inference.merge.fitting import fitted
from jobs.inference.merge.groups import Merge
from jobs.inference.task.looking_up import find_thresholds, why_none
from shared.domain.errors import InternalError
from shared.domain.submission import Receipt
from shared.h5ad.read.groupings import Bounds, Grouping, NoGrouping, read_grouping
from shared.ports.blobs import BlobStore


def merge_of(
    inputs: TaskInputs,
    store: BlobStore,
    receipts: tuple[Receipt, ...],
    typical: Typical | None,
    beat: Callable[[], None],
) -> Merge:
    """The merge of the model itself, with rules that are fitted to the file's cells.

    Args:
        typical: What the cells of its labels express. Genes that are in the file by name only are taken for missing,
            as far as it tells; None if it does not.
    """
    merge = _plain(inputs, store, receipts)
    if typical is not None:
        merge = replace(merge, empty=find_empty_genes(merge.groups(), typical, merge.layout.n_cells, beat))
    return _fitted(inputs, merge, beat)


def _plain(inputs: TaskInputs, store: BlobStore, receipts: tuple[Receipt, ...], other: int | None = None) -> Merge:
    card = inputs.card
    rules = Rules(min_score=inputs.min_score, familiarity=card.familiarity, lineages=card.has_lineages)
    return Merge(store, receipts, inputs.layout, Vocabulary(card.labels, card.tree), rules, other=other)


def _fitted(inputs: TaskInputs, merge: Merge, beat: Callable[[], None]) -> Merge:
    """Fit scores and thresholds to the sample, as far as the model and the options say."""
    thresholds = find_thresholds(inputs, merge.coverage)
    merge = replace(merge, rules=replace(merge.rules, thresholds=thresholds))
    # The shares of labels that scores are corrected from; empty if they are not corrected.
    assumed = inputs.card.assumed_shares if inputs.options.composition else ()
    if not assumed and (thresholds is None or not inputs.card.needs_all_scores):
        return merge
    column = inputs.options.samples
    return fitted(merge, assumed, grouping_of(inputs, column, beat) if column else None, beat)


def consensus_of(inputs: TaskInputs, merge: Merge, beat: Callable[[], None]) -> Consensus:
    """The consensus of the model itself with the further ones, each by the rules that it has alone."""
    others = []
    for place, other in enumerate(inputs.others):
        own = _plain(other, merge.store, merge.receipts, place)
        # Which genes are empty is seen with the model itself. As much is taken for missing of the others' genes.
        others.append(_fitted(other, replace(own, layout=merge.layout, empty=merge.empty), beat))
    models = [inputs, *inputs.others]
    types = CellTypes.of([one.card for one in models])
    # A model without thresholds votes although genes are missing: how much that matters is measured for others only.
    return Consensus(merge, tuple(others), types, tuple(bool(why_none(one)) for one in models))


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
