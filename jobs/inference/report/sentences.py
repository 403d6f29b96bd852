"""The sentences of the report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from jobs.engine.composition import Composition
from jobs.engine.levels import Level
from jobs.engine.raising import LEAST_CELLS as LEAST_JUDGED
from jobs.engine.raising import Thresholds
from jobs.inference.data_manager import AUTO_CELLS
from jobs.inference.merge.clusters import LEAST_CELLS, Clusters
from jobs.inference.merge.tally import FEW_GENES, Tally, log_value, median_bin, median_score, most_first
from jobs.inference.outputs.reading_findings import MANY_UNFAMILIAR
from jobs.inference.report.data import Fact, LabelRow, Notice
from jobs.inference.report.pieces import Figure
from jobs.inference.report.wording import listing, some, whole
from shared.bundles.card import ModelCard, metric_words
from shared.domain.actual import Actual
from shared.domain.options import AUTO, OFF
from shared.domain.plan import Plan
from shared.domain.verdict import CellNote, GeneIds, MatrixEncoding, MatrixState, Verdict
from shared.domain.words import percent, plural, shortened

_MANY_UNASSIGNED = 0.2
_MANY_FEW_GENES = 0.05
_RARE = 5
_RARE_NAMED = 5
_NAMED = 3
_NO_THRESHOLD = "None: every cell gets its best label."
_NAME_LIMIT = 60
_SHARES = 12

STATES: Mapping[MatrixState, str] = {
    MatrixState.COUNTS: "raw counts",
    MatrixState.LOG1P_CP10K: "log-normalised values (log1p of counts per 10,000)",
    MatrixState.LOG_NORMALISED: "logarithms or roots of counts, which were converted back",
    MatrixState.NORMALISED: "values in proportion to counts, without a logarithm",
    MatrixState.RANKED: "ranks or bins",
    MatrixState.SCALED: "scaled values",
    MatrixState.UNKNOWN: "values of unknown kind",
}
GENE_IDS: Mapping[GeneIds, str] = {
    GeneIds.ENSEMBL: "Ensembl ids",
    GeneIds.SYMBOL: "gene symbols",
    GeneIds.UNKNOWN: "identifiers of unknown kind",
}


def headline(rows: Sequence[LabelRow], tally: Tally, card: ModelCard) -> str:
    """The result in one sentence: first whether the labels can be trusted at all."""
    named = [row for row in rows if row.colour != "none"]
    cells = plural(tally.n_cells, "cell")
    if not named:
        return f"{cells}, and none could be assigned a label."
    unfamiliar = tally.unfamiliar_share
    if tally.mostly_unfamiliar:
        share = "all of them" if unfamiliar == 1 else f"most of them ({percent(unfamiliar)})"
        model = shortened(card.reference, _NAME_LIMIT)
        return f"{cells}, and {share} are unlike the cells that {model} was trained on: their labels mean little."
    if tally.level_counts:
        return f"{cells}{_reliable(named, tally)}."
    if len(rows) == 1:
        return f"{cells}, and all are called {shortened(named[0].name, _NAME_LIMIT)}."
    top = [f"{shortened(row.name, _NAME_LIMIT)} ({percent(row.share)})" for row in named[:_NAMED]]
    first = "most are called" if named[0].share > 0.5 else "the most frequent label is"
    rest = f", then {listing(top[1:])}" if top[1:] else ""
    return f"{cells}: {first} {top[0]}{rest}."


def _reliable(named: Sequence[LabelRow], tally: Tally) -> str:
    """How many cells have a reliable label, and the most frequent ones: a label that is not is no result."""
    n_reliable = tally.level_counts[Level.LABEL]
    if not n_reliable:
        return ", and no cell has a reliable label"
    count = {row.name: round((row.reliable or 0) * row.cells) for row in named}
    ordered = [(name, n) for name, n in most_first(count).items() if n]
    top = [f"{shortened(name, _NAME_LIMIT)} ({percent(n / tally.n_cells)})" for name, n in ordered[:_NAMED]]
    most = "most often " if len(ordered) > len(top) else ""
    return f": {percent(n_reliable / tally.n_cells)} have a reliable label, {most}{listing(top)}"


def lead(tally: Tally, min_score: float | None) -> tuple[str, ...]:
    """The sentences after the headline: scores, and unassigned cells."""
    middle = _median_score(tally)
    sentences = [f"Half of the cells have a score of {middle:.2f} or more for their label."]
    n_silent = int(tally.note_t[CellNote.SILENT])
    why = [] if min_score is None else [f"their best score is below {min_score:g}"]
    why += ["no gene of the model has a value in them"] if n_silent else []
    if tally.n_abstained:
        share = percent(tally.n_abstained / tally.n_cells)
        cells = plural(tally.n_abstained, "cell")
        sentences.append(f"{cells} ({share}) were left unassigned: {', or '.join(why)}.")
    elif min_score is None:
        sentences.append("Every cell got its best label: no threshold was set.")
    else:
        sentences.append(f"No cell was left unassigned: every best score is {min_score:g} or more.")
    unfamiliar = tally.unfamiliar_share
    if unfamiliar >= MANY_UNFAMILIAR and not tally.mostly_unfamiliar:
        sentences.append(f"{percent(unfamiliar)} of the cells are unlike those that the model was trained on.")
    if tally.lineage_counts:
        ordered = most_first(tally.lineage_counts)
        named = [f"{shortened(name, _NAME_LIMIT)} {percent(n / tally.n_cells)}" for name, n in ordered.items()]
        sentences.append(f"By lineage: {listing(named)}.")
    return tuple(sentences)


def composition(card: ModelCard, found: Composition | None, *, wanted: bool) -> Fact:
    """Whether and how scores were corrected to the sample's shares of the labels."""
    term = "Shares of labels"
    if found is None:
        if not card.assumed_shares:
            why = "the model does not say which shares it assumes"
        else:
            why = "no cell is like the training cells" if wanted else "option composition=off"
        return Fact(term, f"Scores are not corrected to the shares of the labels in this sample: {why}.")
    names = [label.name for label in card.labels]
    share_l, by_sample = found.by_name(names), found.by_sample(names)
    used = f"{plural(found.n_cells, 'cell')} that are like the training cells"
    without = "" if found.samples is None else _without_sample(int((found.samples.code_n < 0).sum()))
    counted = (
        "These shares count every cell in parts, by its scores; the table above counts it where its score is highest."
    )
    if by_sample is not None and found.samples is not None:
        return Fact(
            term,
            f"Scores are corrected to the estimated shares of the labels in each of "
            f"{plural(len(by_sample), 'sample')} (obs[{shortened(found.samples.column, _NAME_LIMIT)!r}], {used}): "
            f"manifest.json has them. In the whole file: {_listed(share_l)}. {without}{counted}",
        )
    return Fact(
        term,
        f"Scores are corrected to the estimated shares of the labels among {used}: {_listed(share_l)}. {counted}",
    )


