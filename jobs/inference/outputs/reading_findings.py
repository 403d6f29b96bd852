"""Warnings that only a full read of the cells can give: on their values, and on cells unlike the model's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Protocol, TypeAlias

import numpy as np

from jobs.engine.raising import LEAST_COVERAGE, least_coverage
from jobs.inference.merge.calls import I64Array, Vocabulary
from jobs.inference.merge.cross_table import CrossTable
from jobs.inference.merge.disagreements import OwnCounts
from jobs.inference.merge.groups import Merge
from jobs.inference.merge.own_labels import NoOwnLabels
from jobs.inference.merge.tally import Tally, log_value, median_bin, median_score
from shared.bundles.card import ModelCard
from shared.bundles.skill import skill_of
from shared.domain.submission import Receipt
from shared.domain.verdict import Finding
from shared.domain.words import cut
from shared.h5ad.judge.cautions import WarningCode
from shared.h5ad.judge.findings import warning

LOOKED_FOR = tuple(
    str(code)
    for code in (
        WarningCode.MIXED_VALUES,
        WarningCode.CELLS_WITHOUT_GENES,
        WarningCode.UNFAMILIAR_CELLS,
        WarningCode.LOW_SCORES,
        WarningCode.WEAK_MODEL,
        WarningCode.MISSING_GENES,
        WarningCode.SHALLOW_CELLS,
        WarningCode.OWN_LABELS_DIFFER,
        WarningCode.CELLS_NOT_ALL_CHECKED,
    )
)
"""The verdict's warnings that the full read replaces or removes. It compares all cell ids; duplicates are an error."""


MANY_UNFAMILIAR = 0.1
"""The share of unfamiliar cells from which a file has many. Of another study's blood cells, 4 % are (2026-11)."""
MANY_OF_A_LABEL = 0.3
LOW_MEDIAN = 0.5
LEAST_INFORMATION = 0.3
"""Of what would set a file's cells apart, scores say at least so much (``Composition.information``).

Measured (2026-11-30): 0.79 to 0.88 for blood of three studies, 0.47 to 0.65 for other cells, by two models; 0.001 to
0.26 by twelve models that were trained on random labels, of three kinds and with 2, 3 and 8 labels.
"""
NOT_COMPARED = NoOwnLabels()
Detail: TypeAlias = str | int | float | bool | list[str]
_MOSTLY = 0.5
_LETTERS = 60
_LEAST_CELLS = 20
_NAMED = 5
_MOST_GENES = 20


_OF_OTHERS = {
    WarningCode.UNFAMILIAR_CELLS: "It does not vote for these cells. Leave it out, or choose a model of their tissue.",
    WarningCode.SHALLOW_CELLS: "Rely less on its votes.",
}
"""What to do about such a warning of a further model."""


class Familiar(Protocol):
    """Counts of cells that are unlike a model's, as in ``Tally``."""

    @property
    def vocabulary(self) -> Vocabulary:
        """The names that cells can have."""

    @property
    def n_looked(self) -> int:
        """Number of cells whose unfamiliarity is known."""

    @property
    def n_unfamiliar(self) -> int | None:
        """Number of unfamiliar cells; None if the model cannot tell."""

    @property
    def cells_c(self) -> I64Array:
        """Number of cells by label."""

    @property
    def unfamiliar_c(self) -> I64Array:
        """Number of unfamiliar cells by label."""


def findings_of_other(own: OwnCounts, tally: Tally, card: ModelCard, merge: Merge | None = None) -> tuple[Finding, ...]:
    """The warnings about a further model that follow from the counts over all cells.

    Args:
        own: The counts of its answers.
        tally: That of the model itself: the counts and genes of the cells.
        card: That of the further model, as the next.
        merge: What was counted, with its rules; None if nothing is known of it.
    """
    found = (
        *_on_unfamiliar(own, card),
        *_on_scores(own.score_b, merge),
        *on_model(card),
        *_on_genes(merge, card),
        *_on_depth(tally, card),
    )
    hints = {str(code): hint for code, hint in _OF_OTHERS.items()}
    return tuple(replace(one, hint=hints.get(one.code, one.hint), details=_bounded(one.details)) for one in found)


def _bounded(details: Mapping[str, Detail]) -> dict[str, Detail]:
    """Details with a few names only: a record has those of all further models."""
    return {name: value[:_NAMED] if isinstance(value, list) else value for name, value in details.items()}


