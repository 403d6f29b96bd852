"""What the report says of the counts in mitochondrial genes."""

from __future__ import annotations

from jobs.inference.merge.tally import MITO_BINS, MUCH_MITO, Tally, median_bin
from jobs.inference.report.data import Notice
from shared.domain.words import percent, plural

_LIMIT = percent(float(MUCH_MITO))
MANY = 0.05
"""The share of such cells from which the reader should check them."""


def mito_sentence(tally: Tally) -> str:
    """The median share, and how many cells have a large one; empty if it is not known."""
    known = int(tally.mito_b.sum())
    if not known:
        return ""
    median = percent(median_bin(tally.mito_b) / MITO_BINS)
    return (
        f"Counts in mitochondrial genes: {median} in the median cell. {_high(tally, known)} more than {_LIMIT} "
        "(celldrop_mito_share)."
    )


def mito_remark(tally: Tally) -> tuple[Notice, ...]:
    """A remark if many cells have a large share."""
    known = int(tally.mito_b.sum())
    if not known or tally.n_much_mito < MANY * known:
        return ()
    text = f"{_high(tally, known)} more than {_LIMIT} of their counts in mitochondrial genes."
    return (
        Notice(text, "They may be damaged or dying. Some tissues, such as heart, have many mitochondria by nature."),
    )


def _high(tally: Tally, known: int) -> str:
    """How many cells have a large share, up to the verb."""
    verb = "has" if tally.n_much_mito == 1 else "have"
    return f"{plural(tally.n_much_mito, 'cell')} ({percent(tally.n_much_mito / known)}) {verb}"
