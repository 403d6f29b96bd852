"""Recognises the gene names of a foreign model: symbols or Ensembl ids, and the species."""

from __future__ import annotations

import re
from collections.abc import Sequence

from shared.bundles.card import Features
from shared.domain.verdict import Species
from shared.h5ad.facts import GeneColumn
from shared.h5ad.names.genes import describe_column

_ENSEMBL = re.compile(r"(ENS(?:[A-Z]{3,4})?G\d{11})(\.\d+)?")


def feature_table(genes: Sequence[str]) -> Features:
    """A feature table with each name as a symbol or an Ensembl id (without version). An unused column is empty."""
    ids = [_ENSEMBL.fullmatch(gene) for gene in genes]
    symbol = tuple(None if found else gene for gene, found in zip(genes, ids, strict=True))
    ensembl = tuple(found[1] if found else None for found in ids)
    return Features(symbol=symbol if any(symbol) else (), ensembl=ensembl if any(ensembl) else ())


def species_of(genes: Sequence[str]) -> Species:
    """The species of the gene names, recognised as for a file; unknown without a clear majority."""
    return describe_column(GeneColumn("features", tuple(genes))).species