def findings_of(
    receipts: Sequence[Receipt],
    tally: Tally,
    card: ModelCard,
    compared: CrossTable | NoOwnLabels = NOT_COMPARED,
    merge: Merge | None = None,
) -> tuple[Finding, ...]:
    """The warnings that follow from the tasks' receipts and from the counts over all cells.

    Args:
        merge: What was counted, with its rules; None if nothing is known of it.
    """
    return (
        *_on_unfamiliar(tally, card),
        *_on_scores(tally.score_cb.sum(axis=0), merge),
        *on_model(card),
        *_on_genes(merge, card),
        *_on_depth(tally, card),
        *_on_own_labels(compared),
        *_on_mixture(receipts),
        *_on_silence(receipts),
    )


def _on_unfamiliar(tally: Familiar, card: ModelCard) -> Iterator[Finding]:
    n_unfamiliar = tally.n_unfamiliar
    if not n_unfamiliar:
        return
    share = n_unfamiliar / tally.n_looked
    labels = _unfamiliar_labels(tally)
    if share < MANY_UNFAMILIAR and not labels:
        return
    words = (
        f"{n_unfamiliar:,} of {tally.n_looked:,} cells ({share:.0%}) are unlike the cells that {card.reference} was "
        "trained on: they express genes that hardly any of those do, and their labels mean little"
    )
    if share < 0.5 and labels:
        words += f". Labels of which many cells are: {', '.join(labels[:_NAMED])}"
    hint = (
        "celldrop_unfamiliar (unfamiliar in the tables) marks these cells. Choose a model of their tissue, or leave "
        "them out. If the tissue is right, they may be of types that the model does not know, tumour cells, or damaged."
    )
    details: dict[str, Detail] = {
        "n_unfamiliar": n_unfamiliar,
        "share": round(share, 4),
        "labels": labels,
    }
    yield warning(WarningCode.UNFAMILIAR_CELLS, words, hint, details)


def _on_scores(score_b: I64Array, merge: Merge | None) -> Iterator[Finding]:
    middle = median_score(score_b)
    composition = None if merge is None else merge.rules.composition
    said = None if composition is None else composition.information
    if middle < LOW_MEDIAN:
        words = f"the median score is only {middle:.2f}: for most cells, no label stands out"
        hint = "Check that the model fits the tissue and the species, and that the values are what they seem to be."
        yield warning(WarningCode.LOW_SCORES, words, hint, {"median_score": middle})
    elif said is not None and said < LEAST_INFORMATION:
        words = (
            f"before scores are corrected to the shares of the labels in this file, they say only {max(said, 0):.0%} "
            f"of what would set its cells apart (expected: at least {LEAST_INFORMATION:.0%}): labels follow these "
            f"shares more than the cells, and scores, with a median of {middle:.2f}, may be too high"
        )
        hint = (
            "Check that the model fits the tissue and the species, and how many labels are right: run celldrop models "
            "evaluate on labelled cells."
        )
        yield warning(WarningCode.LOW_SCORES, words, hint, {"median_score": middle, "information": said})


def on_model(card: ModelCard) -> Iterator[Finding]:
    """The warnings that follow from a model's own record, whatever the cells."""
    skill = skill_of(card)
    if skill is not None and skill.is_weak:
        words = (
            f"on cells held out of its training, {card.reference} gets few labels right: balanced accuracy "
            f"{skill.balanced_accuracy:.2f}, by guessing {skill.by_chance:.2f}"
        )
        hint = "Use nothing but reliable labels, if there are any; train on more cells, or on labels that differ more."
        details = {"balanced_accuracy": skill.balanced_accuracy, "by_chance": round(skill.by_chance, 4)}
        yield warning(WarningCode.WEAK_MODEL, words, hint, details)


