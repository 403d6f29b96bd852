"""Reads what scvi-tools saved of a scANVI model: tensors, genes, labels and batches; says what else a file is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from jobs.modeling.foreign_files import SAVED, SAVED_BEFORE, ZIP, called, model_in
from jobs.modeling.unpickling import Library, open_archive, read_foreign
from shared.domain.errors import InputNotFoundError, UnsupportedModelError

_KEPT = {
    "model_state_dict": ("z_encoder.", "classifier", "embedding"),
    "attr_dict": ("registry_", "init_params_", "scvi_setup_dict_"),
}
"""The decoder is not needed, nor what was kept of each cell of the training data."""
_LIBRARY = Library(
    expected="a model saved by scvi-tools (model.pt)",
    ask_for="a model saved by scvi-tools with model.save(FOLDER), which holds tensors, text and tables only",
    hint="Check that the download is complete and is the model.pt of scvi-tools itself.",
)
_SCANVI, _SCVI = "SCANVI", "SCVI"
_SAVE_AGAIN = (
    "Load it with a current scvi-tools, and save it again: scvi.model.SCANVI.load(FOLDER, adata).save(NEW_FOLDER)."
)
_BEFOREZIP = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How torch.save began before 1.6: with a number of its own."""

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class SavedModel:
    """The checked contents of a ``model.pt``, except for the shapes of the tensors.

    Attributes:
        data: The bytes of the file.
        source: The name of the file, with that of its folder.
        title: What it is called: the name of the folder.
        tensors: Those of the encoder and the classifier, by their names in scvi-tools.
        settings: How the model was set up, as far as it was said.
        categories: The names of the labels; that of cells without a label is the last one.
        unlabelled: What cells without a label are called; None if none are.
        version: Of scvi-tools.
    """

    data: bytes
    where: str
    source: str
    title: str
    tensors: Mapping[str, Array]
    settings: Mapping[str, Any]
    genes: tuple[str, ...]
    categories: tuple[str, ...]
    unlabelled: str | None
    batches: tuple[str, ...]
    version: str
    n_cells: int | None

    @property
    def n_outputs(self) -> int:
        """The number of labels that the classifier can give."""
        last = max((name for name in self.tensors if _is_output(name)), default="")
        return len(self.tensors[last]) if last else 0

    @property
    def asks_batch(self) -> bool:
        """Whether the encoder takes the batch of a cell, and there is more than one."""
        first = self.tensors.get("z_encoder.encoder.fc_layers.Layer 0.0.weight")
        n_beside = first.shape[1] - len(self.genes) if first is not None and first.ndim == 2 else 0
        return 1 < n_beside == len(self.batches)


def read_saved(path: Path) -> SavedModel:
    """Read a scANVI model from its ``model.pt``, or from the folder that scvi-tools saved it in.

    Raises:
        UnsafeModelError: The file contains more than data.
        UnsupportedModelError: It is something else than a scANVI model of scvi-tools.
        InputNotFoundError: There is no such file.
    """
    file = _model_file(path)
    where = str(file)
    data = read_foreign(file)
    if not data.startswith(ZIP):
        raise _not_an_archive(data, where)
    match open_archive(data, _KEPT, _LIBRARY, where=where):
        case {"model_state_dict": dict() as state, "attr_dict": dict() as about, "var_names": genes}:
            return _checked(_File(data, file), state, about, genes)
        case _:
            raise unsupported("weights of PyTorch without the genes and labels that scvi-tools saves with them", where)


def unsupported(found: str, where: str, hint: str = "") -> UnsupportedModelError:
    """The error for a file that holds something else."""
    return UnsupportedModelError(
        found,
        expected="a scANVI model of scvi-tools: the folder of model.save, with model.pt",
        where=where,
        hint=hint or "Train scANVI with labels (scvi.model.SCANVI), or a model with `celldrop models train`.",
    )


def _model_file(path: Path) -> Path:
    file = model_in(path)
    if file.name.endswith(SAVED_BEFORE):
        raise _legacy(file)
    if not file.is_dir():
        return file
    found, old = sorted(path.glob(f"*{SAVED}")), sorted(path.glob(f"*{SAVED_BEFORE}"))
    if found:
        names = ", ".join(one.name for one in found[:5])
        raise unsupported(f"a folder of {len(found)} models: {names}", str(path), "Name one of the files.")
    if old:
        raise _legacy(old[0])
    raise InputNotFoundError(f"the folder has no {SAVED}", where=str(path), hint="Give the folder of model.save.")


