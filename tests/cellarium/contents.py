"""The contents of checkpoints of cellarium-ml, opened and saved without the library, so that tests can change them."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch

from jobs.modeling.cellarium_files import LIBRARY
from tests.cellarium.library import MODELS

Contents = dict[str, Any]
OTHERS = (
    ("cellarium.ml.transforms.dropout", "Dropout"),
    ("cellarium.ml.models.scvi", "SingleCellVariationalInference"),
    ("lightning.fabric.utilities.data", "AttributeDict"),
)


class Library:
    """Stands in for the classes of a library, which only have attributes."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        for module, name in (*LIBRARY.allowed, *OTHERS):
            if not module.startswith("torch"):
                self._add(patch, module, name)

    def _add(self, patch: pytest.MonkeyPatch, module: str, name: str) -> None:
        bases = (dict,) if name == "AttributeDict" else (object,)
        parts = module.split(".")
        for end in range(1, len(parts) + 1):
            above = ".".join(parts[:end])
            if above not in sys.modules:
                patch.setitem(sys.modules, above, types.ModuleType(above))
        patch.setattr(sys.modules[module], name, type(name, bases, {"__module__": module}), raising=False)

    def made(self, module: str, name: str, **attributes: object) -> Any:
        """An object of a class."""
        found: Any = getattr(sys.modules[f"cellarium.ml.{module}"], name)()
        found.__dict__.update(attributes)
        return found

    def contents(self, name: str) -> Contents:
        """What the library saved in a checkpoint."""
        found: Contents = torch.load(MODELS / f"{name}.ckpt", weights_only=False)
        return found

    def saved(self, folder: Path, held: object) -> Path:
        """A checkpoint with other contents."""
        path = folder / "changed.ckpt"
        torch.save(held, path)
        return path
