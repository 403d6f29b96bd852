"""What only reading every cell could find: cells whose values are of another kind than the rest."""

from __future__ import annotations

from collections.abc import Sequence

from shared.domain.submission import Receipt
from shared.domain.verdict import Finding
from shared.h5ad.cautions import WarningCode
from shared.h5ad.findings import warning

LOOKED_FOR = (str(WarningCode.MIXED_VALUES),)


def findings_of(receipts: Sequence[Receipt]) -> tuple[Finding, ...]:
    """The warnings that the tasks' receipts give cause for."""
    n_cells = sum(len(receipt.rows) for receipt in receipts)
    n_converted = sum(receipt.n_converted for receipt in receipts)
    n_unclear = sum(receipt.n_unclear for receipt in receipts)
    if not n_converted + n_unclear:
        return ()
    parts = []
    if n_converted:
        parts.append(f"{n_converted:,} of {n_cells:,} cells were converted, as their own values prove what they are")
    if n_unclear:
        parts.append(f"{n_unclear:,} prove nothing and were read like the rest: their labels mean little")
    hint = (
        "The column value_note marks these cells. Were data sets joined before they were normalised alike? "
        "Join their counts to be sure."
    )
    words = f"some cells hold values of another kind than the rest: {'; '.join(parts)}"
    return (warning(WarningCode.MIXED_VALUES, words, hint, {"n_converted": n_converted, "n_unclear": n_unclear}),)
