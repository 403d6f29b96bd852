"""Puts the labelled cells of files into the reference of a neighbours model, however many they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from jobs.engine.annotator import Annotator, BlockScores
from jobs.engine.facts import CellFacts
from jobs.engine.sampling import pick
from jobs.modeling.best_scores import unfamiliarity_of
from jobs.modeling.calibration import abstention_threshold, best_temperature, calibration_error, softmax
from jobs.modeling.cards import by_label, measured
from jobs.modeling.evaluation import EvaluationReport, Labelled, compare
from jobs.modeling.references import METHOD, Origin, Reference, without_own
from jobs.modeling.reliability import learn
from jobs.modeling.scoring import Scores, scores_of
from jobs.modeling.sources import open_source
from jobs.modeling.specimens import together
from jobs.modeling.splits import hold_out
from shared.bundles.card import ModelCard, Training
from shared.bundles.kinds import NeighboursCard
from shared.domain.errors import TrainingDataError
from shared.domain.geometry import Rows
from shared.domain.verdict import MatrixState
from shared.domain.words import listed
from shared.h5ad.read.projected import ProjectedBlock
from shared.h5ad.read.rows import open_matrix

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
MOST_HELD_OUT = 10_000
"""Cells that are held out at most: their values are kept in memory, and there are enough of them to measure."""
_LEAST_HELD_OUT = 100
"""With fewer, no threshold of reliable labels can be learned, and a bad model would go unnoticed."""
_LEAST_UNSEEN = 2 * _LEAST_HELD_OUT


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """How a reference is made.

    Attributes:
        keep: Whether the cells of the model's own reference stay in it.
        held_out_share: The share of each label's cells that is held out for the metrics, before they are added, too.
        command: The command that repeats this, for the card.
    """

    keep: bool = False
    held_out_share: float = 0.1
    seed: int = 0
    command: str = ""


@dataclass(frozen=True, slots=True)
class IndexedModel:
    """A neighbours model with another reference.

    Attributes:
        card: Without the digest, which ``write_bundle`` adds, and with the name and version of the model before.
        held_out: Evaluation on the held-out cells, with a reference that did not have them.
    """

    card: ModelCard
    tensors: Mapping[str, torch.Tensor]
    held_out: EvaluationReport
    n_held_out: int
    n_twice: int = 0

    @property
    def n_reference(self) -> int:
        """Number of reference cells."""
        return len(self.tensors["reference"])


def index(
    card: NeighboursCard,
    tensors: Mapping[str, torch.Tensor],
    files: Sequence[Reference],
    settings: IndexSettings,
    progress: Callable[[int, int], None],
) -> IndexedModel:
    """Make the labelled cells of files the reference of a model, which keeps its coordinates, k and familiarity.

    The files are read block by block, as in a run: only the coordinates of their cells are kept, and the values of
    those that are held out. With a reference that lacks the held-out cells, the temperature, the thresholds of reliable
    labels and that of unassigned cells are learned anew, and the metrics measured; then the held-out cells are added.

    Args:
        progress: Called with the number of cells read, and of all.

    Raises:
        TrainingDataError: A label has no cell, or too few cells have a label.
    """
    files = [without_own(card, one) for one in files] if settings.keep else files
    label_m = np.concatenate([one.class_n[one.class_n >= 0] for one in files])
    trained_m = np.concatenate([one.trained_m for one in files])
    held_m = _held_out(label_m, trained_m, settings, ", ".join(str(one.file.path) for one in files))
    _check(card, label_m, held_m, settings)
    n_own = card.n_reference if settings.keep else 0
    reference_rc = torch.empty(n_own + len(label_m), card.n_components)
    label_r = torch.empty(len(reference_rc))
    if settings.keep:
        reference_rc[:n_own], label_r[:n_own] = tensors["reference"], tensors["reference_label"]
    # Held-out cells come last, so that the reference without them is the beginning of the whole one.
    row_m = np.where(held_m, n_own + (~held_m).sum() + np.cumsum(held_m), n_own + np.cumsum(~held_m)) - 1
    label_r[torch.from_numpy(row_m)] = torch.from_numpy(label_m.astype(np.float32))
    held: list[_HeldOut] = []
    for one, here in zip(files, _shares(files), strict=True):
        held.append(_HeldOut(one, label_m[here][held_m[here]]))
        for start, stop, place_bc in _coordinates(card, tensors, one, held_m[here], held[-1]):
            reference_rc[torch.from_numpy(row_m[here][start:stop])] = place_bc.float()
            progress(here.start + stop, len(label_m))
    whole = {**tensors, "reference": reference_rc, "reference_label": label_r}
    n_known = len(reference_rc) - int(held_m.sum())
    known = {**whole, "reference": reference_rc[:n_known], "reference_label": label_r[:n_known]}
    once_h = ~_found_in(reference_rc[n_known:], reference_rc[:n_known])
    _check_once(once_h, files)
    measured_card, report, error_before = _measured(_with_reference(card, label_r[:n_known]), known, held, once_h)
    final = _with_reference(measured_card, label_r)
    training = _record(card, final, files, settings, report, error_before)
    complete = final.model_copy(update={"digest": "", "training": training})
    return IndexedModel(complete, whole, report, report.n_cells, len(once_h) - report.n_cells)


def _shares(files: Sequence[Reference]) -> list[slice]:
    """The places of each file's labelled cells among those of all."""
    ends = np.cumsum([int((one.class_n >= 0).sum()) for one in files]).tolist()
    return [slice(start, stop) for start, stop in zip([0, *ends], ends, strict=False)]