def _without_sample(n_cells: int) -> str:
    if not n_cells:
        return ""
    return f"{plural(n_cells, 'cell')} without a sample {'is' if n_cells == 1 else 'are'} corrected to these. "


def clusters(found: Clusters | None, wanted: str, verdict: Verdict) -> Fact:
    """How clusters were made, or why there are none.

    Args:
        wanted: The option ``clusters``.
    """
    term = "Clusters"
    if found is not None and found.column is not None:
        return Fact(term, f"The groups of obs[{shortened(found.column, _NAME_LIMIT)!r}] voted on their labels.")
    if found is not None:
        return Fact(
            term,
            "Cells with similar expression voted on their label (principal components of the model's genes, Leiden). "
            'The components are in obsm["X_celldrop"] of annotated.h5ad, unless the file is older than anndata 0.7.',
        )
    if wanted == OFF:
        why = "option clusters=off"
    elif wanted == AUTO and verdict.matrix is not None and verdict.matrix.encoding is MatrixEncoding.CSC:
        why = "the matrix is stored by columns, and would have been read once more (clusters=on finds them)"
    elif wanted == AUTO and verdict.n_cells > AUTO_CELLS:
        why = f"the file has more than {whole(AUTO_CELLS)} cells (clusters=on finds them)"
    else:
        why = f"fewer than {LEAST_CELLS} cells have a value of the model's genes"
    return Fact(term, f"None: {why}.")


