"""Warnings that only a full read of the cells can give: values of another kind, and cells without the model's genes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from shared.domain.submission import Receipt
from shared.domain.verdict import Finding
from shared.h5ad.judge.cautions import WarningCode
from shared.h5ad.judge.findings import warning

LOOKED_FOR = tuple(
    str(code) for code in (WarningCode.MIXED_VALUES, WarningCode.CELLS_WITHOUT_GENES, WarningCode.CELLS_NOT_ALL_CHECKED)
)
"""The verdict's warnings that the full read replaces or removes. It compares all cell ids; duplicates are an error."""


def findings_of(receipts: Sequence[Receipt]) -> tuple[Finding, ...]:
    """The warnings that follow from the tasks' receipts."""
    return (*_on_mixture(receipts), *_on_silence(receipts))


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