def _held_out(label_m: Int64s, trained_m: Bools, settings: IndexSettings, where: str) -> Bools:
    """Mark the cells to hold out, of those that the coordinates were not trained on.

    They are a share of each label, and not more than ``MOST_HELD_OUT``.

    Raises:
        TrainingDataError: The coordinates were trained on all of them.
    """
    place_u, generator = np.flatnonzero(~trained_m), np.random.default_rng(settings.seed)
    if len(place_u) < _LEAST_UNSEEN:
        raise TrainingDataError(
            f"{len(place_u):,} cells that the model was not trained on",
            expected=f"at least {_LEAST_UNSEEN}: those that it was trained on cannot tell how good it is",
            where=where,
            hint="Give files of other cells. A model that was just trained has these cells in its reference already: "
            "--keep adds others to them.",
        )
    share = max(settings.held_out_share, _LEAST_HELD_OUT / len(place_u))
    place_h = place_u[hold_out(label_m[place_u], share, generator)]
    held_m = np.zeros(len(label_m), bool)
    held_m[generator.permutation(place_h)[:MOST_HELD_OUT]] = True
    return held_m


def _check(card: NeighboursCard, label_m: Int64s, held_m: Bools, settings: IndexSettings) -> None:
    n_known = int((~held_m).sum()) + (card.n_reference if settings.keep else 0)
    size_l = np.bincount(label_m[~held_m], minlength=len(card.labels))
    absent = [label.name for label, size in zip(card.labels, size_l.tolist(), strict=True) if not size]
    if absent and not settings.keep:
        raise TrainingDataError(
            f"no cell of {listed(absent)}",
            expected="cells of every label of the model, as it would never give the others",
            hint="Add a file that has them, or keep the model's own reference cells with --keep.",
        )
    if n_known < card.k:
        raise TrainingDataError(
            f"{len(label_m):,} cells with a label that the model knows",
            expected=f"at least {card.k:,} reference cells, which vote together, beside those that are held out",
            hint="Add more cells.",
        )


@dataclass(slots=True)
class _HeldOut:
    """The held-out cells of a file.

    Attributes:
        class_h: Their labels.
        blocks: Their values, as a model sees them.
    """

    file: Reference
    class_h: Int64s
    blocks: list[ProjectedBlock] = field(default_factory=list)


