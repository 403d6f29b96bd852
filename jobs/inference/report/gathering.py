"""Builds the contents of the report from the merge's findings and the facts of the run."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from jobs.engine.composition import Composition
from jobs.engine.raising import Thresholds
from jobs.inference.merge.calls import I64Array, Vocabulary
from jobs.inference.merge.clusters import Clusters
from jobs.inference.merge.disagreements import Disagreements
from jobs.inference.merge.evidence import Evidence
from jobs.inference.merge.survey import Findings
from jobs.inference.merge.tally import FEW_GENES, LOG_BINS, SCORE_BINS, Tally, log_value, median_bin, median_score
from jobs.inference.outputs.manifest import FileFacts, MissingFile, PseudobulkFacts
from jobs.inference.outputs.reading_findings import MANY_OF_A_LABEL
from jobs.inference.report import sentences
from jobs.inference.report.assessment import assess, unproven
from jobs.inference.report.charts import drawn, log_chart, ridge, score_chart, undrawn
from jobs.inference.report.clusters import ClusterTable, cluster_table
from jobs.inference.report.consensus import agreement, consensus_fact
from jobs.inference.report.data import (
    Assessment,
    CellMap,
    Confusion,
    Fact,
    LabelRow,
    Notice,
    ReportData,
    ResultFile,
    Snippet,
    Tail,
)
from jobs.inference.report.drawing import drawing_snippet
from jobs.inference.report.evidence import reasons
from jobs.inference.report.mapping import FEW_PLACED, Layout, NoMap, draw_map
from jobs.inference.report.mitochondria import mito_remark, mito_sentence
from jobs.inference.report.models_doubt import with_doubts
from jobs.inference.report.next_steps import consensus_snippet, snippets
from jobs.inference.report.sums import left_out
from jobs.inference.report.truth import comparison, own_labels_fact
from jobs.inference.report.wording import sentence, size
from shared.bundles.card import ModelCard
from shared.domain.actual import Actual
from shared.domain.options import AUTO
from shared.domain.plan import Plan
from shared.domain.verdict import Verdict
from shared.domain.words import plural
from shared.h5ad.judge.cautions import WarningCode

log = logging.getLogger(__name__)

_SELECTED = (WarningCode.SUBSET_OF_GENES, WarningCode.FEW_GENES)
COLOURS = 9
"""The number of labels with a colour of their own. More colours cannot be distinguished, especially if colour-blind."""
_SHOWN = 20
_CONFUSIONS = 8
_LEAST_CONFUSED = 3


@dataclass(frozen=True, slots=True)
class Context:
    """The facts of the run.

    Attributes:
        file_name: The input's name without folders.
        min_score: The effective threshold; None if no cell is left unassigned by it.
        thresholds: From which score on a label is reliable; None if that is not known.
        composition: The shares of the labels that the scores were corrected to; None if they were not.
        composition_wanted: Whether they were to be corrected, if the model and the cells allow it.
        clusters: The clusters of the cells; None if there are none.
        clusters_wanted: The option ``clusters``.
        software: Versions and devices, as in the manifest.
        made_at: When the report was made.
        evidence: The genes that spoke for the labels; None leaves them out.
        sums: What pseudobulk sums, and leaves out; None if there is none.
        disagreements: How several models agree; None if there is one only.
        others: The cards of the further models.
        actual: Time and cost until then. If this or the plan is None, the report leaves both out.
    """

    file_name: str
    submission_id: str
    verdict: Verdict
    card: ModelCard
    min_score: float | None
    composition: Composition | None
    composition_wanted: bool
    files: tuple[FileFacts, ...]
    missing: tuple[MissingFile, ...]
    software: Mapping[str, str]
    made_at: datetime
    evidence: Evidence | None = None
    plan: Plan | None = None
    actual: Actual | None = None
    clusters: Clusters | None = None
    clusters_wanted: str = AUTO
    thresholds: Thresholds | None = None
    sums: PseudobulkFacts | None = None
    disagreements: Disagreements | None = None
    others: tuple[ModelCard, ...] = ()

    @property
    def cards(self) -> tuple[ModelCard, ...]:
        """Those of all models, that of the model itself first."""
        return (self.card, *self.others)


def gather(findings: Findings, context: Context, layout: Layout | NoMap) -> ReportData:
    """Build the contents of the report. The same findings and context give the same report.

    If a picture cannot be drawn, the report says so in its place.

    Args:
        layout: The coordinates of the sampled cells, for the map.
    """
    tally = findings.tally
    rows = label_rows(tally)
    why = reasons(context.evidence, rows, _SHOWN)
    if why is not None:
        rows = tuple(replace(row, weak=row.name in why.weak_labels) for row in rows)
    clusters = cluster_table(context.clusters, tally.vocabulary, can_tell=bool(tally.n_looked))
    tail = _tail(rows)
    cell_map, no_map = _map(findings, rows, layout)
    total_b = tally.score_cb.sum(axis=0)
    return ReportData(
        file_name=context.file_name,
        headline=_headline(rows, tally, context),
        lead=sentences.lead(tally, context.min_score),
        assessment=_assessment(findings, rows, clusters, context),
        figures=sentences.figures(rows, tally, context.verdict),
        notices=_notices(context.verdict),
        remarks=(*_remarks(rows, tally, context), *mito_remark(tally), *left_out(context.sums)),
        labels=rows,
        shown=tuple(row for row in rows if row not in tail),
        tail=_summed(tail),
        cell_map=cell_map,
        no_map=no_map,
        reasons=why,
        scores=drawn(lambda: score_chart(total_b, context.min_score)),
        comparison=comparison(findings.compared),
        agreement=agreement(context.disagreements, context.cards, context.verdict),
        score_meaning=context.card.meaning_of_score,
        confusions=confusions(tally),
        clusters=clusters,
        genes=drawn(lambda: log_chart(tally.genes_cb.sum(axis=0), "genes", FEW_GENES)),
        counts=drawn(lambda: log_chart(tally.counts_cb.sum(axis=0), "counts", None)) if tally.n_counted else None,
        mitochondria=mito_sentence(tally),
        method=_method(findings, context),
        model=sentences.model(context.card),
        snippets=_snippets(rows, tally, context),
        files=tuple(ResultFile(file.name, size(file.size_bytes), file.what) for file in context.files),
        missing=tuple(Notice(one.reason, code=one.name) for one in context.missing),
        provenance=_provenance(context),
        made_at=context.made_at,
    )


def _assessment(
    findings: Findings, rows: Sequence[LabelRow], clusters: ClusterTable | None, context: Context
) -> Assessment:
    tally, fit = findings.tally, _genes_fit(context)
    why = _why_guesses(tally, context)
    if why and fit:
        found = unproven(tally, context.card, findings.compared, why)
    else:
        found = assess(rows, tally, context.card, clusters, findings.compared, genes_fit=fit)
    return with_doubts(found, context.disagreements, context.cards, context.verdict)


def _snippets(rows: tuple[LabelRow, ...], tally: Tally, context: Context) -> tuple[Snippet, ...]:
    return (
        *snippets(rows, tally, context.files, context.verdict),
        *consensus_snippet(context.files),
        *drawing_snippet(context.files, context.clusters, context.verdict, tally),
    )


def _headline(rows: Sequence[LabelRow], tally: Tally, context: Context) -> str:
    why = _why_guesses(tally, context)
    if why and tally.n_cells > tally.n_abstained:
        return f"{plural(tally.n_cells, 'cell')}, whose labels are guesses: {why}."
    return sentences.headline(rows, tally, context.card)


def _why_guesses(tally: Tally, context: Context) -> str:
    """Why no label is called reliable; empty if some may be, or if most cells are unfamiliar, which says more."""
    return context.thresholds.why_none if context.thresholds and not tally.mostly_unfamiliar else ""


def _genes_fit(context: Context) -> bool:
    return not context.verdict.warns_of(WarningCode.GENES_DISAGREE)


def _provenance(context: Context) -> tuple[Fact, ...]:
    return (
        *sentences.provenance(context.submission_id, context.card, context.software),
        *((sentences.effort(context.plan, context.actual),) if context.plan and context.actual else ()),
    )


def _notices(verdict: Verdict) -> tuple[Notice, ...]:
    return tuple(Notice(sentence(one.message), one.hint, one.code, calm=one.is_calm) for one in verdict.warnings)


def _remarks(rows: tuple[LabelRow, ...], tally: Tally, context: Context) -> tuple[Notice, ...]:
    if tally.mostly_unfamiliar:
        return ()
    selected_genes = context.verdict.warns_of(*_SELECTED)
    return sentences.remarks(rows, tally, context.min_score, selected_genes=selected_genes)


def _method(findings: Findings, context: Context) -> tuple[Fact, ...]:
    tally = findings.tally
    return (
        *sentences.method(context.verdict, context.card, context.min_score),
        sentences.composition(context.card, context.composition, wanted=context.composition_wanted),
        sentences.reliability(context.card, context.thresholds),
        sentences.familiarity(tally, context.card),
        sentences.clusters(context.clusters, context.clusters_wanted, context.verdict),
        *consensus_fact(context.disagreements, context.cards),
        *own_labels_fact(findings.compared),
    )


def _map(findings: Findings, rows: tuple[LabelRow, ...], layout: Layout | NoMap) -> tuple[CellMap | None, str]:
    """Draw the map. Returns None and the reason if there is no map."""
    if isinstance(layout, NoMap):
        return None, layout.reason
    tally = findings.tally
    try:
        cell_map = draw_map(findings.sample, rows, tally.vocabulary, layout, tally.n_cells)
    except Exception as error:
        log.exception("map left out")
        return None, undrawn("The map", error)
    return cell_map, "" if cell_map else FEW_PLACED


def label_rows(tally: Tally) -> tuple[LabelRow, ...]:
    """A row for each label that occurs, most cells first, unassigned cells last; none is marked as weak."""
    vocabulary = tally.vocabulary
    unassigned = vocabulary.unassigned_code if tally.n_abstained else -1
    codes = [vocabulary.names.index(name) for name in tally.label_counts]
    codes.sort(key=lambda code: code == unassigned)
    most = max((int(tally.cells_c[code]) for code in codes), default=1)
    ids = _ids_by_name(vocabulary)
    return tuple(
        _row(tally, key, code, _colour(key, unassigned=code == unassigned), ids, most) for key, code in enumerate(codes)
    )


def confusions(tally: Tally) -> tuple[Confusion, ...]:
    """Pairs of labels that are often close to each other in score, most cells first."""
    names = tally.vocabulary.names
    both_cc = np.triu(tally.close_cc + tally.close_cc.T, k=1)
    order = np.argsort(-both_cc, axis=None, kind="stable")[:_CONFUSIONS]
    pairs = [(int(place) // len(names), int(place) % len(names)) for place in order]
    found = [(first, second, int(both_cc[first, second])) for first, second in pairs]
    return tuple(
        Confusion(names[first], names[second], n, n / int(tally.best_c[first] + tally.best_c[second]))
        for first, second, n in found
        if n >= _LEAST_CONFUSED
    )


def _row(tally: Tally, key: int, code: int, colour: str, ids: Mapping[str, str], most: int) -> LabelRow:
    cells = int(tally.cells_c[code])
    score_b = tally.score_cb[code]
    unfamiliar = int(tally.unfamiliar_c[code]) / cells
    counted = bool(tally.counts_cb[code].any())
    name = tally.vocabulary.names[code]
    return LabelRow(
        key=key,
        name=name,
        colour=colour,
        ontology_id="" if colour == "none" else ids.get(name, ""),
        cells=cells,
        share=cells / tally.n_cells,
        bar=cells / most,
        ridge=ridge(score_b),
        median_score=median_score(score_b),
        unsure=int(score_b[: SCORE_BINS // 2].sum()) / cells,
        reliable=int(tally.reliable_c[code]) / cells if tally.level_counts and colour != "none" else None,
        weak=False,
        unfamiliar=unfamiliar if tally.n_looked else None,
        many_unfamiliar=unfamiliar >= MANY_OF_A_LABEL,
        median_genes=_median(tally.genes_cb[code]),
        median_counts=_median(tally.counts_cb[code]) if counted else None,
    )


def _median(value_b: I64Array) -> int:
    assert len(value_b) == LOG_BINS
    return round(float(log_value(median_bin(value_b))))


def _colour(key: int, *, unassigned: bool) -> str:
    if unassigned:
        return "none"
    return f"c{key}" if key < COLOURS else "other"


def _ids_by_name(vocabulary: Vocabulary) -> dict[str, str]:
    return {label.name: label.ontology_id for label in vocabulary.labels if label.ontology_id}


def _tail(rows: Sequence[LabelRow]) -> list[LabelRow]:
    """The rarer labels, which only the full table shows; none if they would be few."""
    named = [row for row in rows if row.colour != "none"]
    return named[_SHOWN:] if len(named) > _SHOWN + 4 else []


def _summed(rows: list[LabelRow]) -> Tail | None:
    if not rows:
        return None
    return Tail(len(rows), sum(row.cells for row in rows), sum(row.share for row in rows))
