"""`celldrop models train`: trains a bundle on labelled cells."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from cli.console import Exit, Output
from cli.evaluating import say_evaluation
from cli.findings import say_finding
from cli.labelled import Origin, missing_words
from cli.terms import say_unplaced
from jobs.inference.outputs.reading_findings import on_model
from jobs.modeling.alignment import LEAST_CELLS, batched_types, shared_types
from jobs.modeling.bundles import check_free, write_bundle
from jobs.modeling.cards import check_identity
from jobs.modeling.features import genes_also_in
from jobs.modeling.gene_lists import read_gene_list
from jobs.modeling.gene_places import GeneList, n_found
from jobs.modeling.joining import joined
from jobs.modeling.labelled import LabelledCells, Sample, read_labelled
from jobs.modeling.lineages import read_mapping
from jobs.modeling.ontology import read_ontology
from jobs.modeling.readable import read_names
from jobs.modeling.reporting import Progress
from jobs.modeling.settings import ClassWeights, TrainingSettings
from jobs.modeling.trainable import training_warnings, without_rare
from jobs.modeling.training import TrainedModel, train
from jobs.modeling.trees import place_labels
from shared.bundles.card import Label, ModelCard
from shared.domain.errors import InvalidOptionError, TrainingDataError
from shared.domain.verdict import Finding
from shared.domain.words import listed
from shared.settings import Settings


def train_model(origin: Origin, how: Mapping[str, Any], settings: Settings, output: Output) -> Exit:
    """Train on the labels of one or more files and write the bundle.

    Args:
        how: Values for the fields of ``TrainingSettings``.

    Raises:
        CelldropError: The file, its labels or the request cannot be used.
    """
    wanted = TrainingSettings(**{**how, "class_weights": ClassWeights(how["class_weights"])}, command=this_command())
    if origin.min_cells is not None:
        wanted = replace(wanted, min_cells_per_label=origin.min_cells)
    check_identity(wanted)
    check_free(settings.models_dir, wanted.name, wanted.version)
    if origin.features_from is not None:
        genes, source = read_gene_list(origin.features_from), origin.features_from.name
        wanted = replace(wanted, features_from=genes, features_source=source)
    cells, rare = without_rare(_read(origin, wanted), origin.min_cells or 0)
    check_tables(cells, origin)
    if origin.aligned_with is not None:
        wanted = replace(wanted, aligned_with=_read_other(origin, origin.aligned_with, cells, wanted))
    if origin.ontology is not None:
        cells, wanted = _with_tree(cells, wanted, origin.ontology, output)
    findings = training_warnings(cells)
    _say_cells(cells, wanted, findings, output)
    if words := lineage_words(cells.labels):
        output.prose(words, style="yellow")
    if cells.batches and not batched_types(cells):
        output.prose(f"  no type has {LEAST_CELLS} cells in two batches or more: nothing is ignored", style="yellow")
    if rare:
        named = ", ".join(f"{name} ({size})" for name, size in rare.items())
        output.prose(f"  left out, with fewer than {origin.min_cells} cells: {named}", style="yellow")
    trained = _train(cells, wanted, output)
    card = write_bundle(settings.models_dir, trained.card, trained.tensors)
    path = settings.models_dir / card.name / card.version
    about = {
        "left_out": rare,
        "metrics": card.training.metrics,
        "missing": cells.missing,
        "tree": {group.name: group.labels for group in card.tree},
        "warnings": [asdict(one) for one in (*findings, *on_model(card))],
    }
    output.result({"model": card.reference, "digest": card.digest, "path": str(path), **about})
    _say_trained(trained, card, path, output)
    return Exit.DONE


def check_tables(cells: LabelledCells, origin: Origin) -> None:
    """Check that the tables of names and of lineages are about the labels of the file.

    Raises:
        InvalidOptionError: One has none of them.
    """
    labels = {label.submitted or label.name for label in cells.labels}
    either = labels | {label.name for label in cells.labels}
    for option, text, known, looked_up in (
        ("--names", origin.names, read_names(origin.names) if origin.names else {}, labels),
        ("--lineages", origin.lineages, read_mapping(origin.lineages) if origin.lineages else {}, either),
    ):
        if text and looked_up and looked_up.isdisjoint(known):
            raise InvalidOptionError(
                f"none of the labels {listed(sorted(labels))} is in {text}",
                expected=f"labels of the column {origin.column!r} in the table; it has {listed(sorted(known))}",
                where=cells.source,
                hint=f"Correct the table, or leave {option} out.",
            )


def lineage_words(labels: Sequence[Label]) -> str:
    """Say which labels have no lineage, if others have one: then no cell gets a lineage."""
    without = [label.name for label in labels if not label.lineage]
    if not without or len(without) == len(labels):
        return ""
    return f"  no lineage for {listed(without)}: the model gives no lineages, as every label needs one"


def this_command() -> str:
    """The command that repeats what is done, for the card, without the folder that it is written to."""
    words = iter(sys.argv[1:])
    kept = [word for word in words if word not in {"--models", "--out"} or next(words, "") is None]
    return shlex.join(["celldrop", *kept])


def _read(origin: Origin, wanted: TrainingSettings) -> LabelledCells:
    """Read the cells of all files, of each at most as many as are trained on."""
    lineages = read_mapping(origin.lineages) if origin.lineages else None
    readable = read_names(origin.names) if origin.names else None
    found = [
        read_labelled(
            file,
            origin.column,
            ids_from=origin.ids_from,
            lineages=lineages,
            readable=readable,
            matrix=origin.matrix,
            sample=Sample(wanted.max_cells, wanted.seed),
            batches=origin.batches,
        )
        for file in origin.files
    ]
    return joined(found)


def _read_other(origin: Origin, file: Path, cells: LabelledCells, wanted: TrainingSettings) -> LabelledCells:
    """Read the cells of the file that the model is aligned with.

    Raises:
        TrainingDataError: It has no type in common with the cells to train on.
    """
    column = origin.aligned_column or origin.column
    lineages = read_mapping(origin.lineages) if origin.lineages else None
    names = read_names(origin.names) if origin.names else None
    sample = Sample(wanted.max_cells, wanted.seed)
    other = read_labelled(file, column, lineages=lineages, readable=names, sample=sample)
    if not shared_types(cells, other):
        raise TrainingDataError(
            f"no type of {column!r} that {cells.source} has too",
            expected=f"at least {LEAST_CELLS} cells in each file of a lineage, or of a label of the same name",
            where=str(file),
            hint="Give the labels of both files their lineages with --lineages.",
        )
    n_shared = n_found(other.genes, GeneList(cells.genes, cells.species))
    if other.species is not cells.species or n_shared * 2 < len(cells.genes):
        raise TrainingDataError(
            f"{n_shared:,} of the {len(cells.genes):,} genes of {cells.source}, and cells of {other.species}",
            expected=f"at least half of these genes, and cells of {cells.species}",
            where=str(file),
            hint="Align with a file of the same species, with all its genes.",
        )
    return other


def _with_tree(
    cells: LabelledCells, wanted: TrainingSettings, file: Path, output: Output
) -> tuple[LabelledCells, TrainingSettings]:
    """Give the labels their terms and their tree, and say which labels have none."""
    placed = place_labels(cells.labels, read_ontology(file))
    say_unplaced(placed.unplaced, file.name, output)
    groups = ", ".join(f"{group.name} ({len(group.labels)})" for group in placed.tree)
    output.prose(f"  wider types, and how many labels are kinds of each: {groups or 'none'}")
    wanted = replace(wanted, tree=placed.tree, terms=placed.terms, ontology=file.name)
    return replace(cells, labels=placed.labels), wanted


def _train(cells: LabelledCells, wanted: TrainingSettings, output: Output) -> TrainedModel:
    with output.progress("Training", None) as bar:

        def show(progress: Progress) -> None:
            bar.update(progress.done, progress.total, f"Training, {progress.stage}")

        return train(cells, wanted, show)


def _say_cells(cells: LabelledCells, wanted: TrainingSettings, findings: list[Finding], output: Output) -> None:
    of = f" of {cells.n_cells + cells.n_sampled_away:,}, sampled," if cells.n_sampled_away else ""
    words = f"{cells.n_cells:,}{of} cells with {len(cells.labels)} labels in {cells.source}"
    output.prose(f"{words}, {cells.state} from {cells.matrix}")
    if cells.missing:
        output.prose(f"  {missing_words(cells.missing)}")
    if wanted.aligned_with is not None:
        types = ", ".join(shared_types(cells, wanted.aligned_with))
        output.prose(f"  differences from {wanted.aligned_with.source} are ignored, in {types}")
    if wanted.features_from is not None:
        n_shared = int(genes_also_in(cells.genes, wanted.features_from).sum())
        output.prose(f"  {n_shared:,} of its {len(cells.genes):,} genes are in {wanted.features_source} too")
    for finding in findings:
        say_finding(finding, output, wrapped=True)


def _say_trained(trained: TrainedModel, card: ModelCard, path: Path, output: Output) -> None:
    output.say(f"{card.reference}: {len(card.labels)} labels, {len(card.features):,} genes", style="bold green")
    output.say(f"Measured on {trained.report.n_held_out:,} held-out cells:")
    say_evaluation(trained.report.held_out, card, output)
    for finding in on_model(card):
        say_finding(finding, output)
    output.say(f"  in {path}")
    output.say(f"  use it with  celldrop run FILE --model {path}")