def _listed(shares: Mapping[str, float]) -> str:
    named = [f"{shortened(name, _NAME_LIMIT)} {percent(share)}" for name, share in shares.items()]
    return some(named, _SHARES)


def reliability(card: ModelCard, used: Thresholds | None) -> Fact:
    """From which score on a label is reliable, and what that promises."""
    term = "Reliable labels"
    if used is None:
        return Fact(term, "Not known: the model has no record of how often its labels are wrong.")
    if used.why_none:
        return Fact(term, f"None: {used.why_none}, so that what is known of the model's errors does not hold.")
    everywhere = used.in_use
    answers = {
        "labels and wider types": _span(one.tree_score for one in everywhere),
        "labels": "" if card.tree else _span(one.label_score for one in everywhere),
        "lineages of the other cells": "" if card.tree else _span(one.lineage_score for one in everywhere),
    }
    given = [f"{what} with a score of at least {least}" for what, least in answers.items() if least]
    found = listing(given).capitalize() if given else "None: no score is high enough"
    if given and used.samples is not None:
        column = shortened(used.samples.column, _NAME_LIMIT)
        found += f", which depends on the sample (obs[{column!r}]; manifest.json has that of each{_shared(used)})"
    found += (
        f". At the model's own thresholds, at most {used.learned.error:.0%} of the cells that were held out of its "
        f"training got a wrong answer.{_raised(card, used)}"
    )
    return Fact(
        term,
        f"{found} In another study, more can be wrong. A type that the model does not know can get a label, and so can "
        "two cells in one droplet: look for doublets by other means.",
    )


def _raised(card: ModelCard, used: Thresholds) -> str:
    before = used.learned.tree_score if card.tree else used.learned.label_score
    where = "" if before is None else f" from {before:g}"
    if used.by_sample is None:
        more = f" By their own scores, more of these cells would, so a threshold was raised{where}."
        return more if used.any_raised else ""
    own = {name: one for name, one in used.by_sample.items() if name not in used.few}
    harder = [shortened(name, _NAME_LIMIT) for name, one in own.items() if one != used.learned]
    if used.whole != used.learned and used.whole in used.in_use:
        harder.append("the small samples together" if used.few else "those without a sample")
    if not harder:
        return ""
    where = f" there{where}."
    return f" By their own scores, more of the cells of {some(harder, _SHARES)} would, so thresholds were raised{where}"


def _shared(used: Thresholds) -> str:
    """Which cells share thresholds."""
    if not used.few:
        return ""
    return f"; {plural(len(used.few), 'sample')} of fewer than {LEAST_JUDGED} usable cells share one"


def _span(scores: Iterable[float | None]) -> str:
    """``0.5``, ``0.5 to 0.7``, or nothing."""
    ordered = sorted({score for score in scores if score is not None})
    return f"{ordered[0]:g} to {ordered[-1]:g}" if len(ordered) > 1 else "".join(f"{score:g}" for score in ordered)


