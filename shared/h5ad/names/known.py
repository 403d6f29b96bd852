"""Whether a name is that of a gene that GENCODE knows."""

from __future__ import annotations

from shared.h5ad.names.gene_table import is_symbol
from shared.h5ad.names.tidying import ENSEMBL, spelling, tidied


def is_gene(name: str) -> bool:
    """Whether GENCODE has a gene of that name, or it is an Ensembl id, with whatever stands around it taken off."""
    forms = tidied(name).names
    if any(map(ENSEMBL.fullmatch, forms)):  # Asked first: the table of symbols takes a moment to load.
        return True
    return any(map(is_symbol, (name, *forms, spelling(name))))
