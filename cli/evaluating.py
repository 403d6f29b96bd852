"""`celldrop models evaluate`: compares a bundle's labels with a file's own labels, as text or JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from cli.catalogue import as_bucket
from cli.console import Exit, Output
from cli.files import bundle_folder
from cli.findings import say_finding
from cli.labelled import Origin, missing_words
from jobs.inference.task.models import load_model
from jobs.modeling.evaluation import EvaluationReport, evaluate
from jobs.modeling.lineages import read_mapping
from jobs.modeling.metrics import Agreement
from shared.bundles.card import ModelCard
from shared.bundles.catalogue import find_model
from shared.settings import Settings
from shared.wiring.ports import build_files

_MOST_NAMED = 30


def evaluate_model(settings: Settings, model: str, origin: Origin, output: Output) -> Exit:
    """Annotate a labelled file with the pipeline's own inference code, and compare the labels.

    Raises:
        CelldropError: The model, the file or its labels cannot be used.
    """
    mapping: Mapping[str, str] | None = read_mapping(origin.lineages) if origin.lineages else None
    card, weights = _load(settings, model)
    report = evaluate(card, weights, origin.file, origin.column, mapping, matrix=origin.matrix)
    output.result({"model": card.reference, "file": str(origin.file), **_document(report)})
    output.say(f"{card.reference} on {origin.file.name}, {report.n_cells:,} labelled cells", style="bold")
    say_evaluation(report, card, output)
    return Exit.DONE


def _load(settings: Settings, model: str) -> tuple[ModelCard, Mapping[str, Any]]:
    folder = bundle_folder(model)
    if folder is not None:
        return load_model(*as_bucket(folder), None)
    blobs, bucket = build_files(settings), settings.models_bucket
    card, prefix = find_model(blobs, bucket, model)
    return load_model(blobs, bucket, prefix, card.digest)


def say_evaluation(report: EvaluationReport, card: ModelCard, output: Output) -> None:
    """Print the metrics, the cells that were not compared, and the warnings."""
    rows = [
        [what, f"{one.n_cells:,}", f"{one.accuracy:.4f}", f"{one.balanced_accuracy:.4f}", f"{one.macro_f1:.4f}"]
        for what, one in (("labels", report.labels), ("lineages", report.lineages))
        if one is not None
    ]
    output.table(["compared by", "cells", "accuracy", "balanced accuracy", "macro F1"], rows)
    if report.labels is not None:
        scored = zip(report.labels.names, report.labels.per_label, strict=True)
        per_label = [
            [name, f"{one.support:,}", f"{one.precision:.3f}", f"{one.recall:.3f}"]
            for name, one in scored
            if one.support
        ]
        output.table(["label", "cells", "precision", "recall"], per_label)
    _say_left_out(report, card, output)
    if report.unfamiliar is not None:
        n_unfamiliar = sum(report.unfamiliar.values())
        words = (
            f"  unlike the training cells: {n_unfamiliar:,} of {report.n_cells:,} ({n_unfamiliar / report.n_cells:.1%})"
        )
        output.say(f"{words}{f': {_counted(report.unfamiliar)}' if n_unfamiliar else ''}")
    if report.n_without_genes:
        words = f"  {report.n_without_genes:,} cells have no value of the model's genes, and would be Unassigned"
        output.say(words, style="yellow")
    for finding in report.warnings:
        say_finding(finding, output)


def _say_left_out(report: EvaluationReport, card: ModelCard, output: Output) -> None:
    by_lineage = {name: count for name, count in report.n_unknown.items() if name not in report.n_left_out}
    if by_lineage:
        output.say(f"  not labels of {card.reference}, compared only by lineage: {_counted(by_lineage)}")
    if report.n_left_out:
        output.say(f"  not labels of {card.reference}, left out: {_counted(report.n_left_out)}", style="yellow")
    if report.missing:
        output.say(f"  {missing_words(report.missing)}")


def _counted(cells: Mapping[str, int]) -> str:
    ordered = sorted(cells.items(), key=lambda pair: -pair[1])
    more = f" and {len(ordered) - _MOST_NAMED} more" if len(ordered) > _MOST_NAMED else ""
    return ", ".join(f"{name} ({count:,})" for name, count in ordered[:_MOST_NAMED]) + more


def _document(report: EvaluationReport) -> dict[str, Any]:
    return {
        **asdict(replace(report, labels=None, lineages=None)),
        "labels": _agreement(report.labels),
        "lineages": _agreement(report.lineages),
    }


def _agreement(one: Agreement | None) -> dict[str, Any] | None:
    if one is None:
        return None
    return {**asdict(one), "confusion_tp": one.confusion_tp.tolist()}
