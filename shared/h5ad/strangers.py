"""Features that no annotation knows though much of the counts is theirs: antibodies, spike-ins, a virus, a sum."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shared.h5ad.facts import GeneColumn
from shared.h5ad.gene_table import is_symbol
from shared.h5ad.tidying import ENSEMBL, tidied
from shared.h5ad.transforms import LARGEST_LOG
from shared.h5ad.weighing import Sample, whole_numbers

LOUD = 0.01
"""Share of all counts from which a feature is looked at: of a gene that was renamed since it is a third of that."""


def loud_strangers(sample: Sample, columns: Sequence[GeneColumn]) -> tuple[tuple[str, float], ...]:
    """Features with a share of ``LOUD`` or more whose names, in no column, are a gene's; with the share, largest first.

    Args:
        columns: The genes' identifiers, the index first.
    """
    if sample.of_genes is None or not columns:
        return ()
    values, genes = sample.of_genes.values, sample.of_genes.genes
    if not values.size or not np.isfinite(values).all() or values.min() < 0:
        return ()
    if values.max() <= LARGEST_LOG and not whole_numbers(values).all():
        values = np.expm1(values)
    share_g = np.bincount(genes, weights=values) / values.sum()
    loud = [int(gene) for gene in np.argsort(-share_g, kind="stable")[: int(1 / LOUD)] if share_g[gene] >= LOUD]
    strange = [gene for gene in loud if not any(_is_gene(column.ids[gene]) for column in columns)]
    return tuple((columns[0].ids[gene][:60], float(share_g[gene])) for gene in strange)


def _is_gene(name: str) -> bool:
    return any(is_symbol(form) or ENSEMBL.fullmatch(form) is not None for form in tidied(name).names)
