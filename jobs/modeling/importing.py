"""Imports a model that another program saved, by what the file or folder is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from jobs.modeling.celltypist import import_celltypist
from jobs.modeling.foreign_files import is_saved
from jobs.modeling.scanvi import import_scanvi
from shared.bundles.card import ModelCard
from shared.domain.errors import InvalidOptionError, UnsupportedModelError


@dataclass(frozen=True, slots=True)
class ImportedAs:
    """What the bundle of an imported model is to say of itself.

    Attributes:
        citation: Empty: what the model says.
        ontology: An .obo file or .json that gives the labels their Cell Ontology ids.
        batch: The batch that new cells are treated as, for a scANVI model that depends on it.
    """

    name: str
    version: str
    licence: str = ""
    citation: str = ""
    ontology: Path | None = None
    batch: str | None = None


def import_foreign(path: Path, wanted: ImportedAs) -> tuple[ModelCard, dict[str, torch.Tensor]]:
    """Read a model of CellTypist (.pkl) or scvi-tools (a folder, or its model.pt) without running anything in it.

    Raises:
        UnsafeModelError, UnsupportedModelError, InvalidOptionError: As the importers say.
    """
    name, version, licence, citation = wanted.name, wanted.version, wanted.licence, wanted.citation
    if is_saved(path):
        card, tensors = import_scanvi(
            path,
            name=name,
            version=version,
            licence=licence,
            citation=citation,
            ontology=wanted.ontology,
            batch=wanted.batch,
        )
        return card, tensors
    if wanted.batch is not None:
        hint = "Leave --batch out: it is for models of scvi-tools."
        raise InvalidOptionError("--batch for a model without batches", where=str(path), hint=hint)
    if path.is_dir():
        raise UnsupportedModelError(
            "a folder without a model that another program saved",
            expected="the folder of scvi-tools' model.save, with model.pt, or a CellTypist .pkl",
            where=str(path),
            hint="Name the file itself, or the folder that it is in.",
        )
    return import_celltypist(
        path, name=name, version=version, licence=licence, citation=citation, ontology=wanted.ontology
    )
