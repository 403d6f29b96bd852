"""Finds the features of a model among the genes of cells in memory, as a run finds them in a file."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from shared.bundles.card import Features
from shared.domain.verdict import Species
from shared.h5ad.facts import GeneColumn
from shared.h5ad.names.genes import find_gene_space
from shared.h5ad.names.sides import FeatureTable, GeneNames
from shared.h5ad.read.rows import ModelGenes, features_among

Columns = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class GeneList:
    """Genes that are looked for, where there is no model yet."""

    features: FeatureTable
    species: Species
    watched: FeatureTable | None = None
    is_imported: bool = False


def places_of_genes(genes: Features, model: ModelGenes) -> Columns:
    """For each gene the position of its feature in a model, or -1; int32, not to be written to.

    Genes that share a feature are one gene, whose values are summed, as in a run.
    """
    return _places(genes, model.features, model.species, model.watched, is_imported=model.is_imported)


@lru_cache(maxsize=2)
def _places(
    genes: Features, features: FeatureTable, species: Species, watched: FeatureTable | None, *, is_imported: bool
) -> Columns:
    """The same, kept for the other candidates of a fold, which have the same features."""
    place_g = _found(genes, GeneList(features, species, watched, is_imported))
    place_g.setflags(write=False)
    return place_g


def _found(genes: Features, model: ModelGenes) -> Columns:
    listed = (("symbol", genes.symbol), ("ensembl", genes.ensembl))
    columns = [GeneColumn(name, tuple(one or "" for one in ids)) for name, ids in listed if ids]
    found = find_gene_space(columns, model.features, model.species, imported=model.is_imported)
    if found is None:
        return np.full(len(genes), -1, np.int32)
    ids = {column.name: column.ids for column in columns}
    return features_among(GeneNames(ids[found.space.column], ids.get(found.space.apart or "", ())), model)


def first_places(place_g: Columns) -> Columns:
    """The same, but of several genes with one feature only the first has it."""
    _, first = np.unique(place_g, return_index=True)
    return np.where(np.isin(np.arange(len(place_g)), first), place_g, np.int32(-1))


def n_found(genes: Features, model: ModelGenes) -> int:
    """The number of features that are among genes."""
    return int((first_places(places_of_genes(genes, model)) >= 0).sum())
