"""Compares a model's labels with the labels in a file, using the code of inference."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from jobs.engine.abstaining import is_unassigned, is_unfamiliar
from jobs.engine.agreement import cross_counts
from jobs.modeling.best_scores import BestScores
from jobs.modeling.calibration import calibration_error
from jobs.modeling.hierarchy import HierarchicalAgreement
from jobs.modeling.judged import judged
from jobs.modeling.labels import Labelling, read_labels
from jobs.modeling.metrics import Agreement, agreement
from jobs.modeling.ontology import Ontology
from jobs.modeling.placing import Placed, placed
from jobs.modeling.scoring import score_file
from jobs.modeling.sources import open_source, sha256_of
from shared.bundles.aligning import Aligner, counterparts
from shared.bundles.card import Label, ModelCard
from shared.domain.errors import LabelsNotComparableError, TrainingDataError
from shared.domain.verdict import CellNote, Finding, Severity
from shared.h5ad.judge.cautions import WarningCode
from shared.h5ad.source import RangeSource
from shared.validation import needs_of

Int64s = npt.NDArray[np.int64]
_NO_LINEAGE = ""


class Truth(Protocol):
    """Cells with their labels from a file."""

    @property
    def class_n(self) -> Int64s:
        """The position of each cell's label in ``labels``."""
        ...

    @property
    def labels(self) -> tuple[Label, ...]:
        """Every label that occurs."""
        ...


@dataclass(frozen=True, slots=True)
class Labelled:
    """Cells of which only the labels are known; see ``Truth``."""

    class_n: Int64s
    labels: tuple[Label, ...]


@dataclass(frozen=True, slots=True)
class EvaluationReport:
    """Agreement of predictions with a file's labels.

    The best guess of each cell is compared, whether or not the cell is unassigned. Only ``abstained_share`` and
    ``kept_accuracy`` say what becomes of unassigned cells, by the same rule as in ``celldrop run``.

    Attributes:
        n_cells: Number of cells with a label in the file.
        labels: Agreement over cells with a label that the model knows; None if there are none.
        lineages: Agreement over cells with a lineage that the model knows; None if there are none.
        n_unknown: Number of cells with a label that the model does not know, by label in the file.
        n_left_out: Those of them with an unknown lineage too, so that they are not compared at all.
        calibration_error: Expected calibration error of the best score, over the cells of ``labels`` that have a value
            of the model's genes.
        n_without_genes: Number of cells without any value of the model's genes. They are unassigned.
        abstained_share: Share of all cells that are unassigned.
        kept_accuracy: As ``labels.accuracy``, over the cells that are not unassigned.
        unfamiliar: Number of cells that are unlike the model's training cells, by label in the file; None if the model
            cannot tell.
        warnings: The verdict's warnings about the file and the model, and whether the file trained the model.
        missing: Number of cells without a label, by the text in the label's place.
        own: The file's labels.
        cells_tp: Number of cells by the file's label (rows) and by the model's label (columns).
        counterparts: The model's label or lineage of the same meaning, of the file's labels that were aligned.
        compared_as: The model's label that each of the file's labels is compared with, of those that have one.
        lineage_as: The model's lineage likewise.
        hierarchical: Agreement in the Cell Ontology; None without an ontology, or if no label is a term of it.
        without_terms: The labels of file and model that are no terms of the ontology, each with the nearest ones.
        composition: The shares of the model's labels in the file, to which scores are corrected; None if they are not.
    """

    n_cells: int
    labels: Agreement | None
    lineages: Agreement | None
    n_unknown: Mapping[str, int]
    n_left_out: Mapping[str, int]
    calibration_error: float | None
    n_without_genes: int
    abstained_share: float
    kept_accuracy: float | None
    unfamiliar: Mapping[str, int] | None = None
    warnings: tuple[Finding, ...] = ()
    missing: Mapping[str, int] = field(default_factory=dict)
    own: tuple[str, ...] = ()
    cells_tp: Int64s = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    counterparts: Mapping[str, str] = field(default_factory=dict)
    compared_as: Mapping[str, str] = field(default_factory=dict)
    lineage_as: Mapping[str, str] = field(default_factory=dict)
    hierarchical: HierarchicalAgreement | None = None
    composition: Mapping[str, float] | None = None
    without_terms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def evaluate(  # noqa: PLR0913  # what a caller may choose, each by its name
    card: ModelCard,
    weights: Mapping[str, torch.Tensor],
    path: Path,
    labels_column: str,
    mapping: Mapping[str, str] | None = None,
    *,
    matrix: str | None = None,
    ontology: Ontology | None = None,
    composition: bool = True,
) -> EvaluationReport:
    """Annotate a labelled file and compare. Holds about 100 bytes per cell, in addition to the reader's windows.

    Args:
        labels_column: The obs column with the labels. Cells without a label are left out.
        mapping: One of the model's labels, or a lineage, for each label that is not aligned by its name.
        matrix: As the option ``matrix``; None chooses by evidence.
        ontology: Labels that are neither the model's nor in ``mapping`` are aligned by name and a few synonyms; with an
            ontology, by id and exact synonym, too.
        composition: As the option of a run: scores are corrected to the shares of the labels among all cells.

    Raises:
        InputError: The file cannot be used, with the same code as in ``celldrop run``: WRONG_SPECIES and so on.
        LabelsNotComparableError: The column does not exist, or none of its labels can be compared with the model's.
        InvalidBundleError: The weights do not fit the card.
    """
    mapping = mapping or {}
    needs = needs_of(card)
    with open_source(path) as source:
        file = judged(source, path, needs, matrix=matrix)
        labelling = _read(source, path, labels_column, {*_names(card), *mapping})
        terms = None if ontology is None else placed(card, labelling.labels, ontology, source, labels_column)
        aligned = _by_name(card, labelling.labels) if terms is None else terms.counterparts
        mapping = {**aligned, **_but_own_lineages(card, mapping, aligned)}
        labelled_n = labelling.labelled_n
        cells = Labelled(labelling.class_n[labelled_n], labelling.labels)
        if not (terms is not None and any(terms.own)) and not _knows_any(card, cells, mapping):
            raise _nothing_in_common(card, cells, labels_column, path)
        scores = score_file(card, weights, source, file.verdict, composition=composition)
    report = _in_ontology(compare(card, scores.best.take(labelled_n), cells, mapping), terms, labelling.labels)
    told = {name: meant for name, meant in aligned.items() if mapping[name] == meant}
    return replace(
        report,
        warnings=(*file.warnings, *_on_training(card, path)),
        missing=labelling.missing,
        counterparts=told,
        composition=scores.shares(card),
    )


