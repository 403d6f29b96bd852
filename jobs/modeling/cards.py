"""The model card of a trained model."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import ValidationError

from jobs.modeling.alignment import batched_types, shared_types
from jobs.modeling.card_names import no_name
from jobs.modeling.design import CLIP_MAX
from jobs.modeling.evaluation import EvaluationReport
from jobs.modeling.expression import TARGET_SUM
from jobs.modeling.kinds.recipe import Weights
from jobs.modeling.kinds.table import RECIPES
from jobs.modeling.labelled import LabelledCells
from jobs.modeling.reporting import TrainingReport
from jobs.modeling.settings import ClassWeights, TrainingSettings
from shared.bundles.card import (
    Activation,
    Features,
    Kind,
    Label,
    Log1p,
    ModelCard,
    Normalise,
    Reliability,
    Standardise,
    Training,
)
from shared.bundles.groups import Group
from shared.bundles.kinds import CARD_OF, LinearCard
from shared.domain.errors import TrainingDataError
from shared.faults import first_fault

METHOD = "celldrop models train"


def check_identity(settings: TrainingSettings) -> None:
    """Check the name and version before any training.

    Raises:
        InvalidOptionError: A card cannot have this name or version.
    """
    try:
        _card_of(settings, (Label(name="a"), Label(name="b")))
    except ValidationError as error:
        raise no_name(error) from error


def check_labels(cells: LabelledCells, settings: TrainingSettings) -> None:
    """Check the labels, their lineages and their tree before any training.

    Raises:
        TrainingDataError: A card cannot have them: two labels share a name, say.
    """
    try:
        _card_of(settings, cells.labels, settings.tree)
    except ValidationError as error:
        raise TrainingDataError(
            f"no model can have these labels: {first_fault(error).reason}",
            expected="names of labels, lineages and groups that each mean one thing",
            where=cells.source,
            hint="Give other names with --names or --lineages, or correct the labels in the data.",
        ) from error


def _card_of(settings: TrainingSettings, labels: tuple[Label, ...], tree: tuple[Group, ...] = ()) -> ModelCard:
    return LinearCard(
        name=settings.name,
        version=settings.version,
        features=Features(symbol=("any",)),
        preprocessing=(),
        labels=labels,
        activation=Activation.SOFTMAX,
        tree=tree,
        training=Training(method=METHOD),
    )


def draft_card(
    cells: LabelledCells,
    weights: Weights,
    settings: TrainingSettings,
    *,
    temperature: float = 1.0,
    min_score: float | None = None,
    reliability: tuple[Reliability, ...] = (),
) -> ModelCard:
    """A card with all fields that inference needs. The training record is added later."""
    fields: dict[str, Any] = {
        "name": settings.name,
        "version": settings.version,
        "title": settings.title,
        "description": settings.description,
        "licence": settings.licence,
        "citation": settings.citation,
        "species": cells.species,
        "features": weights.features,
        "preprocessing": (Normalise(target_sum=TARGET_SUM), Log1p(), Standardise(clip_max=CLIP_MAX)),
        "labels": cells.labels,
        "activation": Activation.SOFTMAX,
        "assumed_shares": _assumed_shares(cells, settings),
        "tree": settings.tree,
        "terms": settings.terms,
        "reliability": reliability,
        "temperature": round(temperature, 4),
        "min_score": min_score,
        "training": Training(method=METHOD),
    }
    return CARD_OF[settings.kind](**(fields | dict(weights.own)))


def _assumed_shares(cells: LabelledCells, settings: TrainingSettings) -> tuple[float, ...]:
    """The shares that the fit gives the labels: equal ones, unless every cell weighs the same or has one vote."""
    n_labels = len(cells.labels)
    size_l = np.bincount(cells.class_n, minlength=n_labels)
    each_cell = settings.kind is Kind.LINEAR and settings.class_weights is ClassWeights.NONE
    if each_cell or settings.kind is Kind.NEIGHBOURS:
        return tuple((np.maximum(size_l, 1) / np.maximum(size_l, 1).sum()).tolist())
    return (1 / n_labels,) * n_labels


def training_record(cells: LabelledCells, settings: TrainingSettings, report: TrainingReport) -> Training:
    """The training record: the origin of the weights, the settings that reproduce them, and their metrics."""
    return Training(
        method=METHOD,
        source=cells.source,
        source_sha256=cells.sha256,
        trained_at=settings.trained_at,
        n_cells=report.n_trained,
        **cells.specimens.card_fields(settings.specimens),
        parameters=_parameters(cells, settings, report),
        metrics=_metrics(report),
        per_label=by_label(report.held_out),
    )


def _parameters(
    cells: LabelledCells, settings: TrainingSettings, report: TrainingReport
) -> dict[str, str | int | float | bool | None]:
    recipe = RECIPES[settings.kind]
    return {
        "command": settings.command or None,
        "matrix": cells.matrix,
        "seed": settings.seed,
        "most_cells": settings.max_cells,
        **({"rows": cells.rows_sha256} if cells.rows_sha256 else {}),
        "genes": settings.n_genes,
        "genes_from": settings.features_source or None,
        **({"ontology": settings.ontology} if settings.ontology else {}),
        **_alignment(cells, settings),
        "min_cells_per_gene": settings.min_cells_per_gene,
        recipe.candidate: report.choice.candidate,
        f"{recipe.candidate.removesuffix('s')}s_tried": ", ".join(
            f"{one.candidate:g}" for one in report.choice.results
        ),
        "thinned_to": settings.thinned_to,
        "folds": settings.n_folds,
        "held_out_share": settings.held_out_share,
        "held_out_cells": report.n_held_out,
        "unlabelled_cells": report.n_unlabelled,
        "max_abstained": settings.max_abstained,
        "refit_on_all": settings.refit_on_all,
        **recipe.parameters(settings),
        "metrics_are_of": _METRICS_ARE_OF[settings.refit_on_all],
    }


def _alignment(cells: LabelledCells, settings: TrainingSettings) -> dict[str, str]:
    """What the model was aligned with, and the types that tell how the data differ."""
    found: dict[str, str] = {}
    if cells.batches:
        found |= {"batches": cells.batches, "batched_types": ", ".join(batched_types(cells)) or "none"}
    if (other := settings.aligned_with) is not None:
        found |= {"aligned_with": other.source, "aligned_types": ", ".join(shared_types(cells, other))}
    return found


_METRICS_ARE_OF = {
    True: "the held-out cells, by weights of the same settings that were fitted without them",
    False: "the held-out cells, by these weights",
}


def _metrics(report: TrainingReport) -> dict[str, float]:
    best = report.choice.best
    of_folds = {
        "cross_validation_accuracy": _short(best.accuracy_mean),
        "cross_validation_accuracy_sd": _short(best.accuracy_sd),
    }
    return measured(report.held_out, report.error_before) | of_folds


def measured(held_out: EvaluationReport, error_before: float) -> dict[str, float]:
    """The metrics of a card, of an evaluation on held-out cells, without those that do not apply.

    Args:
        error_before: The calibration error without the temperature.
    """
    assert held_out.labels is not None
    found = {
        "accuracy": held_out.labels.accuracy,
        "balanced_accuracy": held_out.labels.balanced_accuracy,
        "macro_f1": held_out.labels.macro_f1,
        "lineage_accuracy": held_out.lineages.accuracy if held_out.lineages else None,
        "calibration_error_before": error_before,
        "calibration_error": held_out.calibration_error,
        "abstained_share": held_out.abstained_share,
        "kept_accuracy": held_out.kept_accuracy,
    }
    return {name: _short(value) for name, value in found.items() if value is not None}


def by_label(held_out: EvaluationReport) -> dict[str, dict[str, float]]:
    """Precision, recall and number of held-out cells of each label, for a card."""
    assert held_out.labels is not None
    return {
        name: {"precision": _short(of.precision), "recall": _short(of.recall), "support": float(of.support)}
        for name, of in zip(held_out.labels.names, held_out.labels.per_label, strict=True)
    }


def _short(value: float) -> float:
    return round(value, 4)