def _legacy(file: Path) -> UnsupportedModelError:
    return unsupported(
        f"a model of scvi-tools before 0.15 ({file.name}, attr.pkl and var_names.csv)",
        str(file.parent),
        "Convert it with scvi.model.SCANVI.convert_legacy_save(FOLDER, NEW_FOLDER), and import the new folder.",
    )


def _not_an_archive(data: bytes, where: str) -> UnsupportedModelError:
    if data.startswith(_BEFOREZIP):
        return unsupported("weights in the format of PyTorch before 1.6", where, _SAVE_AGAIN)
    return unsupported("a file that is not an archive of PyTorch", where, "Check that the download is complete.")


@dataclass(frozen=True, slots=True)
class _File:
    data: bytes
    path: Path


def _checked(file: _File, state: Mapping[str, Any], about: Mapping[str, Any], genes: object) -> SavedModel:
    where = str(file.path)
    registry = about.get("registry_")
    if not isinstance(registry, dict):
        old = about.get("scvi_setup_dict_")
        version = f" {old['scvi_version']}" if isinstance(old, dict) and "scvi_version" in old else ""
        raise unsupported(f"a model of scvi-tools{version} without a registry", where, _SAVE_AGAIN)
    version = str(registry.get("scvi_version", ""))
    _check_class(str(registry.get("model_name", "")), version, where)
    if isinstance(genes, dict):
        raise unsupported("a model of several modalities (MuData)", where)
    fields = registry.get("field_registries")
    labels = _field(fields, "labels")
    categories = _texts(labels.get("categorical_mapping"), "labels", where)
    unlabelled = labels.get("unlabeled_category", registry.get("setup_args", {}).get("unlabeled_category"))
    n_cells = _field(fields, "X").get("n_obs")
    folder = file.path.resolve().parent.name
    return SavedModel(
        data=file.data,
        where=where,
        source=f"{folder}/{SAVED}" if file.path.name == SAVED else file.path.name,
        title=called(folder, file.path.name),
        tensors={name: tensor for name, tensor in state.items() if isinstance(tensor, np.ndarray)},
        settings=_settings(about.get("init_params_")),
        genes=_texts(genes, "genes", where),
        categories=categories,
        unlabelled=None if unlabelled is None else str(unlabelled),
        batches=_texts(_field(fields, "batch").get("categorical_mapping"), "batches", where),
        version=version,
        n_cells=n_cells if isinstance(n_cells, int) else None,
    )


def _check_class(name: str, version: str, where: str) -> None:
    if name == _SCVI:
        found = "an scVI model, which has no classifier of labels"
        raise unsupported(found, where, "Train scANVI on it: scvi.model.SCANVI.from_scvi_model(model, ...).")
    if name != _SCANVI:
        raise unsupported(f"a model of the class {name or 'unknown'} of scvi-tools {version}".rstrip(), where)


def _field(fields: object, name: str) -> Mapping[str, Any]:
    """What the registry says of a field of the training data; empty if nothing."""
    of_field = fields.get(name) if isinstance(fields, dict) else None
    state = of_field.get("state_registry") if isinstance(of_field, dict) else None
    return state if isinstance(state, dict) else {}


def _settings(saved: object) -> dict[str, Any]:
    """The arguments that the model was made with, those of its network too, by name."""
    match saved:
        case {"non_kwargs": dict() as plain, "kwargs": dict() as nested}:
            parts = [part for part in nested.values() if isinstance(part, dict)]
        case dict():
            plain = {name: value for name, value in saved.items() if not isinstance(value, dict)}
            parts = [value for value in saved.values() if isinstance(value, dict)]
        case _:
            return {}
    return dict(plain) | {name: value for part in parts for name, value in part.items()}


def _texts(array: object, what: str, where: str) -> tuple[str, ...]:
    if not isinstance(array, np.ndarray | list) or not all(isinstance(one, str | int | float) for one in _flat(array)):
        raise unsupported(f"a scANVI model without the names of its {what}", where)
    names = tuple(str(one) for one in _flat(array))
    if not names or len(set(names)) < len(names):
        raise unsupported(f"a scANVI model without {what}, or with {what} of the same name", where)
    return names


def _flat(array: Array | list[Any]) -> list[Any]:
    return list(array.ravel().tolist()) if isinstance(array, np.ndarray) else array


def _is_output(name: str) -> bool:
    """Whether these are the weights of the classifier's last layer: a plain one, beside the hidden layers."""
    start, end = "classifier.classifier.", ".weight"
    return name.startswith(start) and name.endswith(end) and name.removeprefix(start).count(".") == 1
