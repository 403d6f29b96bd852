"""The report's remark on cells that pseudobulk leaves out."""

from __future__ import annotations

from jobs.inference.outputs.manifest import PseudobulkFacts
from jobs.inference.report.data import Notice
from shared.domain.outputs import PSEUDOBULK
from shared.domain.words import percent, plural


def left_out(found: PseudobulkFacts | None) -> tuple[Notice, ...]:
    """The remark; none if no cell is left out, or there is no pseudobulk."""
    if found is None or not (found.n_without_counts or found.n_without_sample):
        return ()
    n_left_out = found.n_without_counts + found.n_without_sample
    share = percent(n_left_out / (n_left_out + found.n_cells))
    reasons, hints = [], []
    if found.n_without_counts:
        reasons.append(f"{plural(found.n_without_counts, 'cell')} with values that are not whole counts")
        hints.append("Estimated counts, of alevin, kallisto, RSEM or SoupX for example, must be rounded first.")
    if found.n_without_sample:
        reasons.append(f"{plural(found.n_without_sample, 'cell')} without a sample")
        hints.append("Give every cell a sample.")
    text = f"{PSEUDOBULK.name} leaves out {share} of the cells: {' and '.join(reasons)}."
    return (Notice(text, " ".join(hints)),)