def _annotator(card: NeighboursCard, tensors: Mapping[str, torch.Tensor], one: Reference) -> Annotator:
    counted, as_it_is = one.matrix.state is MatrixState.COUNTS, one.matrix.as_it_is
    return Annotator(card, tensors, one.feature_g, torch.device("cpu"), as_it_is=as_it_is, counted=counted)


def _coordinates(
    card: NeighboursCard, tensors: Mapping[str, torch.Tensor], one: Reference, held_m: Bools, held: _HeldOut
) -> Iterator[tuple[int, int, torch.Tensor]]:
    """The coordinates of a file's labelled cells: from which to which of them, block by block.

    Args:
        held_m: Which of the labelled cells are held out; their values are added to ``held``.
    """
    annotator = _annotator(card, tensors, one)
    rank_n = np.cumsum(one.class_n >= 0)

    def located(block: ProjectedBlock) -> tuple[ProjectedBlock, torch.Tensor]:
        return block, annotator.coordinates(block)

    with open_source(one.file.path) as source, open_matrix(source, one.matrix) as matrix:
        for block, place_nc in matrix.projected(Rows(0, one.matrix.n_cells), one.feature_g, located):
            labelled_b = np.flatnonzero(one.class_n[block.rows.start : block.rows.stop] >= 0)
            if labelled_b.size:
                stop = int(rank_n[block.rows.stop - 1])
                start = stop - len(labelled_b)
                if held_m[start:stop].any():
                    held.blocks.append(picked(block, labelled_b[held_m[start:stop]]))
                yield start, stop, place_nc[torch.from_numpy(labelled_b)]


def picked(block: ProjectedBlock, place_m: Int64s) -> ProjectedBlock:
    """Some cells of a block, by their positions in it, as a block of their own."""
    inside = pick(place_m, block.indptr, block.feature, np.iinfo(np.int32).max)
    return ProjectedBlock(
        rows=Rows(0, len(place_m)),
        indptr=inside.indptr_m,
        feature=block.feature[inside.place_z],
        value=block.value[inside.place_z],
        total_n=block.total_n[place_m],
        n_genes_n=block.n_genes_n[place_m],
        note_n=block.note_n[place_m],
    )


def _with_reference(card: NeighboursCard, label_r: torch.Tensor) -> NeighboursCard:
    """The card, with the number of reference cells and the shares of their labels, which the votes assume."""
    size_l = np.maximum(np.bincount(label_r.numpy().astype(np.int64), minlength=len(card.labels)), 1)
    shares = tuple((size_l / size_l.sum()).tolist())
    return card.model_copy(update={"n_reference": len(label_r), "assumed_shares": shares})


def _measured(
    card: NeighboursCard, tensors: Mapping[str, torch.Tensor], held: Sequence[_HeldOut], once_h: Bools
) -> tuple[NeighboursCard, EvaluationReport, float]:
    """The card with what held-out cells tell; the evaluation; the calibration error without the temperature."""
    plain = card.model_copy(update={"temperature": 1.0, "reliability": ()})
    scores = _taken(_scores(plain, tensors, held), once_h)
    truth = Labelled(np.concatenate([one.class_h for one in held])[once_h], card.labels)
    temperature = round(best_temperature(scores.decision_nl, truth.class_n), 4)
    right_n = scores.best.best_n == truth.class_n
    error_before = calibration_error(scores.probability_nl.max(axis=1).astype(np.float64), right_n)
    probability_nl = softmax(scores.decision_nl, temperature).astype(np.float32)
    learned = card.model_copy(update={"temperature": temperature})
    if card.min_score is not None:
        best_n = probability_nl.max(axis=1).astype(np.float64)
        least = abstention_threshold(best_n, Origin.of(card).max_abstained)
        learned = learned.model_copy(update={"min_score": least})
    learned = learned.model_copy(update={"reliability": learn(learned, probability_nl, truth.class_n)})
    calibrated = Scores(scores.decision_nl / np.float32(temperature), probability_nl, scores.facts)
    return learned, compare(learned, calibrated.best, truth), error_before


