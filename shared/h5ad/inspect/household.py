"""Genes of which every kind of cell has plenty: where a whole transcriptome has none, genes were left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
import numpy.typing as npt

from shared.h5ad.facts import GeneColumn, Household
from shared.h5ad.names.gene_table import numbers_of
from shared.h5ad.names.known import is_gene
from shared.h5ad.names.tidying import spelling, tidied, untidy
from shared.h5ad.values.transforms import Ints
from shared.h5ad.values.weighing import Sample

GROUPS: Mapping[str, tuple[str, ...]] = {
    "ribosomal genes (RPL…, RPS…)": (
        *(f"RPL{n}" for n in (3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 18, 19, 21, 22, 24, 26, 27, 28, 29, 30, 31)),
        *(f"RPL{n}" for n in (32, 34, 35, 36, 37, 38, 39, 41, "7A", "10A", "13A", "18A", "23A", "27A", "35A", "37A")),
        *(f"RPS{n}" for n in (2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 19, 20, 21, 23, 24, 25, 26, 27, 28)),
        *("RPS29", "RPS3A", "RPS4X", "RPS15A", "RPS27A", "RPLP0", "RPLP1", "RPLP2", "RPSA"),
    ),
    "mitochondrial genes (MT-…)": tuple(
        f"MT-{name}" for name in ("ND1", "ND2", "ND3", "ND4", "ND5", "CO1", "CO2", "CO3", "ATP6", "CYB")
    ),
    "MALAT1": ("MALAT1",),
}
_SEEN, _ROWS, _KNOWN, _TRIED = 1_000, 10, 0.3, 200
"""The fewest genes and cells that a sample must have; the share of names that must be known, and how many are tried."""
_MOST_BARE = 0.5
_BEYOND_CHANCE = 2.0
"""Of a cell's values these genes have more than so many times as much as their number; of their logarithms, too."""
_ENOUGH, _FEW, _FEW_OF = 30, 10, 20
"""Of a cell of that many genes one in twenty is one of these, ten at least: in a cell of 200 genes fifty are."""


@cache
def panel() -> Mapping[str, tuple[str, str]]:
    """Group and symbol of each name that such a gene goes by: symbols in capitals, Ensembl ids of man and mouse."""
    found = {name: (group, name) for group, names in GROUPS.items() for name in names}
    for prefix in ("ENSG", "ENSMUSG"):
        for name, number in numbers_of(prefix, frozenset(found)).items():
            found[f"{prefix}{number:011d}"] = found[name]
    return found


def look(sample: Sample, columns: Sequence[GeneColumn]) -> Household | None:
    """What of these genes has a value in the sampled cells, by the column that knows most of them.

    Returns:
        None where the sample or the names tell too little.
    """
    told = sample.of_genes
    if told is None:
        return None
    kept = told.values != 0
    genes = told.genes[kept]
    seen = np.flatnonzero(np.bincount(genes))
    _, row_n, size_n = np.unique(told.rows[kept], return_inverse=True, return_counts=True)
    if len(seen) < _SEEN or len(size_n) < _ROWS:
        return None
    found = [(hits, column) for column in columns if (hits := _hits(column, seen)) is not None]
    if not found:
        return None
    hits, column = max(found, key=lambda pair: len(pair[0]))
    seen_of = {group: len({symbol for of, symbol in hits.values() if of == group}) for group in GROUPS}
    shares = tuple((group, seen_of[group] / len(names)) for group, names in GROUPS.items())
    of_panel, n_rows = np.isin(genes, list(hits)), len(size_n)
    hit_n = np.bincount(row_n[of_panel], minlength=n_rows)
    values = np.abs(told.values[kept])
    share_n = np.bincount(row_n[of_panel], values[of_panel], n_rows) / np.bincount(row_n, values, n_rows)
    by_chance = len(hits) / len(seen)
    bare = _bare(hit_n, size_n, share_n < _BEYOND_CHANCE * by_chance)
    return Household(shares, bare, _named(column) if bare >= _MOST_BARE else 0.0)


def _named(column: GeneColumn) -> float:
    """Share of these genes that the names have, whatever their values."""
    hits = _hits(column, np.arange(len(column.ids))) or {}
    return len(set(hits.values())) / sum(map(len, GROUPS.values()))


def _hits(column: GeneColumn, seen: Ints) -> Mapping[int, tuple[str, str]] | None:
    """Group and symbol of each seen gene that is one of these; None where hardly a name is known."""
    names = [column.ids[gene] for gene in seen]
    tried = names[:: max(1, len(names) // _TRIED)]
    if sum(map(is_gene, tried)) < _KNOWN * len(tried):
        return None
    known, hits = panel(), dict[int, tuple[str, str]]()
    for gene, name in zip(seen.tolist(), names, strict=True):
        forms = (name,) if name.upper() in known or not untidy(name) else tidied(name).names
        for form in map(spelling, forms):
            if form.upper() in known:
                hits[gene] = known[form.upper()]
    return hits


def _bare(hit_n: Ints, size_n: Ints, by_chance_n: npt.NDArray[np.bool_]) -> float:
    """Share of the cells, of those with enough genes, that have hardly one of these, or no more of them than chance."""
    bare_n = (hit_n < np.minimum(_FEW, size_n / _FEW_OF)) | by_chance_n
    enough = size_n >= _ENOUGH
    return float(bare_n[enough].mean()) if enough.any() else 0.0
