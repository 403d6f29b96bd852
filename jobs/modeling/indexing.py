"""Puts the labelled cells of files into the reference of a neighbours model, however many they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import torch

from jobs.engine.facts import CellFacts
from jobs.modeling.best_scores import unfamiliarity_of
from jobs.modeling.calibration import best_temperature, calibration_error, softmax
from jobs.modeling.cards import by_label, measured
from jobs.modeling.evaluation import EvaluationReport, compare
from jobs.modeling.kinds.neighbours import Coordinates
from jobs.modeling.labelled import LabelledCells, blocks_of, settled_state
from jobs.modeling.references import METHOD, Reference, origin_of, without_own
from jobs.modeling.reliability import learn
from jobs.modeling.scoring import Scores, score
from jobs.modeling.sources import open_source
from jobs.modeling.specimens import together
from jobs.modeling.splits import hold_out
from shared.bundles.card import Label, ModelCard, Training
from shared.bundles.kinds import NeighboursCard
from shared.domain.errors import TrainingDataError
from shared.domain.words import listed

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
MOST_HELD_OUT = 10_000
"""Cells that are held out at most: their values are kept in memory, and there are enough of them to measure."""
_LEAST_UNSEEN = 100


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
    """Make the labelled cells of files the reference of a model, which keeps its coordinates and k.

    The files are read block by block: only the coordinates of their cells are kept, and the values of those that are
    held out. With a reference that lacks the held-out cells, the temperature and the thresholds of reliable labels are
    learned anew, and the metrics measured; then the held-out cells are added.

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
    own = ("reference", "reference_label") if settings.keep else ()
    n_own = card.n_reference if own else 0
    reference_rc = torch.empty(n_own + len(label_m), card.n_components)
    label_r = torch.empty(len(reference_rc))
    if own:
        reference_rc[:n_own], label_r[:n_own] = tensors["reference"], tensors["reference_label"]
    # Held-out cells come last, so that the reference without them is the beginning of the whole one.
    row_m = np.where(held_m, n_own + (~held_m).sum() + np.cumsum(held_m), n_own + np.cumsum(~held_m)) - 1
    label_r[torch.from_numpy(row_m)] = torch.from_numpy(label_m.astype(np.float32))
    held: list[LabelledCells] = []
    for one, here in zip(files, _shares(files), strict=True):
        unseen = _Unseen(card, one, held_m[here])
        for start, block_bc in _coordinates(card, tensors, one, unseen):
            stop = start + len(block_bc)
            reference_rc[torch.from_numpy(row_m[here][start:stop])] = block_bc
            progress(here.start + stop, len(label_m))
        held.append(unseen.cells())
    whole = {**tensors, "reference": reference_rc, "reference_label": label_r}
    n_known = len(reference_rc) - int(held_m.sum())
    known = {**whole, "reference": reference_rc[:n_known], "reference_label": label_r[:n_known]}
    draft = _with_reference(card, label_r[:n_known])
    measured, report, error_before = _measured(draft, known, held)
    final = _with_reference(measured, label_r)
    training = _record(card, final, files, settings, report, error_before)
    return IndexedModel(final.model_copy(update={"digest": "", "training": training}), whole, report, int(held_m.sum()))


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
            hint="Add files of other cells. A model that was trained on fewer than 50,000 cells has all of them.",
        )
    place_h = place_u[hold_out(label_m[place_u], settings.held_out_share, generator)]
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


class _Unseen:
    """Keeps the values of a file's held-out cells.

    Args:
        held_m: Which of the file's labelled cells are held out.
    """

    def __init__(self, card: NeighboursCard, file: Reference, held_m: Bools) -> None:
        self._card, self._file, self._held_m = card, file, held_m
        self._parts = [sp.csr_matrix(np.zeros((0, file.matrix.n_genes), np.float32))]

    def keep(self, start: int, value_bg: sp.csr_matrix) -> None:
        """Keep those among the labelled cells from ``start`` on."""
        self._parts.append(sp.csr_matrix(value_bg[self._held_m[start : start + value_bg.shape[0]]]))

    def cells(self) -> LabelledCells:
        """The cells, with the model's labels."""
        label_m = self._file.class_n[self._file.class_n >= 0]
        return LabelledCells(
            value_ng=sp.csr_matrix(sp.vstack(self._parts, format="csr", dtype=np.float32)),
            state=settled_state(self._file.matrix),
            matrix=self._file.matrix.path,
            genes=self._file.genes,
            species=self._card.species,
            class_n=label_m[self._held_m],
            labels=self._card.labels,
        )