def _in_ontology(report: EvaluationReport, terms: Placed | None, own: Sequence[Label]) -> EvaluationReport:
    if terms is None:
        return report
    return replace(report, hierarchical=terms.agreement(report.cells_tp), without_terms=terms.without_terms(own))


def _read(source: RangeSource, path: Path, column: str, known: Collection[str]) -> Labelling:
    """Read the file's labels; what is wrong with them says nothing about training here."""
    try:
        return read_labels(source, column, known=known)
    except TrainingDataError as error:
        raise LabelsNotComparableError(
            error.found, expected=error.expected, where=error.where or str(path), hint=error.hint
        ) from error


def _on_training(card: ModelCard, path: Path) -> Iterator[Finding]:
    training = card.training
    if training.digests and sha256_of(path) in training.digests:
        yield Finding(
            WarningCode.TRAINED_ON_THIS_FILE,
            Severity.WARNING,
            f"the cells of {path.name} trained {card.reference}: the figures are too good.",
            f"`celldrop models show {card.reference}` has figures of cells that were held out. Evaluate with a file of "
            "other cells, best of another study.",
            {"source": training.source},
        )
    elif training.parameters.get("aligned_with") == path.name:
        yield Finding(
            WarningCode.TRAINED_ON_THIS_FILE,
            Severity.WARNING,
            f"{card.reference} was aligned with the cells of a file of this name, {path.name}: if it is the same, the "
            "figures are too good.",
            "Evaluate with a file of other cells, best of another study.",
            {"source": path.name},
        )


def _by_name(card: ModelCard, own: Sequence[Label]) -> dict[str, str]:
    """The model's label or lineage that each label of the file means by its name."""
    names = [label.name for label in own]
    return counterparts(names, Aligner(card.labels, groups=card.tree).meanings(names))


def _but_own_lineages(card: ModelCard, mapping: Mapping[str, str], aligned: Mapping[str, str]) -> dict[str, str]:
    """A mapping without the lineages of labels that the model has: a lineage says less than the label."""
    names = {label.name for label in card.labels}
    lineage_of = {label.name: label.lineage for label in card.labels}
    own = {name: lineage_of.get(meant) for name, meant in aligned.items()}
    return {name: meant for name, meant in mapping.items() if meant in names or meant != own.get(name)}


def _nothing_in_common(card: ModelCard, cells: Truth, column: str, path: Path) -> LabelsNotComparableError:
    theirs = ", ".join(repr(label.name) for label in cells.labels[:5])
    lineages = sorted({label.lineage for label in card.labels if label.lineage})
    known = f"lineages such as {', '.join(lineages[:3])}" if lineages else "no lineages"
    return LabelsNotComparableError(
        f"{card.reference} knows no label of {column!r}: {theirs}" if theirs else f"no cell has a label in {column!r}",
        expected=f"labels such as {', '.join(label.name for label in card.labels[:5])}, or a mapping to them or to its "
        f"lineages ({card.reference} has {known})",
        where=str(path),
        hint="Give the Cell Ontology with --ontology FILE, or a mapping from the file's labels to the model's labels "
        "or lineages with --lineages FILE.",
    )


