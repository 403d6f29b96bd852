"""Imports a model that another program saved, by what the file or folder is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from jobs.modeling.adding_terms import check_has_ontology, given_terms
from jobs.modeling.cellarium import import_cellarium
from jobs.modeling.celltypist import import_celltypist
from jobs.modeling.foreign_files import Program, program_of
from jobs.modeling.ontology import read_ontology
from jobs.modeling.scanvi import import_scanvi
from jobs.modeling.scimilarity import import_scimilarity
from jobs.modeling.trees import with_terms
from jobs.modeling.unpickling import read_foreign
from shared.bundles.card import ModelCard
from shared.domain.errors import InvalidOptionError, UnsupportedModelError


@dataclass(frozen=True, slots=True)
class ImportedAs:
    """What the bundle of an imported model is to say of itself.

    Attributes:
        citation: Empty: what the model says.
        ontology: An .obo file or .json that gives the labels their Cell Ontology ids.
        terms: A table of labels and their terms, by id or name, which have precedence over names and synonyms.
        batch: The batch that new cells are treated as, for a scANVI model that depends on it.
    """

    name: str
    version: str
    licence: str = ""
    citation: str = ""
    ontology: Path | None = None
    batch: str | None = None
    terms: Path | None = None


def import_foreign(path: Path, wanted: ImportedAs) -> tuple[ModelCard, dict[str, torch.Tensor]]:
    """Read a model, and give its labels the terms that the table of ``wanted`` has for them.

    Raises:
        InvalidOptionError: The table cannot be read, or has a term that is none, or there is no ontology.
        UnsafeModelError, UnsupportedModelError: As the importers say.
    """
    check_has_ontology(wanted.ontology, wanted.terms)
    card, tensors = _imported(path, wanted)
    if wanted.terms is None or wanted.ontology is None:
        return card, tensors
    given = given_terms(card.labels, wanted.terms)
    return card.model_copy(update=with_terms(card.labels, read_ontology(wanted.ontology), given)), tensors


def _imported(path: Path, wanted: ImportedAs) -> tuple[ModelCard, dict[str, torch.Tensor]]:
    """Read a model that another program saved, without running anything in it.

    It is one of CellTypist (.pkl), scvi-tools (a folder, or its model.pt), cellarium-ml (a checkpoint, .ckpt) or
    SCimilarity (a folder, or its encoder.ckpt).

    Raises:
        UnsafeModelError, UnsupportedModelError, InvalidOptionError: As the importers say.
    """
    about: dict[str, Any] = {
        "name": wanted.name,
        "version": wanted.version,
        "licence": wanted.licence,
        "citation": wanted.citation,
        "ontology": wanted.ontology,
    }
    program = program_of(path)
    if program is Program.SCVI:
        return import_scanvi(path, **about, batch=wanted.batch)
    if wanted.batch is not None:
        hint = "Leave --batch out: it is for models of scvi-tools."
        raise InvalidOptionError("--batch for a model without batches", where=str(path), hint=hint)
    if program is Program.SCIMILARITY:
        return import_scimilarity(path, **about)
    if program is Program.LIGHTNING:
        return import_cellarium(path, read_foreign(path), **about)
    if path.is_dir():
        raise UnsupportedModelError(
            "a folder without a model that another program saved",
            expected="the folder of a model of scvi-tools (model.pt) or SCimilarity (encoder.ckpt), a CellTypist .pkl, "
            "or a checkpoint of cellarium-ml (.ckpt)",
            where=str(path),
            hint="Name the file itself, or the folder that it is in.",
        )
    return import_celltypist(path, **about)