def _coordinates(
    card: NeighboursCard, tensors: Mapping[str, torch.Tensor], one: Reference, unseen: _Unseen
) -> Iterator[tuple[int, torch.Tensor]]:
    """The coordinates of a file's labelled cells, block by block, with the place of the first among them."""
    coordinates, start = Coordinates(one.genes, card.features, tensors), 0
    state = settled_state(one.matrix)
    with open_source(one.file.path) as source:
        for value_bg in blocks_of(source, one.matrix, one.class_n >= 0):
            unseen.keep(start, value_bg)
            yield start, coordinates.of(value_bg, state)
            start += value_bg.shape[0]


def _with_reference(card: NeighboursCard, label_r: torch.Tensor) -> NeighboursCard:
    """The card, with the number of reference cells and the shares of their labels, which the votes assume."""
    size_l = np.maximum(np.bincount(label_r.numpy().astype(np.int64), minlength=len(card.labels)), 1)
    shares = tuple((size_l / size_l.sum()).tolist())
    return card.model_copy(update={"n_reference": len(label_r), "assumed_shares": shares})


def _measured(
    card: NeighboursCard, tensors: Mapping[str, torch.Tensor], held: Sequence[LabelledCells]
) -> tuple[NeighboursCard, EvaluationReport, float]:
    """The card with temperature and thresholds; the evaluation; the calibration error without the temperature."""
    plain = card.model_copy(update={"temperature": 1.0, "reliability": ()})
    scores = _joined([score(plain, tensors, cells) for cells in held if cells.n_cells])
    truth = _Truth(np.concatenate([cells.class_n for cells in held]), card.labels)
    temperature = round(best_temperature(scores.decision_nl, truth.class_n), 4)
    right_n = scores.best.best_n == truth.class_n
    error_before = calibration_error(scores.probability_nl.max(axis=1).astype(np.float64), right_n)
    probability_nl = softmax(scores.decision_nl, temperature).astype(np.float32)
    calibrated = Scores(scores.decision_nl / np.float32(temperature), probability_nl, scores.facts)
    learned = card.model_copy(update={"temperature": temperature})
    learned = learned.model_copy(update={"reliability": learn(learned, probability_nl, truth.class_n)})
    return learned, compare(learned, calibrated.best, truth), error_before


@dataclass(frozen=True, slots=True)
class _Truth:
    """See ``jobs.modeling.evaluation.Truth``."""

    class_n: Int64s
    labels: tuple[Label, ...]


def _joined(scores: Sequence[Scores]) -> Scores:
    """The scores of all cells; of their facts, those that an evaluation reads."""
    facts = [one.facts for one in scores]
    return Scores(
        decision_nl=np.concatenate([one.decision_nl for one in scores]),
        probability_nl=np.concatenate([one.probability_nl for one in scores]),
        facts=CellFacts(
            total_n=None,
            n_genes_n=np.concatenate([one.n_genes_n for one in facts]),
            note_n=np.concatenate([one.note_n for one in facts]),
            unfamiliarity_n=np.concatenate([unfamiliarity_of(one) for one in facts]),
        ),
    )


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
    return Training(
        method=METHOD,
        source=", ".join(one.file.path.name for one in files),
        source_sha256=", ".join(one.sha256 for one in files),
        n_cells=after.n_reference,
        **together([one.specimens for one in files]).card_fields({}),
        parameters={
            "command": settings.command or None,
            **origin_of(before),
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