def _taken(scores: Scores, once_h: Bools) -> Scores:
    """Those of some cells."""
    facts = scores.facts
    unfamiliarity_n = unfamiliarity_of(facts)[once_h]
    kept = CellFacts(None, facts.n_genes_n[once_h], facts.note_n[once_h], unfamiliarity_n)
    return Scores(scores.decision_nl[once_h], scores.probability_nl[once_h], kept)


def _found_in(one_nc: torch.Tensor, other_mc: torch.Tensor) -> Bools:
    """Which rows are, to the bit, among others: copies of a cell that came in another file, or under another name."""
    odd_c = np.random.default_rng(0).integers(0, 2**63, one_nc.shape[1], np.uint64) * 2 + 1
    one_n, other_m = (
        (rows.numpy().view(np.uint32).astype(np.uint64) * odd_c).sum(axis=1) for rows in (one_nc, other_mc)
    )
    return np.isin(one_n, other_m)


def _check_once(once_h: Bools, files: Sequence[Reference]) -> None:
    if once_h.sum() < _LEAST_HELD_OUT // 2:
        raise TrainingDataError(
            f"{len(once_h) - int(once_h.sum()):,} of {len(once_h):,} held-out cells are in the reference a second time",
            expected="each cell once: a copy of a cell tells its label, however bad the model is",
            where=", ".join(str(one.file.path) for one in files),
            hint="Leave out files with the same cells, or leave out --keep.",
        )


def _scores(card: NeighboursCard, tensors: Mapping[str, torch.Tensor], held: Sequence[_HeldOut]) -> Scores:
    """The scores of all held-out cells."""
    found: list[BlockScores] = []
    for one in held:
        if one.blocks:
            annotator = _annotator(card, tensors, one.file)
            found += map(annotator.annotate, one.blocks)
    return scores_of(found)


def _record(
    before: NeighboursCard,
    after: NeighboursCard,
    files: Sequence[Reference],
    settings: IndexSettings,
    report: EvaluationReport,
    error_before: float,
) -> Training:
    """The training record: where the coordinates and the reference cells are from, and the metrics."""
    unknown: Counter[str] = sum((Counter(one.unknown) for one in files), Counter())
    origin, own = Origin.of(before), before.training
    fields = together([one.specimens for one in files]).card_fields({})
    sources, indexed = [one.file.path.name for one in files], [one.sha256 for one in files]
    if settings.keep:
        fields = {name: _both(getattr(own, name), value) for name, value in fields.items()}
        sources = [own.source, *sources]
        indexed = [*filter(None, [origin.reference_of]), *indexed]
    return Training(
        method=METHOD,
        source=", ".join(sources),
        source_sha256=", ".join(one.sha256 for one in files),
        n_cells=after.n_reference,
        **fields,
        parameters={
            "command": settings.command or None,
            **asdict(origin),
            "reference_of": ", ".join(indexed),
            "keeps_training": settings.keep and origin.keeps_training,
            "kept_cells": before.n_reference if settings.keep else 0,
            "matrix": ", ".join(dict.fromkeys(one.matrix.path for one in files)),
            "seed": settings.seed,
            "held_out_share": settings.held_out_share,
            "held_out_cells": report.n_cells,
            "unlabelled_cells": sum(sum(one.missing.values()) for one in files),
            "cells_of_unknown_labels": unknown.total(),
            "metrics_are_of": "the held-out cells, by the votes of the other reference cells",
        },
        metrics=measured(report, error_before),
        per_label=by_label(report),
    )


def _both(own: object, new: object) -> object:
    """What kept and new cells are from; how many donors they have together is not known."""
    if isinstance(own, tuple) and isinstance(new, tuple):
        return tuple(dict.fromkeys([*own, *new]))
    return None
