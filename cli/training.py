"""`celldrop models train` and `evaluate`: from labelled cells to a bundle, and from a bundle to figures."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cli.console import Exit, Output
from cli.files import bundle_folder
from jobs.inference.models import load_model
from jobs.modeling.bundles import write_bundle
from jobs.modeling.celltypist_genes import feature_table
from jobs.modeling.evaluation import EvaluationReport, evaluate
from jobs.modeling.labelled import read_genes, read_labelled
from jobs.modeling.lineages import read_mapping
from jobs.modeling.metrics import Agreement
from jobs.modeling.reporting import Progress
from jobs.modeling.settings import ClassWeights, TrainingSettings
from jobs.modeling.training import TrainedModel, train
from shared.bundle import CARD_NAME, Features, ModelCard, parse_card
from shared.models import find_model
from shared.settings import Settings
from shared.wiring import build_files


@dataclass(frozen=True, slots=True)
class Origin:
    """The labelled cells that a training starts from.

    Attributes:
        column: The obs column of labels.
        ids_from: The obs column of Cell Ontology ids.
        lineages: ``blood``, or a file that gives each label its lineage.
        features_from: A file whose genes are the only ones used.
    """

    file: Path
    column: str
    ids_from: str | None = None
    lineages: str | None = None
    features_from: Path | None = None


def train_model(origin: Origin, how: Mapping[str, Any], settings: Settings, output: Output) -> Exit:
    """Train on a file's labels and write the bundle.

    Args:
        how: Fields of ``TrainingSettings``.

    Raises:
        CelldropError: The file, its labels or the request cannot be used.
    """
    wanted = TrainingSettings(**{**how, "class_weights": ClassWeights(how["class_weights"])}, command=_command())
    if origin.features_from is not None:
        genes, source = _genes_of(origin.features_from), origin.features_from.name
        wanted = replace(wanted, features_from=genes, features_source=source)
    mapping = read_mapping(origin.lineages) if origin.lineages else None
    cells = read_labelled(origin.file, origin.column, ids_from=origin.ids_from, lineages=mapping)
    output.say(
        f"{cells.n_cells:,} cells with {len(cells.labels)} labels in {origin.file.name}, counts from {cells.matrix}"
    )
    with output.progress("Training", None) as bar:

        def show(progress: Progress) -> None:
            bar.update(progress.done, progress.total, f"Training, {progress.stage}")

        trained = train(cells, wanted, show)
    card = write_bundle(settings.models_dir, trained.card, trained.tensors)
    path = settings.models_dir / card.name / card.version
    output.result({"model": card.reference, "digest": card.digest, "path": str(path), "metrics": card.training.metrics})
    _say_trained(trained, card, path, output)
    return Exit.DONE


def _command() -> str:
    """What would repeat this, for the card; the folder it goes to is left out."""
    words = iter(sys.argv[1:])
    kept = [word for word in words if word != "--out" or next(words, "") is None]
    return shlex.join(["celldrop", *kept])


def _genes_of(path: Path) -> Features:
    if path.suffix in {".h5ad", ".h5"} or not path.is_file():
        return read_genes(path)
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    return feature_table([line for line in lines if line])


def _say_trained(trained: TrainedModel, card: ModelCard, path: Path, output: Output) -> None:
    output.say(f"{card.reference}: {len(card.labels)} labels by {len(card.features):,} genes", style="bold green")
    _say_evaluation(trained.report.held_out, output)
    output.say(f"  in {path}")


def evaluate_model(
    settings: Settings, model: str, file: Path, column: str, lineages: str | None, output: Output
) -> Exit:
    """Annotate a labelled file with the very inference code, and compare.

    Raises:
        CelldropError: The model, the file or its labels cannot be used.
    """
    mapping: Mapping[str, str] | None = read_mapping(lineages) if lineages else None
    card, weights = _load(settings, model)
    report = evaluate(card, weights, file, column, mapping)
    output.result({"model": card.reference, "file": str(file), **_document(report)})
    output.say(f"{card.reference} on {file.name}, {report.n_cells:,} labelled cells", style="bold")
    _say_evaluation(report, output)
    return Exit.DONE


def _load(settings: Settings, model: str) -> tuple[ModelCard, Mapping[str, Any]]:
    folder = bundle_folder(model)
    blobs, bucket = build_files(settings), settings.models_bucket
    if folder is None:
        card, prefix = find_model(blobs, bucket, model)
        return load_model(blobs, bucket, prefix, card.digest)
    card = parse_card((folder / CARD_NAME).read_bytes(), where=str(folder))
    beside = build_files(settings.model_copy(update={"models_dir": folder.resolve().parent}))
    return load_model(beside, bucket, f"{folder.resolve().name}/", card.digest)


def _say_evaluation(report: EvaluationReport, output: Output) -> None:
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
    if report.n_left_out:
        left = ", ".join(f"{name} ({count:,})" for name, count in report.n_left_out.items())
        output.say(f"  not comparable, left out: {left}")


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