def compare(
    card: ModelCard, scores: BestScores, cells: Truth, mapping: Mapping[str, str] | None = None
) -> EvaluationReport:
    """Compare computed scores with the labels of the same cells."""
    true_t, lineage_t = _meant(card, cells.labels, mapping or {})
    true_n, lineage_n = true_t[cells.class_n], lineage_t[cells.class_n]
    right_n, labelled_n = scores.best_n == true_n, true_n >= 0
    silent_n = scores.note_n == CellNote.SILENT
    scored_n = labelled_n & ~silent_n
    kept_n = ~is_unassigned(scores.score_n, scores.note_n, card.min_score)
    lineages = _lineages(card)
    # A predicted label without a lineage counts as a wrong lineage.
    of_label = np.array([lineages.index(label.lineage or _NO_LINEAGE) for label in card.labels], np.int64)
    return EvaluationReport(
        n_cells=len(cells.class_n),
        labels=_agreement(true_n, scores.best_n, [label.name for label in card.labels]),
        lineages=_agreement(lineage_n, of_label[scores.best_n], lineages),
        n_unknown=_by_label(cells, true_n < 0),
        n_left_out=_by_label(cells, (true_n < 0) & (lineage_n < 0)),
        calibration_error=(
            calibration_error(scores.score_n[scored_n].astype(np.float64), right_n[scored_n])
            if scored_n.any()
            else None
        ),
        n_without_genes=int(silent_n.sum()),
        abstained_share=float((~kept_n).mean()) if len(cells.class_n) else 0.0,
        unfamiliar=_unfamiliar(card, scores, cells),
        own=tuple(label.name for label in cells.labels),
        cells_tp=cross_counts(cells.class_n, scores.best_n, (len(cells.labels), len(card.labels))),
        kept_accuracy=float(right_n[labelled_n & kept_n].mean()) if (labelled_n & kept_n).any() else None,
        compared_as=_called(cells.labels, true_t, [label.name for label in card.labels]),
        lineage_as=_called(cells.labels, lineage_t, lineages),
    )


def _knows_any(card: ModelCard, cells: Truth, mapping: Mapping[str, str]) -> bool:
    """Whether a model has the label or the lineage of any cell."""
    return any((place_t[cells.class_n] >= 0).any() for place_t in _meant(card, cells.labels, mapping))


def _called(own: Sequence[Label], place_t: Int64s, names: Sequence[str]) -> dict[str, str]:
    return {label.name: names[place] for label, place in zip(own, place_t.tolist(), strict=True) if place >= 0}


def _unfamiliar(card: ModelCard, scores: BestScores, cells: Truth) -> dict[str, int] | None:
    known = not np.isnan(scores.unfamiliarity_n).all()
    return _by_label(cells, is_unfamiliar(scores.unfamiliarity_n, card.familiarity)) if known else None


def _meant(card: ModelCard, own: Sequence[Label], mapping: Mapping[str, str]) -> tuple[Int64s, Int64s]:
    """The positions of each of the file's labels, and of its lineage, among the model's; -1 where it has none."""
    position_of, lineages = _names(card), _lineages(card)
    names = {label.name for label in card.labels}
    labels, coarse = [], []
    for label in own:
        meant = label.name if label.name in names else mapping.get(label.name, label.name)
        position = position_of.get(meant, -1)
        lineage = card.labels[position].lineage if position >= 0 else meant
        labels.append(position)
        coarse.append(lineages.index(lineage) if lineage in lineages else -1)
    return np.array(labels, np.int64), np.array(coarse, np.int64)


def _names(card: ModelCard) -> dict[str, int]:
    """The position of each label by its name, or else by its name in the training data."""
    submitted = [(label.submitted, place) for place, label in enumerate(card.labels) if label.submitted]
    counts = Counter(name for name, _ in submitted)
    alone = {name: place for name, place in submitted if counts[name] == 1}
    return alone | {label.name: place for place, label in enumerate(card.labels)}


def _lineages(card: ModelCard) -> list[str]:
    return sorted({label.lineage or _NO_LINEAGE for label in card.labels})


def _agreement(true_n: Int64s, predicted_n: Int64s, names: list[str]) -> Agreement | None:
    known_n = true_n >= 0
    return agreement(true_n[known_n], predicted_n[known_n], names) if known_n.any() else None


def _by_label(cells: Truth, chosen_n: npt.NDArray[np.bool_]) -> dict[str, int]:
    counts = np.bincount(cells.class_n[chosen_n], minlength=len(cells.labels)).tolist()
    return {label.name: count for label, count in zip(cells.labels, counts, strict=True) if count}