def _on_genes(merge: Merge | None, card: ModelCard) -> Iterator[Finding]:
    if merge is None:
        return
    thresholds, coverage = merge.rules.thresholds, merge.coverage
    if not coverage.is_below(LEAST_COVERAGE if thresholds is None else least_coverage(thresholds.learned.error)):
        return
    assert coverage.share is not None
    words = f"for {card.reference}, {coverage.words}"
    words += ": no label is called reliable" if thresholds else ": labels may differ from those by all genes"
    details: dict[str, Detail] = {"coverage": round(coverage.share, 4)}
    if coverage.empty is None:
        hint = "Send the file with all of its genes: in scanpy, the object before genes were selected, or adata.raw."
    else:
        hint = (
            "Cells with such labels should express these genes. If data sets with different genes were joined or a "
            "list of genes was filled up with zeros, send the files as they were; if not, the labels are wrong."
        )
        details |= {"n_empty": len(coverage.empty.names), "genes": list(coverage.empty.names[:_MOST_GENES])}
    yield warning(WarningCode.MISSING_GENES, words, hint, details)


def shallow(tally: Tally, card: ModelCard) -> tuple[int, int] | None:
    """The median counts of the cells and of the training cells, if the former are less than half; else None."""
    if card.familiarity is None or 2 * tally.n_counted < tally.n_cells:
        return None
    median, typical = int(log_value(median_bin(tally.counts_cb.sum(axis=0)))), card.familiarity.typical_total
    return (median, round(typical)) if 2 * median < typical else None


def _on_depth(tally: Tally, card: ModelCard) -> Iterator[Finding]:
    depth = shallow(tally, card)
    if depth is not None:
        median, typical = depth
        words = (
            f"half of the cells have {median:,} counts or fewer, the training cells of {card.reference} typically "
            f"{typical:,}: more labels are wrong than their scores tell"
        )
        hint = "Use celldrop_lineage for such cells, or leave the shallowest out, and check labels with marker genes."
        yield warning(WarningCode.SHALLOW_CELLS, words, hint, {"median_counts": median, "typical_counts": typical})


def _on_own_labels(compared: CrossTable | NoOwnLabels) -> Iterator[Finding]:
    if isinstance(compared, NoOwnLabels):
        return
    wrong = {what: one for what, one in compared.agreeing.items() if one.share < _MOSTLY}
    if wrong:
        words = " and ".join(f"{one.share:.0%} of {one.n_cells:,} {what}" for what, one in wrong.items())
        column = cut(compared.own.column, _LETTERS)
        hint = (
            "Either the model or the file's labels are wrong, or its names mean something else: look at the cross "
            "table in the report."
        )
        words = f"only {words} that can be compared are those of obs[{column!r}]"
        yield warning(WarningCode.OWN_LABELS_DIFFER, words, hint, {what: one.n_cells for what, one in wrong.items()})


def _unfamiliar_labels(tally: Familiar) -> list[str]:
    """The labels of which many cells are unfamiliar, most first."""
    share_c = tally.unfamiliar_c / np.maximum(tally.cells_c, 1)
    many = np.flatnonzero((tally.cells_c >= _LEAST_CELLS) & (share_c >= MANY_OF_A_LABEL))
    return [tally.vocabulary.names[code] for code in sorted(many, key=lambda code: -tally.unfamiliar_c[code])]


def _on_mixture(receipts: Sequence[Receipt]) -> Iterator[Finding]:
    n_converted = sum(receipt.n_converted for receipt in receipts)
    n_unclear = sum(receipt.n_unclear for receipt in receipts)
    if not n_converted + n_unclear:
        return
    parts = []
    if n_converted:
        cells = f"{n_converted:,} of {_n_cells(receipts):,} cells"
        parts.append(f"{cells} were converted, as their values show what they are")
    if n_unclear:
        parts.append(f"{n_unclear:,} are of unknown kind and were read like the rest: their labels are not reliable")
    hint = (
        "The column value_note marks these cells. If data sets with different normalisations were joined, join their "
        "counts instead."
    )
    words = f"some cells hold values of another kind than the rest: {'; '.join(parts)}"
    yield warning(WarningCode.MIXED_VALUES, words, hint, {"n_converted": n_converted, "n_unclear": n_unclear})


def _on_silence(receipts: Sequence[Receipt]) -> Iterator[Finding]:
    n_silent = sum(receipt.n_silent for receipt in receipts)
    if n_silent:
        words = f"{n_silent:,} of {_n_cells(receipts):,} cells have no value of any gene of the model"
        hint = "They are Unassigned, and marked in the column value_note. Filter out empty cells before you annotate."
        yield warning(WarningCode.CELLS_WITHOUT_GENES, words, hint, {"n_silent": n_silent})


def _n_cells(receipts: Sequence[Receipt]) -> int:
    return sum(len(receipt.rows) for receipt in receipts)
