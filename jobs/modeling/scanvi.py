"""Imports scANVI models of scvi-tools as bundles, without running the file. Labels and scores stay the same."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from jobs.modeling.card_names import no_name
from jobs.modeling.celltypist_genes import feature_table, species_of
from jobs.modeling.scanvi_files import SavedModel, read_saved, unsupported
from jobs.modeling.scanvi_layers import Network, check_parts, network_of
from jobs.modeling.trees import labels_and_terms
from shared.bundles.card import Log1p, Training
from shared.bundles.kinds import NeuralCard
from shared.domain.errors import InvalidOptionError
from shared.domain.words import listed
from shared.faults import first_fault

LEAST_OVERLAP = 0.5
"""Least share of a model's genes that a file must have. A missing gene counts as not expressed, in every cell."""


def import_scanvi(  # noqa: PLR0913  # one parameter an option
    path: Path,
    *,
    name: str,
    version: str,
    licence: str = "",
    citation: str = "",
    ontology: Path | None = None,
    batch: str | None = None,
) -> tuple[NeuralCard, dict[str, torch.Tensor]]:
    """Read a scANVI model that ``model.save`` of scvi-tools wrote. Returns the card and the tensors of a neural model.

    Args:
        path: The ``model.pt``, or the folder that holds it.
        ontology: An .obo file. Labels that match the name or an exact synonym of a term get its Cell Ontology id.
        batch: The batch of the training data that new cells are treated as; for a model whose encoder depends on it.

    Raises:
        UnsafeModelError: The file contains more than data.
        UnsupportedModelError: It is not a scANVI model, or one with parts that a bundle cannot have.
        InvalidOptionError: The ontology cannot be read, the name or version is invalid, or the batch is missing or
            not one of the model's.
    """
    saved = read_saved(path)
    check_parts(saved)
    labels = _labels(saved)
    assumed = _assumed_batch(saved, batch)
    network = network_of(saved, len(labels), None if assumed is None else saved.batches.index(assumed))
    about = {
        "name": name,
        "version": version,
        "licence": licence,
        "citation": citation,
        **labels_and_terms(labels, ontology),
        "training": _training(saved),
    }
    return _card(saved, network, assumed, about), dict(network.tensors)


def _card(saved: SavedModel, network: Network, batch: str | None, about: Mapping[str, Any]) -> NeuralCard:
    assumed = "" if batch is None else f", and treats every cell as one of the batch {batch!r}"
    try:
        return NeuralCard(
            **about,
            **network.sizes,
            title=f"scANVI model {saved.title}",
            description=f"{len(about['labels'])} cell types by {len(saved.genes):,} genes, imported from "
            f"{saved.source}. It computes from counts{assumed}.",
            species=species_of(saved.genes),
            features=feature_table(saved.genes),
            preprocessing=(Log1p(),) if network.log1p else (),
            default_overlap=LEAST_OVERLAP,
            batch=batch,
        )
    except ValidationError as error:
        fault = first_fault(error)
        raise (
            no_name(error) if fault.place in {"name", "version"} else unsupported(fault.reason, saved.where)
        ) from error


def _labels(saved: SavedModel) -> tuple[str, ...]:
    """The labels that the classifier can give: all but the category of cells without a label, which is the last."""
    n_labels = saved.n_outputs
    given, beyond = saved.categories[:n_labels], saved.categories[n_labels:]
    if len(given) < n_labels or any(label != saved.unlabelled for label in beyond) or saved.unlabelled in given:
        found = f"a classifier of {n_labels:,} labels and {len(saved.categories):,} names of labels"
        raise unsupported(found, saved.where)
    return given


def _assumed_batch(saved: SavedModel, batch: str | None) -> str | None:
    if not saved.asks_batch:
        if batch is None:
            return None
        raise InvalidOptionError(
            "this model gives a cell the same labels whatever its batch",
            expected="no --batch",
            where=saved.where,
            hint="Leave --batch out. It is for models that were trained with encode_covariates=True.",
        )
    if batch in saved.batches:
        return batch
    names = listed(saved.batches, 10)
    raise InvalidOptionError(
        "the labels depend on the batch of a cell, and new cells are of none that the model knows"
        if batch is None
        else f"the model knows no batch {batch!r}",
        expected=f"--batch with one of {names}",
        where=saved.where,
        hint="Name the batch of the training data that is most like the cells to annotate: they are treated as cells "
        "of it. The bundle says so.",
    )


def _training(saved: SavedModel) -> Training:
    return Training(
        method="imported from scANVI",
        source=saved.source,
        source_sha256=hashlib.sha256(saved.data).hexdigest(),
        n_cells=saved.n_cells,
        parameters={
            "scvi_tools": saved.version,
            "batches": len(saved.batches),
            "unlabelled_category": saved.unlabelled,
        },
    )
