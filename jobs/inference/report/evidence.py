"""The report's section on the genes that spoke for the labels: a dot plot, words and numbers."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from jobs.inference.merge.evidence import LEAST_CELLS, Against, Evidence, GeneEvidence, LabelEvidence, SpeaksBy
from jobs.inference.report.apart import Closest, closest_genes, weak_summary, weak_words
from jobs.inference.report.charts import undrawn
from jobs.inference.report.data import Dot, DotPlot, DotRow, LabelRow, Reasons, Speaking, SpeakingGene, Tick
from jobs.inference.report.wording import listing, number, some
from shared.domain.words import percent, plural, shortened

log = logging.getLogger(__name__)

_ROW, _COLUMN, _RADIUS = 28, 28, 11
_MANY_LABELS = 10
_IN_WORDS = 5
_IN_TABLE = {SpeaksBy.EXPRESSION: 5, SpeaksBy.ABSENCE: 3, SpeaksBy.MISSING: 10}
_NAME_LETTERS, _GENE_LETTERS = 24, 13
_HOW = {SpeaksBy.EXPRESSION: "higher", SpeaksBy.ABSENCE: "lower", SpeaksBy.MISSING: "missing in the file"}
_NONE = "\u2013"
F64Array = npt.NDArray[np.float64]


def reasons(evidence: Evidence | None, rows: Sequence[LabelRow], most: int) -> Reasons | None:
    """The section; None without evidence. If it cannot be made, it says so.

    Args:
        rows: The labels of the report, most cells first.
        most: How many labels to show at most.
    """
    if evidence is None:
        return None
    try:
        return _reasons(evidence, rows, most)
    except Exception as error:
        log.exception("evidence left out of the report")
        return Reasons(None, (), "", undrawn=undrawn("The genes that spoke for the labels", error))


def _reasons(evidence: Evidence, rows: Sequence[LabelRow], most: int) -> Reasons:
    by_name = {row.name: row for row in rows}
    labels = evidence.labels[:most]
    closest = closest_genes(evidence)
    return Reasons(
        plot=_plot(evidence, labels, by_name),
        labels=tuple(_speaking(label, by_name[label.name], closest.get(label.name)) for label in labels),
        note=_note(evidence, len(labels)),
        weak=weak_summary(closest, [label.name for label in labels]),
        weak_labels=tuple(name for name, one in closest.items() if one.is_weak),
    )


def _note(evidence: Evidence, n_shown: int) -> str:
    n_cells = sum(sums.n_cells for sums in evidence.expression.sums.values())
    found = [f"Computed from {plural(n_cells, 'cell')}: all, or evenly spaced ones of a large file."]
    if any(label.against is Against.TRAINING for label in evidence.labels):
        found.append(
            "Hardly any of them has another label, so they are compared with the model's training cells instead of the "
            "rest."
        )
    if evidence.too_few:
        named = [shortened(name, _NAME_LETTERS) for name in evidence.too_few]
        found.append(f"Fewer than {LEAST_CELLS} of them have the label: {some(named, _IN_WORDS)}.")
    if n_shown < len(evidence.labels):
        found.append(f"The {len(evidence.labels) - n_shown} rarer labels are in evidence.csv.")
    return " ".join(found)


def _speaking(label: LabelEvidence, row: LabelRow, closest: Closest | None) -> Speaking:
    genes = [gene for how, most in _IN_TABLE.items() for gene in label.by(how)[:most]]
    return Speaking(row.key, row.name, row.colour, _words(label), tuple(map(_gene, genes)), weak_words(closest))


def _words(label: LabelEvidence) -> str:
    named = {how: [gene.name for gene in label.by(how)[: _IN_TABLE[how]]] for how in SpeaksBy}
    expressed, absent, missing = (named[how] for how in (SpeaksBy.EXPRESSION, SpeaksBy.ABSENCE, SpeaksBy.MISSING))
    found = [f"{listing(expressed)}." if expressed else "No gene that these cells express more than the rest."]
    if absent:
        found.append(f"Lower than in the rest: {listing(absent)}.")
    if label.by_absence > label.by_expression:
        found.append(
            "More of the score comes from genes that these cells express less than the rest does than from genes that "
            "they express more."
        )
    if missing:
        found.append(f"Not in the file, though the model relies on it: {listing(missing)}.")
    return " ".join(found)


def _gene(gene: GeneEvidence) -> SpeakingGene:
    return SpeakingGene(
        name=gene.name,
        how=_HOW[gene.speaks_by],
        contribution=_number(gene.contribution),
        share=_percent(gene.share),
        share_rest=_percent(gene.share_rest),
        mean=_number(gene.mean),
        mean_rest=_number(gene.mean_rest),
    )


def _number(value: float | None) -> str:
    return _NONE if value is None else number(value, 2)


def _percent(share: float | None) -> str:
    return _NONE if share is None else percent(share)


def _plot(evidence: Evidence, labels: Sequence[LabelEvidence], by_name: Mapping[str, LabelRow]) -> DotPlot | None:
    each = 3 if len(labels) <= _MANY_LABELS else 2
    chosen: dict[int, str] = {}
    own = []
    for label in labels:
        genes = [gene for gene in label.by(SpeaksBy.EXPRESSION) if gene.feature not in chosen][:each]
        chosen |= {gene.feature: gene.name for gene in genes}
        own.append(len(genes))
    if not chosen:
        return None
    starts = [0, *accumulate(own)]
    rows = tuple(
        DotRow(
            key=by_name[label.name].key,
            name=shortened(label.name, _NAME_LETTERS),
            colour=by_name[label.name].colour,
            y=place * _ROW + _ROW / 2,
            own_x=starts[place] * _COLUMN,
            own_width=own[place] * _COLUMN,
        )
        for place, label in enumerate(labels)
    )
    return DotPlot(
        width=len(chosen) * _COLUMN + 60,
        height=len(rows) * _ROW,
        row_height=_ROW,
        rows=rows,
        genes=tuple(Tick(_x(column), shortened(name, _GENE_LETTERS)) for column, name in enumerate(chosen.values())),
        dots=tuple(_dots(evidence, labels, chosen)),
        sizes=tuple((percent(share), _radius(share)) for share in (0.1, 0.5, 1.0)),
    )


def _dots(evidence: Evidence, labels: Sequence[LabelEvidence], chosen: Mapping[int, str]) -> list[Dot]:
    features = list(chosen)
    sums = [evidence.expression.sums[label.name] for label in labels]
    mean_rc = np.array([one.mean_f[features] for one in sums])
    share_rc = np.array([one.share_f[features] for one in sums])
    level_rc = mean_rc / np.maximum(mean_rc.max(axis=0), 1e-9)
    return [
        Dot(
            x=_x(column),
            y=row * _ROW + _ROW / 2,
            radius=_radius(float(share_rc[row, column])),
            level=round(float(level_rc[row, column]), 3),
            title=f"{name} in {shortened(label.name, 60)}: {percent(float(share_rc[row, column]))} of cells, "
            f"mean {mean_rc[row, column]:.2f}",
        )
        for row, label in enumerate(labels)
        for column, name in enumerate(chosen.values())
        if share_rc[row, column] > 0
    ]


def _x(column: int) -> float:
    return column * _COLUMN + _COLUMN / 2


def _radius(share: float) -> float:
    return round(_RADIUS * math.sqrt(share), 2)
