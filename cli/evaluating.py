"""`celldrop models evaluate`: compares bundles' labels with files' own labels, as text, JSON and in files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.catalogue import as_bucket
from cli.console import Exit, Output, status_of_code
from cli.evaluation_files import check_folder, write_evaluations
from cli.evaluation_remarks import Remark, label_remarks, remarks
from cli.files import bundle_folder
from cli.findings import say_finding
from jobs.inference.task.models import load_model
from jobs.modeling.common_cells import (
    Common,
    by_file,
    common_document,
    common_heads,
    common_rows,
    commons,
    different_words,
)
from jobs.modeling.evaluated import Evaluated, document_of, figures, row_of
from jobs.modeling.evaluation import EvaluationReport, evaluate
from jobs.modeling.hierarchy import HierarchicalAgreement
from jobs.modeling.lineages import read_mapping
from jobs.modeling.ontology import read_ontology
from shared.bundles.card import ModelCard
from shared.bundles.catalogue import find_model
from shared.domain.errors import CelldropError, InvalidOptionError
from shared.h5ad.judge.cautions import WarningCode
from shared.settings import Settings
from shared.wiring.ports import build_files

_BY_FOLDER = "celldrop models evaluate FOLDER FILE --labels COLUMN"


@dataclass(frozen=True, slots=True)
class Asked:
    """What to compare, as given on the command line.

    Attributes:
        columns: The obs columns of labels: one for all files, or one for each.
        lineages: ``blood``, or a file that gives each label its lineage.
        ontology: A Cell Ontology .obo file.
        out: The folder for files.
        composition: Whether scores are corrected to the shares of the labels in each file, as in a run.
    """

    models: Sequence[str]
    files: Sequence[Path]
    columns: Sequence[str]
    lineages: str | None = None
    ontology: Path | None = None
    matrix: str | None = None
    out: Path | None = None
    composition: bool = True

    def labelled(self) -> list[tuple[Path, str]]:
        """Each file with its column.

        Raises:
            InvalidOptionError: There are neither one nor as many columns as files.
        """
        if len(self.columns) not in {1, len(self.files)}:
            raise InvalidOptionError(
                f"{len(self.columns)} columns for {len(self.files)} files",
                expected="one --labels for all files, or one for each in their order",
                hint="Give --labels once, or as often as there are files.",
            )
        columns = self.columns if len(self.columns) == len(self.files) else [*self.columns] * len(self.files)
        return list(zip(self.files, columns, strict=True))


def evaluate_models(settings: Settings, asked: Asked, output: Output) -> Exit:
    """Annotate labelled files with the pipeline's own inference code, and compare the labels.

    With several files or models, a pair that cannot be compared is told, and the others go on. All models are loaded,
    and held, before the first cell is scored.

    Raises:
        CelldropError: A model cannot be used, or, with one file and one model, the file or its labels.
    """
    labelled = asked.labelled()
    if asked.out is not None:
        check_folder(asked.out)
    alone = len(asked.models) == len(labelled) == 1
    found: list[Evaluated] = []
    for one in _evaluations(settings, asked, labelled, alone=alone):
        found.append(one)
        if not alone:
            _say_short(one, output)
    if alone:
        output.result({"model": found[0].card.reference, "file": str(found[0].file), **document_of(found[0])})
        _say_whole(found[0], output)
    else:
        in_common = commons(found)
        output.result(
            {"evaluations": [_document(one) for one in found], "common": [common_document(one) for one in in_common]}
        )
        _say_comparison(found, in_common, ontology=asked.ontology is not None, output=output)
    if asked.out is not None:
        for path in write_evaluations(asked.out, found):
            output.say(f"  {path}")
    return next((status_of_code(one.error.code) for one in found if one.error), Exit.DONE)


def _evaluations(
    settings: Settings, asked: Asked, labelled: Sequence[tuple[Path, str]], *, alone: bool
) -> Iterator[Evaluated]:
    mapping: Mapping[str, str] | None = read_mapping(asked.lineages) if asked.lineages else None
    ontology = read_ontology(asked.ontology) if asked.ontology else None
    for card, weights in [load_bundle(settings, model, by_folder=_BY_FOLDER) for model in asked.models]:
        for file, column in labelled:
            try:
                report = evaluate(
                    card,
                    weights,
                    file,
                    column,
                    mapping,
                    matrix=asked.matrix,
                    ontology=ontology,
                    composition=asked.composition,
                )
            except CelldropError as error:
                if alone:
                    raise
                yield Evaluated(card, file, column, error=error)
            else:
                yield Evaluated(card, file, column, report)


def load_bundle(settings: Settings, model: str, *, by_folder: str) -> tuple[ModelCard, Mapping[str, Any]]:
    """The card and the tensors of a bundle, by name or folder.

    Args:
        by_folder: As in ``find_card``.

    Raises:
        ModelNotFoundError: There is no such bundle.
        InvalidBundleError: It breaks the format.
    """
    folder = bundle_folder(model)
    if folder is not None:
        return load_model(*as_bucket(folder), None)
    blobs, bucket = build_files(settings), settings.models_bucket
    card, prefix = find_model(blobs, bucket, model, by_folder=by_folder)
    return load_model(blobs, bucket, prefix, card.digest)


def _document(one: Evaluated) -> dict[str, Any]:
    return {"model": one.card.reference, "file": str(one.file), "column": one.column, **document_of(one)}


# --- Text ---------------------------------------------------------------------------------------------------------


def _say_comparison(found: Sequence[Evaluated], in_common: Sequence[Common], *, ontology: bool, output: Output) -> None:
    """Print a table for each file, what its heads mean, and the figures on the cells common to all models."""
    wanted, common_of = figures(ontology=ontology), {(one.file, one.column): one for one in in_common}
    for group in by_file(found):
        first = group[0]
        output.say()
        output.prose(f"{first.file.name}, by the labels in {first.column!r}", style="bold")
        rows = [[one.card.reference, *row_of(one, ontology=ontology)] for one in group]
        output.table(["model", *(figure.head for figure in wanted)], rows)
        if (common := common_of.get((first.file, first.column))) is not None:
            _say_common(common, output)
    output.say()
    for figure in wanted:
        output.prose(f"  {figure.head}: {figure.meaning}")


def _say_common(common: Common, output: Output) -> None:
    if not common.caution:
        output.prose("  All models are compared on the same cells.")
        return
    output.prose(f"  {different_words(common)}", style="yellow")
    if heads := common_heads(common):
        output.table(heads, common_rows(common))


def _say_short(one: Evaluated, output: Output) -> None:
    if one.error is not None:
        output.prose(f"{one.card.reference} on {one.file.name}: {one.error.code}: {one.error.message}", style="yellow")
    else:
        assert one.report is not None
        output.prose(f"{one.card.reference} on {one.file.name}: {one.report.n_cells:,} labelled cells")
        _say(label_remarks(one.report, one.card), output)
        for finding in one.report.warnings:
            if finding.code == WarningCode.TRAINED_ON_THIS_FILE:
                say_finding(finding, output, wrapped=True)


def _say_whole(one: Evaluated, output: Output) -> None:
    assert one.report is not None
    output.prose(f"{one.card.reference} on {one.file.name}, {one.report.n_cells:,} labelled cells", style="bold")
    say_evaluation(one.report, one.card, output)


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
    if report.hierarchical is not None:
        _say_hierarchical(report.hierarchical, output)
    _say(remarks(report, card), output)
    for finding in report.warnings:
        say_finding(finding, output, wrapped=True)


def _say(found: Iterable[Remark], output: Output) -> None:
    for one in found:
        output.prose(f"  {one.words}", style="yellow" if one.serious else "")


def _say_hierarchical(found: HierarchicalAgreement, output: Output) -> None:
    output.prose(
        f"  in the Cell Ontology ({found.n_cells:,} cells): {found.exact:.1%} get the same term, {found.ancestor:.1%} "
        f"a wider one (an ancestor), {found.descendant:.1%} a narrower one (a descendant)"
    )
    output.prose(
        f"  hierarchical precision {found.precision:.4f}, recall {found.recall:.4f}, F {found.f1:.4f}; mean F over "
        f"true types and their wider ones {found.macro_f1:.4f}"
    )
    hops = ", ".join(f"{hops}: {f1:.4f}" for hops, f1 in enumerate(found.hop_f1))
    output.prose(f"  F1, if a term counts as right within so many steps of the true one: {hops}")
