"""Imports checkpoints of cellarium-ml as bundles, without running the file. Labels and scores stay the same."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError

from jobs.modeling.card_names import no_name
from jobs.modeling.cellarium_chain import Pipeline, names_of, pipeline_of
from jobs.modeling.cellarium_files import Checkpoint, read_checkpoint, unsupported
from jobs.modeling.celltypist_genes import feature_table, species_of
from jobs.modeling.trees import labels_and_terms
from shared.bundles.card import MOST_LABELS, Activation, NormaliseFeatures, Training
from shared.bundles.kinds import LinearCard
from shared.faults import first_fault

LEAST_OVERLAP = 0.5
"""Least share of a model's genes that a file must have. cellarium-ml itself asks for all, unless it is told not to."""
_CODES_HINT = (
    "Set the names in the order of the codes, and save the checkpoint again: "
    "module.model.y_categories = numpy.array(NAMES); trainer.save_checkpoint(FILE)."
)


def import_cellarium(  # noqa: PLR0913  # one parameter an option
    path: Path,
    data: bytes,
    *,
    name: str,
    version: str,
    licence: str = "",
    citation: str = "",
    ontology: Path | None = None,
) -> tuple[LinearCard, dict[str, torch.Tensor]]:
    """Read a LogisticRegression with its transforms from a checkpoint. Returns the card and tensors of a linear model.

    ``cellarium.ml.models.LogisticRegression.predict`` gives ``x·W_gc + b_c``, whose softmax are the probabilities: the
    model was trained as a categorical one.

    Args:
        path: Where the bytes come from.
        data: Those of the file.
        ontology: An .obo file. Labels that match the name or an exact synonym of a term get its Cell Ontology id.

    Raises:
        UnsafeModelError: The file contains more than data.
        UnsupportedModelError: It is something else than such a checkpoint, or one that a linear model cannot be.
        InvalidOptionError: The ontology cannot be read, or the name or version is invalid.
    """
    saved = read_checkpoint(path, data)
    labels = _labels(saved)
    pipeline = pipeline_of(saved, len(labels))
    about = {
        "name": name,
        "version": version,
        "licence": licence,
        "citation": citation,
        **labels_and_terms(labels, ontology),
        "training": _training(saved),
    }
    return _card(saved, pipeline, about), _tensors(pipeline)


def _labels(saved: Checkpoint) -> tuple[str, ...]:
    model = saved.model
    if model.kind == "IncrementalPCA":
        raise unsupported(
            "an IncrementalPCA of cellarium-ml, which has no labels",
            saved.where,
            "Train a LogisticRegression with this checkpoint as a transform, or an index of labelled cells: "
            "`celldrop models train FILE --kind neighbours`.",
        )
    if model.kind != "LogisticRegression":
        raise unsupported(f"a {model.kind} of cellarium-ml", saved.where)
    found = model.settings.get("y_categories")
    if isinstance(found, np.ndarray) and found.dtype.kind in "iufb":
        codes = ", ".join(map(str, found.ravel()[:3].tolist()))
        raise unsupported(f"a LogisticRegression with codes for labels ({codes}), not names", saved.where, _CODES_HINT)
    labels = names_of(model, "y_categories", "labels", saved)
    if len(labels) < 2:
        raise unsupported(f"a LogisticRegression with the label {labels[0]!r} alone", saved.where)
    if len(labels) > MOST_LABELS:
        raise unsupported(f"{len(labels):,} labels, more than {MOST_LABELS:,}", saved.where)
    return labels


def _card(saved: Checkpoint, pipeline: Pipeline, about: Mapping[str, Any]) -> LinearCard:
    genes = pipeline.chain.names
    over = ", scaled by their own total" if isinstance(pipeline.preprocessing[0], NormaliseFeatures) else ""
    try:
        return LinearCard(
            **about,
            title=f"cellarium-ml model {Path(saved.source).stem}",
            description=f"{len(about['labels'])} cell types by {len(genes):,} genes{over}, imported from "
            f"{saved.source}.",
            species=species_of(genes),
            features=feature_table(genes),
            preprocessing=pipeline.preprocessing,
            activation=Activation.SOFTMAX,
            default_overlap=LEAST_OVERLAP,
        )
    except ValidationError as error:
        fault = first_fault(error)
        raise (
            no_name(error) if fault.place in {"name", "version"} else unsupported(fault.reason, saved.where)
        ) from error


def _tensors(pipeline: Pipeline) -> dict[str, torch.Tensor]:
    """Those of a linear model; as float32 where nothing is lost."""
    chain = pipeline.chain
    arrays = {"coef": chain.weight_ic.T, "intercept": chain.bias_c, "mean": chain.mean_i, "std": chain.std_i}
    exact = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
    return {
        name: tensor.float() if torch.equal(tensor.float().double(), tensor) else tensor
        for name, tensor in exact.items()
    }


def _training(saved: Checkpoint) -> Training:
    n_cells = saved.model.settings.get("n_obs")
    return Training(
        method="imported from cellarium-ml",
        source=saved.source,
        source_sha256=hashlib.sha256(saved.data).hexdigest(),
        n_cells=n_cells if isinstance(n_cells, int) else None,
        parameters={"steps": " → ".join(step.kind for step in saved.steps), "lightning": saved.lightning},
    )
