"""Which labels have weak evidence: no gene that speaks for them sets their cells apart from every other label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jobs.inference.merge.evidence import Evidence, LabelEvidence, SpeaksBy
from jobs.inference.report.wording import some
from shared.domain.words import percent, plural, shortened

LEAST_GAP = 0.2
"""A gene sets cells apart if by so much a larger share of them expresses it than of any other label's cells.

Measured 2026-11 on PBMC 3k: 0.41 and more for B and NK cells, monocytes, dendritic cells, platelets and CD8 T cells, of
which markers are known; 0.01 to 0.18 for naive, memory, helper and regulatory CD4 T cells.
"""
_NAME_LIMIT = 60
_LISTED = 8


@dataclass(frozen=True, slots=True)
class Closest:
    """The gene that sets a label's cells apart best from all other labels, and the label that it is nearest to.

    Attributes:
        share: Share of the label's cells that express it.
        share_other: Likewise of the other label's cells.
    """

    gene: str
    share: float
    other: str
    share_other: float

    @property
    def is_weak(self) -> bool:
        """Whether even this gene does not set the cells apart."""
        return self.share - self.share_other < LEAST_GAP


NO_GENE = Closest("", 0.0, "", 0.0)
"""No gene speaks for the label by its expression."""


def closest_genes(evidence: Evidence) -> Mapping[str, Closest]:
    """The best gene of each label, among those that speak for it by expression; nothing if there is only one label."""
    if len(evidence.labels) < 2:
        return {}
    return {label.name: _closest(label, evidence) for label in evidence.labels}


def _closest(label: LabelEvidence, evidence: Evidence) -> Closest:
    genes = label.by(SpeaksBy.EXPRESSION)
    others = [other.name for other in evidence.labels if other.name != label.name]
    if not genes:
        return NO_GENE
    features = [gene.feature for gene in genes]
    share_g = evidence.expression.sums[label.name].share_f[features]
    share_og = np.stack([evidence.expression.sums[other].share_f[features] for other in others])
    best = int((share_g - share_og.max(axis=0)).argmax())
    nearest = int(share_og[:, best].argmax())
    return Closest(genes[best].name, float(share_g[best]), others[nearest], float(share_og[nearest, best]))


def weak_words(closest: Closest | None) -> str:
    """What to say of a label with weak evidence; nothing of others."""
    if closest is None or not closest.is_weak:
        return ""
    if closest is NO_GENE:
        return "Weak: no gene that the model relies on is expressed more in these cells than in the rest."
    other = shortened(closest.other, _NAME_LIMIT)
    return (
        f"Weak: none sets them apart from every other label. {closest.gene} does best, in {percent(closest.share)} of "
        f"these cells and {percent(closest.share_other)} of those called {other}."
    )


def weak_summary(closest: Mapping[str, Closest], shown: Sequence[str]) -> str:
    """A sentence on all labels with weak evidence; empty without any.

    Args:
        shown: The labels of the report.
    """
    weak = [shortened(name, _NAME_LIMIT) for name in shown if name in closest and closest[name].is_weak]
    if not weak:
        return ""
    return (
        f"Weak evidence for {plural(len(weak), 'label')}: {some(weak, _LISTED)}. "
        "None of the genes that speak for such a label sets "
        f"its cells apart: none is expressed in {LEAST_GAP * 100:.0f} percentage points more of them than of the cells "
        "of every other label. It rests on many small differences. Check it by other means, such as surface proteins."
    )
