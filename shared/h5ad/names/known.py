"""Whether a name is that of a gene that GENCODE knows."""

from __future__ import annotations

from shared.h5ad.names.gene_table import is_known, is_symbol
from shared.h5ad.names.tidying import ENSEMBL, spelling, tidied


def is_gene(name: str) -> bool:
    """Whether GENCODE has a gene of that name, or it is an Ensembl id, with whatever stands around it taken off."""
    if is_known(name):
        return True
    forms = tidied(name).names
    return any(map(ENSEMBL.fullmatch, forms)) or any(map(is_symbol, (*forms, spelling(name))))
