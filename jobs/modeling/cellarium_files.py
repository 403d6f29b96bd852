"""Reads a checkpoint of cellarium-ml: the steps of its pipeline in order, their settings and their tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from jobs.modeling.foreign_files import ZIP
from jobs.modeling.unpickling import Library, PickledObject, open_archive
from shared.domain.errors import UnsupportedModelError

_KEPT = {"": ("state_dict", "hyper_parameters", "datamodule_hyper_parameters", "pytorch-lightning_version")}
"""The progress of the training is not needed, nor the state of its optimiser."""
_TRANSFORMS = {
    "filter": "Filter",
    "normalize_total": "NormalizeTotal",
    "log1p": "Log1p",
    "z_score": "ZScore",
    "divide_by_scale": "DivideByScale",
    "densify": "Densify",
    "cell_filter": "CellFilter",
}
_MODELS = {"logistic_regression": "LogisticRegression", "incremental_pca": "IncrementalPCA"}
_READERS = (
    *("AnnDataField", "densify", "keep_sparse", "to_torch_sparse_csr", "to_torch_sparse_coo", "get_categories"),
    *("categories_to_codes", "series_to_str_list", "to_float_tensor", "to_float_column"),
)
"""How cellarium-ml reads a field of an AnnData."""
_OPTIMISERS = {"adam": "Adam", "adamw": "AdamW", "sgd": "SGD", "adagrad": "Adagrad", "rmsprop": "RMSprop"}
_SCHEDULES = (
    *("LinearLR", "StepLR", "MultiStepLR", "ConstantLR", "ExponentialLR", "PolynomialLR", "LambdaLR", "OneCycleLR"),
    *("CosineAnnealingLR", "CosineAnnealingWarmRestarts", "ReduceLROnPlateau", "CyclicLR"),
)
_NUMBERS = ("float16", "bfloat16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool")
LIBRARY = Library(
    expected="a checkpoint of cellarium-ml with a LogisticRegression",
    ask_for="a checkpoint that cellarium-ml's trainer wrote, with transforms of cellarium-ml only",
    hint="Check that the download is complete and is the checkpoint (.ckpt) itself.",
    allowed=(
        ("cellarium.ml.core.module", "CellariumModule"),
        ("cellarium.ml.core.pipeline", "CellariumPipeline"),
        *((f"cellarium.ml.transforms.{module}", name) for module, name in _TRANSFORMS.items()),
        *((f"cellarium.ml.models.{module}", name) for module, name in _MODELS.items()),
        *(("cellarium.ml.utilities.data", name) for name in _READERS),
        *((f"torch.optim.{module}", name) for module, name in _OPTIMISERS.items()),
        *(("torch.optim.lr_scheduler", name) for name in _SCHEDULES),
        ("cellarium.ml.lr_schedulers.linear_lr", "LinearLR"),
        ("pyro.infer.trace_elbo", "Trace_ELBO"),
        ("torch._utils", "_rebuild_meta_tensor_no_storage"),
        ("torch", "device"),
        ("torch", "Size"),
        *(("torch", name) for name in _NUMBERS),
    ),
)
_MOST_NESTED = 8

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Step:
    """One transform of a pipeline, or its model.

    Attributes:
        kind: The name of its class.
        settings: The arguments that it was made with, and other attributes.
        tensors: Its own, by name.
    """

    kind: str
    settings: Mapping[str, Any]
    tensors: Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The contents of a checkpoint.

    Attributes:
        data: The bytes of the file.
        steps: The transforms and, last, the model. A checkpoint that is a transform is given by its own steps.
        has_totals: Whether each cell came with its total count, so that no step has to add it up.
        lightning: The version of Lightning.
    """

    data: bytes
    where: str
    source: str
    steps: tuple[Step, ...]
    has_totals: bool
    lightning: str

    @property
    def model(self) -> Step:
        """The model."""
        return self.steps[-1]


def read_checkpoint(path: Path, data: bytes) -> Checkpoint:
    """Read the checkpoint in a file's bytes.

    Raises:
        UnsafeModelError: It contains more than data.
        UnsupportedModelError: It is something else than a checkpoint of cellarium-ml, or of one of its other models.
    """
    where = str(path)
    if not data.startswith(ZIP):
        raise unsupported("a file that is not an archive of PyTorch", where, LIBRARY.hint)
    match open_archive(data, _KEPT, LIBRARY, where=where):
        case {"state_dict": dict() as state, "hyper_parameters": dict() as settings, **rest} if "model" in settings:
            steps = tuple(_steps(settings, state, where))
            keys = _keys(rest.get("datamodule_hyper_parameters"))
            version = str(rest.get("pytorch-lightning_version", ""))
            return Checkpoint(data, where, path.name, steps, "total_mrna_umis_n" in keys, version)
        case _:
            raise unsupported("a checkpoint of PyTorch Lightning that cellarium-ml did not write", where)


def unsupported(found: str, where: str, hint: str = "") -> UnsupportedModelError:
    """The error for a file that holds something else."""
    return UnsupportedModelError(
        found,
        expected=LIBRARY.expected,
        where=where,
        hint=hint or "Train a LogisticRegression with cellarium-ml, or a model with `celldrop models train`.",
    )


def _steps(settings: Mapping[str, Any], state: Mapping[str, Any], where: str) -> Iterator[Step]:
    parts = [*_parts(settings.get("cpu_transforms")), *_parts(settings.get("transforms")), settings["model"]]
    for place, part in enumerate(parts):
        yield from _flattened(part, f"pipeline.{place}.", state, where)


def _parts(transforms: object) -> Sequence[Any]:
    return transforms if isinstance(transforms, list) else ()


def _flattened(part: object, prefix: str, state: Mapping[str, Any], where: str) -> Iterator[Step]:
    """A step, or the steps of a checkpoint that is a transform."""
    if not isinstance(part, PickledObject) or prefix.count("pipeline.") > _MOST_NESTED:
        raise unsupported("a checkpoint of cellarium-ml with a step that is no transform and no model", where)
    kind = part.kind.rpartition(".")[2]
    if kind not in {"CellariumModule", "CellariumPipeline"}:
        tensors = {name.removeprefix(prefix): array for name, array in state.items() if name.startswith(prefix)}
        own = {name: np.asarray(array) for name, array in tensors.items() if isinstance(array, np.ndarray | np.generic)}
        yield Step(kind, part.attributes, own)
        return
    inside = part.attributes.get("_modules")
    for name, one in inside.items() if isinstance(inside, dict) else ():
        yield from _flattened(one, f"{prefix}{name}.", state, where)


def _keys(of_data: object) -> set[str]:
    """What cells are read with."""
    keys = of_data.get("batch_keys") if isinstance(of_data, dict) else None
    return set(keys) if isinstance(keys, dict) else set()
