"""Features that no annotation knows though much of the counts is theirs: antibodies, spike-ins, a virus, a sum."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shared.h5ad.facts import GeneColumn, Strangers
from shared.h5ad.names.known import is_gene
from shared.h5ad.values.transforms import LARGEST_LOG
from shared.h5ad.values.weighing import Sample, whole_numbers

LOUD = 0.01
"""Share of all counts from which a feature is named: of a gene that was renamed since it is a third of that."""


def strangers_in(sample: Sample, columns: Sequence[GeneColumn]) -> Strangers:
    """Features whose names, in no column, are a gene's.

    Args:
        columns: The genes' identifiers, the index first.
    """
    told = sample.of_genes
    if told is None or not columns:
        return Strangers()
    values, genes = told.values, told.genes
    if not values.size or not np.isfinite(values).all() or values.min() < 0:
        return Strangers()
    if values.max() <= LARGEST_LOG and not whole_numbers(values).all():
        values = np.expm1(values)
    share_g = np.bincount(genes, weights=values) / values.sum()
    strange = [
        gene for gene in map(int, np.flatnonzero(share_g)) if not any(is_gene(column.ids[gene]) for column in columns)
    ]
    loud = sorted((gene for gene in strange if share_g[gene] >= LOUD), key=lambda gene: -share_g[gene])
    named = tuple((columns[0].ids[gene][:60], float(share_g[gene])) for gene in loud)
    return Strangers(named, float(share_g[strange].sum()))
