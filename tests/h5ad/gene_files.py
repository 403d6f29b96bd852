"""Small files whose columns of var are chosen, and a model that looks for their genes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import h5py

from shared.bundles.card import Features
from shared.domain.verdict import Species, Verdict
from shared.h5ad.judge.judging import ModelNeeds, validate
from shared.h5ad.names.gene_table import names_of
from shared.h5ad.names.matching import match_genes
from shared.h5ad.read.rows import read_gene_names
from shared.h5ad.source import BytesSource
from tests.h5ad.h5ad_files import Recipe, put_frame, put_matrix, random_counts


def _known() -> tuple[list[str], list[str]]:
    """Real genes by symbol and id: some that every list has, and two hundred others."""
    table = names_of("ENSG")
    assert table is not None
    well_known = (
        "CD3D CD3E MS4A1 LYZ NKG7 GNLY ACTB GAPDH B2M MALAT1 CD14 CD19 CD68 CD74 VIM JUN FOS MYC HLA-DRA NKX2-1"
    )
    others = [symbol for symbol in sorted(table.number) if symbol.isalpha() and symbol not in well_known][::10][:230]
    symbols = [*well_known.split(), *others]
    return symbols, [table.id_of(symbol) or "" for symbol in symbols]


SYMBOLS, IDS = _known()
NEEDS = ModelNeeds(Features(symbol=tuple(SYMBOLS), ensembl=tuple(IDS)), Species.HUMAN, 0.1, reference="blood@1")

CELLS = tuple(f"c{place}" for place in range(20))


def file_of(
    index: Sequence[str],
    columns: Mapping[str, Sequence[str | bool]] | None = None,
    *,
    cells: Sequence[str] = CELLS,
) -> BytesSource:
    """A file of these cells with these genes."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        put_matrix(file, "X", random_counts(len(cells), len(index), density=0.5), Recipe())
        put_frame(file, "obs", cells)
        put_frame(file, "var", index, {name: list(values) for name, values in (columns or {}).items()})
    return BytesSource(buffer.getvalue())


def matched(source: BytesSource, needs: ModelNeeds = NEEDS) -> tuple[Verdict, list[int]]:
    """The verdict, and what a task finds: the same features, or the test fails."""
    verdict = validate(source, needs)
    assert verdict.overlap is not None
    found = match_genes(read_gene_names(source, verdict), needs.features, needs.species)
    assert len(found.matched) == verdict.overlap.n_matched
    return verdict, found.feature_of_gene


def codes(verdict: Verdict) -> set[str]:
    """The codes of all findings."""
    return {finding.code for finding in verdict.findings}
