"""Which genes of a file are of the mitochondrial genome: its 37 genes in human and mouse, by symbol or Ensembl id."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from shared.h5ad.names.gene_table import numbers_of
from shared.h5ad.names.tidying import tidied

_CODING = frozenset(
    f"MT-{name}"
    for name in (
        *("ND1", "ND2", "ND3", "ND4", "ND4L", "ND5", "ND6"),
        *("CYB", "CYTB", "CO1", "CO2", "CO3", "ATP6", "ATP8"),
    )
)
"""Symbols of the genes of proteins, in capitals. CYB is Cytb in mouse."""
_OF_RNAS = frozenset(
    f"MT-{name}"
    for name in ("RNR1", "RNR2", *(f"T{letter}" for letter in "ACDEFGHIKMNPQRTVWY"), "TL1", "TL2", "TS1", "TS2")
)
_SYMBOLS = _CODING | _OF_RNAS
_LOOKED_AT = 1000
LEAST_CODING = 10
"""With fewer of the 13 genes of proteins, such as in a file from which they were removed, a share would mean little."""


def mitochondrial(names: Sequence[str]) -> list[int]:
    """The positions of mitochondrial genes; none if too few of them are there.

    Args:
        names: A file's names of its genes, however they are decorated.
    """
    by_id = _by_id() if any("ENS" in name for name in names[:_LOOKED_AT]) else {}
    found = {place: symbol for place, name in enumerate(names) for symbol in _symbols(name, by_id)}
    coding = {symbol for symbol in found.values() if is_coding(symbol)}
    return list(found) if len(coding) >= LEAST_CODING else []


def is_coding(symbol: str) -> bool:
    """Whether the symbol of a mitochondrial gene, in capitals, is of one of the 13 of proteins."""
    return symbol in _CODING


def _symbols(name: str, by_id: Mapping[str, str]) -> Iterator[str]:
    """The mitochondrial gene that a name means, if it is one."""
    for one in tidied(name).names:
        symbol = by_id.get(one, one).upper()
        if symbol in _SYMBOLS:
            yield symbol
            return


def _by_id() -> Mapping[str, str]:
    return {
        f"{prefix}{number:011d}": symbol
        for prefix in ("ENSG", "ENSMUSG")
        for symbol, number in numbers_of(prefix, _SYMBOLS).items()
    }
