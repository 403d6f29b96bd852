"""Imports CellTypist models as bundles. Scores stay the same; the pickle is not needed any more."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import ValidationError

from jobs.modeling.card_names import no_name
from jobs.modeling.celltypist_genes import feature_table, species_of
from jobs.modeling.trees import labels_and_terms
from jobs.modeling.unpickling import PickledObject, open_pickle, read_foreign
from shared.bundles.card import Activation, Log1p, ModelCard, Normalise, Standardise, Training
from shared.bundles.kinds import LinearCard
from shared.domain.errors import UnsupportedModelError
from shared.faults import first_fault

Floats = npt.NDArray[np.floating[Any]]

GLOBALS: tuple[tuple[str, str], ...] = (
    *(("sklearn.linear_model." + module, "LogisticRegression") for module in ("_logistic", "logistic")),
    *(
        ("sklearn.linear_model." + module, "SGDClassifier")
        for module in ("_stochastic_gradient", "stochastic_gradient")
    ),
    *(("sklearn.preprocessing." + module, "StandardScaler") for module in ("_data", "data")),
    # The loss object of an SGDClassifier, before and since scikit-learn 1.6, which calls its module `_loss` alone.
    *(("sklearn.linear_model." + module, "Log") for module in ("_sgd_fast", "sgd_fast")),
    *((module, "CyHalfBinomialLoss") for module in ("sklearn._loss._loss", "_loss")),
)
"""The classes in a CellTypist model, under their module names in all versions of scikit-learn."""

_LOGISTIC_LOSSES = frozenset({"log_loss", "log"})


def import_celltypist(
    path: Path,
    *,
    name: str,
    version: str,
    licence: str = "",
    citation: str = "",
    ontology: Path | None = None,
) -> tuple[ModelCard, dict[str, torch.Tensor]]:
    """Read a CellTypist ``.pkl`` without executing it. Returns the card and the tensors of a linear model.

    A model is ``{"Model": classifier, "Scaler_": StandardScaler, "description": dict}``. CellTypist 1.7.1 scales the
    log1p expression of the shared genes with ``mean_`` and ``scale_``, clips it at 10, takes the classifier's
    ``decision_function``, and applies the sigmoid to every label. The best match is the label with the largest decision
    score (``classifier.py`` ``Classifier.celltype``, ``models.py`` ``Model.predict_labels_and_prob``). A model with two
    labels has one row of weights, with the scores ``-y`` and ``y``. Numbers keep their precision.

    Args:
        citation: Replaces the source that the model names.
        ontology: A file of the Cell Ontology. Labels that match the name or an exact synonym of a term get its id, and
            the card carries these terms and all that they are kinds of.

    Raises:
        UnsafeModelError: The pickle contains more than data.
        UnsupportedModelError: It is not a CellTypist model.
        InvalidOptionError: The ontology cannot be read, or the name or version is invalid.
    """
    data = read_foreign(path)
    model = _open(data, str(path))
    fields = {
        "name": name,
        "version": version,
        "licence": licence,
        "citation": citation or model.described("source"),
        **labels_and_terms(model.labels, ontology),
        "training": _training(model, path.name, data),
    }
    return _card(model, path, fields), {key: torch.from_numpy(array) for key, array in model.arrays.items()}


def _card(model: _Model, path: Path, fields: Mapping[str, Any]) -> ModelCard:
    try:
        return LinearCard(
            **fields,
            title=model.described("details") or f"CellTypist model {path.stem}",
            description=f"{len(model.labels)} cell types by {len(model.genes):,} genes, imported from {path.name}.",
            species=species_of(model.genes),
            features=feature_table(model.genes),
            preprocessing=(Normalise(target_sum=1e4), Log1p(), Standardise(clip_max=10.0)),
            activation=Activation.SIGMOID,
        )
    except ValidationError as error:
        fault = first_fault(error)
        raise (
            no_name(error) if fault.place in {"name", "version"} else _unsupported(fault.reason, str(path))
        ) from error


@dataclass(frozen=True, slots=True)
class _Model:
    """The checked contents of a CellTypist model.

    Attributes:
        arrays: ``coef``, ``intercept``, ``mean`` and ``std``, as in a bundle.
    """

    labels: Sequence[str]
    genes: Sequence[str]
    arrays: Mapping[str, Floats]
    description: Mapping[str, Any]
    classifier: PickledObject
    scaler: PickledObject

    def described(self, key: str) -> str:
        found = self.description.get(key)
        return str(found) if isinstance(found, str | int | float | np.generic) and found else ""


def _open(data: bytes, where: str) -> _Model:
    match open_pickle(data, GLOBALS, where=where):
        case {"Model": PickledObject() as classifier, "Scaler_": PickledObject() as scaler, **rest}:
            return _checked(classifier, scaler, rest.get("description"), where)
        case _:
            raise _unsupported("a pickle without 'Model' and 'Scaler_'", where)


def _checked(classifier: PickledObject, scaler: PickledObject, description: object, where: str) -> _Model:
    _check_loss(classifier, where)
    genes = _names(classifier, "features", where)
    labels = _names(classifier, "classes_", where)
    return _Model(
        labels=labels,
        genes=genes,
        arrays={
            **_classifier_arrays(classifier, len(labels), len(genes), where),
            **_scaler_arrays(scaler, len(genes), where),
        },
        description=description if isinstance(description, dict) else {},
        classifier=classifier,
        scaler=scaler,
    )


def _check_loss(classifier: PickledObject, where: str) -> None:
    loss = classifier.attributes.get("loss", "log_loss")
    if loss not in _LOGISTIC_LOSSES:
        raise _unsupported(f"a classifier trained with the loss {loss!r}, which gives no probabilities", where)


def _classifier_arrays(classifier: PickledObject, n_labels: int, n_genes: int, where: str) -> dict[str, Floats]:
    n_rows = 1 if n_labels == 2 else n_labels
    coef = _floats(classifier, "coef_", (n_rows, n_genes), where)
    fitted = classifier.attributes.get("fit_intercept", True)
    intercept = _floats(classifier, "intercept_", (n_rows,), where) if fitted else np.zeros(n_rows, coef.dtype)
    if n_rows == 1:
        coef, intercept = np.concatenate([-coef, coef]), np.concatenate([-intercept, intercept])
    return {"coef": coef, "intercept": intercept}


def _scaler_arrays(scaler: PickledObject, n_genes: int, where: str) -> dict[str, Floats]:
    std = _floats(scaler, "scale_", (n_genes,), where)
    centred = scaler.attributes.get("with_mean", True)
    mean = _floats(scaler, "mean_", (n_genes,), where) if centred else np.zeros(n_genes, std.dtype)
    if (std <= 0).any():
        raise _unsupported("a scaler with a standard deviation of 0 or less", where)
    return {"mean": mean, "std": std}


def _floats(owner: PickledObject, attribute: str, shape: tuple[int, ...], where: str) -> Floats:
    array = owner.attributes.get(attribute)
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f" or array.dtype.itemsize < 4:
        raise _unsupported(f"a {owner.kind.rpartition('.')[2]} without numbers in {attribute}", where)
    if array.shape != shape:
        raise _unsupported(f"{attribute} of shape {array.shape} instead of {shape}", where)
    if not np.isfinite(array).all():
        raise _unsupported(f"NaN or infinite values in {attribute}", where)
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))


def _names(owner: PickledObject, attribute: str, where: str) -> list[str]:
    array = owner.attributes.get(attribute)
    if not isinstance(array, np.ndarray) or array.ndim != 1:
        raise _unsupported(f"a {owner.kind.rpartition('.')[2]} without {attribute}", where)
    names = [str(name) for name in array.tolist()]
    if len(names) < 2 or len(set(names)) != len(names):
        raise _unsupported(f"{attribute} with fewer than two names, or with the same name twice", where)
    return names


def _training(model: _Model, source: str, data: bytes) -> Training:
    seen = np.asarray(model.scaler.attributes.get("n_samples_seen_"))
    return Training(
        method="imported from CellTypist",
        source=source,
        source_sha256=hashlib.sha256(data).hexdigest(),
        trained_at=model.described("date") or None,
        n_cells=int(seen) if seen.ndim == 0 and seen.dtype.kind in "iuf" else None,
        parameters={
            "classifier": model.classifier.kind.rpartition(".")[2],
            "scikit_learn": str(model.classifier.attributes.get("_sklearn_version") or ""),
            "model_version": model.described("version"),
            "url": model.described("url"),
        },
    )


def _unsupported(found: str, where: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        found,
        expected="a CellTypist model: a logistic classifier, a StandardScaler and a description",
        where=where,
        hint="Save the model with celltypist's Model.write, or train a bundle with `celldrop models train`.",
    )