def familiarity(tally: Tally, card: ModelCard) -> Fact:
    """How unlike the model's training cells these cells are, or why that is not known."""
    term = "Unlike the training cells"
    if card.familiarity is None:
        return Fact(
            term,
            "Not known: this model cannot recognise cells of a kind that it was not trained on. It gives them one of "
            "its labels, often with a high score.",
        )
    if tally.n_unfamiliar is None:
        return Fact(
            term,
            "Not known: the file lacks too many of the genes by which such cells are recognised. Keep all genes in the "
            "file.",
        )
    cells = f"{plural(tally.n_unfamiliar, 'cell')} ({percent(tally.unfamiliar_share)})"
    return Fact(
        term,
        f"{cells} express more of {whole(len(card.familiarity.genes))} genes that hardly any training cell expresses "
        f"than {100 - 100 * card.familiarity.false_alarm:g}% of the cells that were held out of the training. So a few "
        "per cent are expected: look at the cells with the highest unfamiliarity.",
    )


def figures(rows: Sequence[LabelRow], tally: Tally, verdict: Verdict) -> tuple[Figure, ...]:
    """The key figures at the top."""
    n_labels = sum(row.colour != "none" for row in rows)
    known = len(tally.vocabulary.labels)
    genes = whole(float(log_value(median_bin(tally.genes_cb.sum(axis=0)))))
    found = [
        Figure(whole(tally.n_cells), "cells"),
        Figure(whole(n_labels), "labels found", f"of {whole(known)} the model knows"),
        _first_doubt(tally),
        Figure(f"{_median_score(tally):.2f}", "median score"),
        Figure(genes, "genes per cell", "median"),
    ]
    if tally.n_unfamiliar is not None:
        found.append(Figure(percent(tally.unfamiliar_share), "unfamiliar", "unlike the training cells"))
    if verdict.overlap:
        note = f"{whole(verdict.overlap.n_matched)} of {whole(verdict.overlap.n_model)}"
        found.append(Figure(percent(verdict.overlap.fraction), "of the model's genes", f"{note} found in the file"))
    return tuple(found)


def _first_doubt(tally: Tally) -> Figure:
    """How many cells have a reliable label, if that is known and no threshold left out any; else how many have one."""
    if tally.level_counts and not tally.n_abstained:
        return Figure(percent(tally.level_counts[Level.LABEL] / tally.n_cells), "reliable label", "others: see below")
    return Figure(percent(1 - tally.n_abstained / tally.n_cells), "assigned")


def remarks(
    rows: Sequence[LabelRow], tally: Tally, min_score: float | None, *, selected_genes: bool = False
) -> tuple[Notice, ...]:
    """Remarks on the results that the reader should check.

    Args:
        selected_genes: Whether the file has only selected genes, so that the number of genes per cell means little.
    """
    found: list[Notice] = []
    few = tally.n_few_genes / tally.n_cells
    if few >= _MANY_FEW_GENES and not selected_genes:
        text = f"{plural(tally.n_few_genes, 'cell')} ({percent(few)}) have fewer than {FEW_GENES} genes."
        found.append(Notice(text, "They may be debris or empty droplets: filter them before you trust their labels."))
    found += _score_remarks(tally, min_score)
    found += _rare_remarks(rows)
    return tuple(found)


def method(verdict: Verdict, card: ModelCard, min_score: float | None) -> tuple[Fact, ...]:
    """The steps of the analysis: matrix, genes, preprocessing, threshold."""
    facts: list[Fact] = []
    if verdict.matrix:
        text = f"{verdict.matrix.path}, {STATES[verdict.matrix.state]}. {verdict.matrix.why}"
        facts.append(Fact("Matrix", text))
    others = [f"{path} ({state})" for path, state in verdict.considered if not _chosen(verdict, path)]
    if others:
        facts.append(Fact("Also in the file", listing(others)))
    if verdict.genes:
        facts.append(Fact("Genes", _genes_text(verdict)))
    steps = " → ".join(step.step for step in card.preprocessing)
    facts.append(Fact("Preprocessing", f"{steps} → {card.kind} → {card.activation}, as the model was trained."))
    text = f"Cells with a best score below {min_score:g} are Unassigned." if min_score is not None else _NO_THRESHOLD
    facts.append(Fact("Threshold", text))
    return tuple(facts)


