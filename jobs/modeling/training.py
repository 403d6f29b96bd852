"""Trains a model of any kind: cross-validation, calibration, metrics on held-out cells, and the final weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from jobs.modeling.calibration import abstention_threshold, best_temperature, calibration_error, softmax
from jobs.modeling.cards import check_identity, check_labels, draft_card, training_record
from jobs.modeling.evaluation import EvaluationReport, compare
from jobs.modeling.familiarity import learn_familiarity
from jobs.modeling.kinds.recipe import Weights
from jobs.modeling.kinds.table import RECIPES
from jobs.modeling.labelled import LabelledCells
from jobs.modeling.reliability import learn
from jobs.modeling.reporting import CandidateResult, Choice, Progress, Reporter, TrainingReport
from jobs.modeling.scoring import score
from jobs.modeling.settings import TrainingSettings
from jobs.modeling.splits import at_most, folds, hold_out
from jobs.modeling.trainable import check_trainable, settings_for
from shared.bundles.card import ModelCard, Reliability

Int64s = npt.NDArray[np.int64]
Float32s = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A trained model, ready to be written as a bundle.

    Attributes:
        card: Without the digest, which ``write_bundle`` adds.
        tensors: The tensors of its kind, and those of ``jobs.engine.familiarity``, float32.
    """

    card: ModelCard
    tensors: Mapping[str, torch.Tensor]
    report: TrainingReport


def train(cells: LabelledCells, settings: TrainingSettings, progress: Callable[[Progress], None]) -> TrainedModel:
    """Train a model on counts, or on log1p of counts per 10,000 if there are none.

    A share of each label's cells is held out. Cross-validation over the other cells chooses the kind's candidate (such
    as a ridge penalty), the temperature and the threshold. Weights fitted to these cells are evaluated on the held-out
    cells. They are also the final weights, unless ``settings.refit_on_all`` asks for a fit to all cells.

    Raises:
        TrainingDataError: There are too few cells or labels, no card can have the labels, or no gene separates them.
        InvalidOptionError: A card cannot have this name or version.
    """
    check_identity(settings)
    check_trainable(cells, settings)
    check_labels(cells, settings)
    settings = settings_for(cells, settings)
    generator = np.random.default_rng(settings.seed)
    cells = cells.take(at_most(cells.class_n, settings.max_cells, generator))
    held_n = hold_out(cells.class_n, settings.held_out_share, generator)
    known, unseen = cells.take(~held_n), cells.take(held_n)
    reporter = Reporter(progress, _steps(settings) * (settings.n_folds + 1 + settings.refit_on_all))
    choice = _choose(known, settings, reporter, generator)
    reporter.begin("without the held-out cells", _steps(settings))
    weights = _fit(known, settings, choice, reporter)
    held_out, error_before, reliability = _measure(unseen, weights, settings, choice)
    if settings.refit_on_all:
        reporter.begin("all cells", _steps(settings))
        weights = _fit(cells, settings, choice, reporter)
    reporter.finish()
    report = TrainingReport(
        choice=choice,
        held_out=held_out,
        error_before=error_before,
        n_trained=cells.n_cells if settings.refit_on_all else known.n_cells,
        n_held_out=unseen.n_cells,
        n_unlabelled=cells.n_unlabelled,
    )
    learned = learn_familiarity(known, unseen, weights.features, settings.false_alarm)
    if learned is not None:
        own = {**weights.own, "familiarity": learned.familiarity}
        weights = replace(weights, tensors={**weights.tensors, **learned.tensors}, own=own)
    card = draft_card(
        cells,
        weights,
        settings,
        temperature=choice.temperature,
        min_score=choice.min_score,
        reliability=reliability,
    )
    record = training_record(cells, settings, report)
    return TrainedModel(card.model_copy(update={"training": record}), weights.tensors, report)


def _steps(settings: TrainingSettings) -> int:
    return RECIPES[settings.kind].steps(settings)


# --- Cross-validation ---------------------------------------------------------------------------------------------


def _choose(
    known: LabelledCells, settings: TrainingSettings, reporter: Reporter, generator: np.random.Generator
) -> Choice:
    fold_n = folds(known.class_n, settings.n_folds, generator)
    decision_nl = _out_of_fold(known, fold_n, settings, reporter)
    results = tuple(
        _result(candidate, decisions_nl.argmax(axis=1) == known.class_n, fold_n)
        for candidate, decisions_nl in decision_nl.items()
    )
    # Of equally good candidates, max returns the first, which is the simplest model.
    best = max(results, key=lambda result: result.accuracy_mean).candidate
    temperature = best_temperature(decision_nl[best], known.class_n)
    score_n = softmax(decision_nl[best], temperature).max(axis=1)
    return Choice(best, results, temperature, abstention_threshold(score_n, settings.max_abstained))


def _out_of_fold(
    known: LabelledCells, fold_n: Int64s, settings: TrainingSettings, reporter: Reporter
) -> dict[float, Float32s]:
    """For each candidate, the decision scores of each cell by weights that were fitted without its fold."""
    recipe = RECIPES[settings.kind]
    candidates = recipe.candidates(settings)
    shape = (known.n_cells, len(known.labels))
    decision_nl = {candidate: np.zeros(shape, np.float32) for candidate in candidates}
    for fold in range(settings.n_folds):
        reporter.begin(f"fold {fold + 1} of {settings.n_folds}", _steps(settings))
        outside, inside_n = known.take(fold_n != fold), fold_n == fold
        inside = known.take(inside_n)
        for candidate, weights in recipe.learn(outside, settings, candidates, reporter.step):
            card = draft_card(known, weights, settings)
            decision_nl[candidate][inside_n] = score(card, weights.tensors, inside).decision_nl
    return decision_nl


def _result(candidate: float, right_n: npt.NDArray[np.bool_], fold_n: Int64s) -> CandidateResult:
    accuracies = [float(right_n[fold_n == fold].mean()) for fold in np.unique(fold_n)]
    return CandidateResult(candidate, float(np.mean(accuracies)), float(np.std(accuracies, ddof=1)))


# --- Weights ------------------------------------------------------------------------------------------------------


def _fit(cells: LabelledCells, settings: TrainingSettings, choice: Choice, reporter: Reporter) -> Weights:
    """Fit the chosen candidate, as in cross-validation."""
    recipe = RECIPES[settings.kind]
    *_, (_, weights) = recipe.learn(cells, settings, recipe.path(settings, choice.candidate), reporter.step)
    return weights


def _measure(
    unseen: LabelledCells, weights: Weights, settings: TrainingSettings, choice: Choice
) -> tuple[EvaluationReport, float, tuple[Reliability, ...]]:
    """Evaluate weights on unseen cells.

    Returns:
        The report, the calibration error without the temperature, and the thresholds of reliable labels.
    """
    card = draft_card(unseen, weights, settings, temperature=choice.temperature, min_score=choice.min_score)
    scores = score(card, weights.tensors, unseen)
    raw_n = softmax(scores.decision_nl * card.temperature).max(axis=1)
    error = calibration_error(raw_n, scores.best.best_n == unseen.class_n)
    reliability = learn(card, scores.probability_nl, unseen.class_n)
    return compare(card, scores.best, unseen), error, reliability