def model(card: ModelCard) -> tuple[Fact, ...]:
    """The facts of the model's card."""
    training = card.training
    origin = f"{training.method} {training.source}".strip()
    if training.n_cells:
        origin += f" ({plural(training.n_cells, 'cell')})"
    metrics = listing([f"{metric_words(name)} {value:.3g}" for name, value in training.metrics.items()])
    facts = [
        Fact("Name", f"{card.title} ({card.reference})" if card.title else card.reference),
        Fact("Description", card.description),
        Fact("Labels and genes", f"{plural(len(card.labels), 'label')}, {plural(len(card.features), 'gene')}"),
        Fact("Training", origin),
        Fact("Measured on held-out cells", metrics or "nothing is recorded: check the labels with marker genes"),
        Fact("Licence", card.licence or "not stated"),
        Fact("Please cite", card.citation),
    ]
    return tuple(fact for fact in facts if fact.text)


def effort(plan: Plan, actual: Actual) -> Fact:
    """Time and cost: what the plan estimated, and what was used until the report was written."""
    tasks = "1 task" if plan.n_tasks == 1 else f"{plan.n_tasks:,} tasks"
    expected = _amount(plan.estimated_s, plan.estimated_usd)
    if actual.seconds is None:
        taken = f"{actual.machine_s:g} s of machine time used until this report"
    else:
        taken = f"{_amount(actual.seconds, actual.usd)} used until this report"
    return Fact("Time and cost", f"{tasks} on {plan.accelerator.upper()}: {expected} estimated, {taken}")


def _amount(seconds: float, usd: float | None) -> str:
    return f"{seconds:g} s" if usd is None else f"{seconds:g} s and ${usd:.4f}"


def provenance(submission_id: str, card: ModelCard, software: Mapping[str, str]) -> tuple[Fact, ...]:
    """The ids and versions needed to reproduce the results."""
    versions = ", ".join(f"{name} {version}" for name, version in software.items())
    return (
        Fact("Submission", submission_id),
        Fact("Model", f"{card.reference}, digest {card.digest}"),
        Fact("Software", versions),
    )


def _score_remarks(tally: Tally, min_score: float | None) -> list[Notice]:
    found: list[Notice] = []
    share = tally.n_abstained / tally.n_cells
    if min_score is not None and share >= _MANY_UNASSIGNED:
        hint = "The tissue may contain cell types that the model does not know: try another model."
        found.append(Notice(f"{percent(share)} of the cells score below {min_score:g} for every label.", hint))
    return found


def _rare_remarks(rows: Sequence[LabelRow]) -> list[Notice]:
    rare = [shortened(row.name, _NAME_LIMIT) for row in rows if row.cells <= _RARE and row.colour != "none"]
    if not rare:
        return []
    text = f"{plural(len(rare), 'label')} with at most {_RARE} cells: {some(rare, _RARE_NAMED)}."
    return [Notice(text, "Labels with so few cells are often wrong. Check them before you report them.")]


def _genes_text(verdict: Verdict) -> str:
    assert verdict.genes is not None
    column = "the index" if verdict.genes.column == "_index" else f"column {verdict.genes.column}"
    text = f"{GENE_IDS[verdict.genes.kind]} from {column} of {verdict.matrix.genes_path if verdict.matrix else 'var'}"
    if verdict.genes.n_duplicates:
        text += f", {plural(verdict.genes.n_duplicates, 'repeated identifier')}"
    if verdict.overlap:
        text += (
            f"; {whole(verdict.overlap.n_matched)} of the model's {plural(verdict.overlap.n_model, 'gene')} were found"
        )
        if verdict.genes.orthologues:
            text += ", as one-to-one orthologues of another species"
    return text + "."


def _chosen(verdict: Verdict, path: str) -> bool:
    return verdict.matrix is not None and verdict.matrix.path == path


def _median_score(tally: Tally) -> float:
    return median_score(tally.score_cb.sum(axis=0))
