"""Which identifiers the genes of a file carry, and where the model's features are among them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from shared.domain.verdict import GeneIds, GeneSpace, Species
from shared.h5ad.facts import GeneColumn

_ENSEMBL = re.compile(r"ENS([A-Z]{3,4})?G\d{11}(\.\d+(_PAR_Y)?)?")
_VERSION = re.compile(r"\.\d+(_PAR_Y)?$")
_SYMBOL = re.compile(r"[A-Za-z][A-Za-z0-9]*([-._/][A-Za-z0-9]+)*")
_STEM = re.compile(r"[\d.]+$")
_MOST_LOOKED_AT = 100_000

_COMMON = tuple(
    re.findall(
        r"\w+",
        "ACTB GAPDH B2M MALAT1 EEF1A1 TPT1 FTL FTH1 TMSB4X TMSB10 RPLP0 RPLP1 RPS27 RPS3 RPL13 RPL10 PTPRC CD3D CD3E "
        "CD4 CD8A CD14 CD19 CD68 CD74 MS4A1 LYZ NKG7 GNLY VIM KRT18 KRT8 EPCAM COL1A1 PECAM1 CD44 CD79A JUN FOS MYC "
        "MKI67 TOP2A STMN1 HSPA8 HSP90AB1 CALM1 UBC UBB NACA PPIA CFL1 PFN1 ARPC2 SRGN LGALS1 S100A4 S100A6 S100A8 "
        "S100A9 IL7R CCR7 SELL TCF7 GATA3 FOXP3 PDCD1 CTLA4 TOX SOX2 OLIG2 GFAP SNAP25 RBFOX3 ALB APOE GCG",
    )
)
"""Symbols that human and mouse share but for their case."""

_PREFIXES = {"": Species.HUMAN, "MUS": Species.MOUSE}


class FeatureTable(Protocol):
    """A model's ordered features; either tuple may be empty. ``bundle.Features`` is one."""

    @property
    def symbol(self) -> tuple[str | None, ...]:
        """Gene symbols, None where unknown."""
        ...

    @property
    def ensembl(self) -> tuple[str | None, ...]:
        """Ensembl ids without version, None where unknown."""
        ...


@dataclass(frozen=True, slots=True)
class Found:
    """A gene space, with the features of the model found in it.

    Attributes:
        matched: Positions of the model's features that the file has.
    """

    space: GeneSpace
    matched: frozenset[int]


def find_gene_space(columns: Sequence[GeneColumn], wanted: FeatureTable | None) -> Found | None:
    """The column that says best which gene is which; None when there is no column at all.

    With a model, the column in which most of its features are found; without, or where none has any, the first that
    looks like Ensembl ids or symbols, and else the index.
    """
    spaces = [describe_column(column) for column in columns]
    if not spaces:
        return None
    if wanted is not None:
        found = [_match(column, space, wanted) for column, space in zip(columns, spaces, strict=True)]
        best = max(found, key=lambda match: len(match.matched))
        if best.matched:
            return best
    return Found(next((space for space in spaces if _speaks(space)), spaces[0]), frozenset())


def _speaks(space: GeneSpace) -> bool:
    return space.kind is GeneIds.ENSEMBL or (space.kind is GeneIds.SYMBOL and space.species is not Species.UNKNOWN)


def describe_column(column: GeneColumn) -> GeneSpace:
    """What a column holds, judged by its identifiers."""
    ids = [identifier for identifier in islice(column.ids, _MOST_LOOKED_AT) if identifier]
    ensembl = [match for match in map(_ENSEMBL.fullmatch, ids) if match]
    if ids and len(ensembl) >= 0.5 * len(ids):
        versioned = sum(match[2] is not None for match in ensembl) > 0.5 * len(ensembl)
        species = _ensembl_species([match[1] or "" for match in ensembl])
        kind = GeneIds.ENSEMBL
    else:
        versioned, species = False, _symbol_species(ids)
        kind = GeneIds.SYMBOL if species is not Species.UNKNOWN or _like_symbols(ids) else GeneIds.UNKNOWN
    duplicates = n_duplicates(bare_ids(column.ids, versioned=versioned))
    return GeneSpace(column.name, kind, species, versioned, duplicates)


def bare_ids(ids: Sequence[str], *, versioned: bool) -> list[str]:
    """Identifiers as they are compared: Ensembl ids without their version."""
    return [_VERSION.sub("", identifier) for identifier in ids] if versioned else list(ids)


def n_duplicates(ids: Sequence[str]) -> int:
    """How many identifiers occur before them in the list; missing ones do not count."""
    present = [identifier for identifier in ids if identifier]
    return len(present) - len(set(present))


def map_genes(ids: Sequence[str], features: Sequence[str | None]) -> list[int]:
    """For each gene column of the file, the position of the model's feature, or -1.

    Exact matches only. Of several columns with one identifier the first counts, as it does for users of
    ``var_names_make_unique``, which renames the later ones; a feature that the model lists twice is its first.

    Args:
        ids: Identifiers of the file's genes, bare.
        features: The model's identifiers of the same kind.
    """
    left: dict[str, int] = {}
    for position, feature in enumerate(features):
        if feature:
            left.setdefault(feature, position)
    return [left.pop(identifier, -1) if identifier else -1 for identifier in ids]


def features_of(table: FeatureTable, kind: GeneIds) -> tuple[str | None, ...]:
    """The model's identifiers of a kind; columns of no known kind are compared with symbols."""
    return table.ensembl if kind is GeneIds.ENSEMBL else table.symbol


def mixed_species(columns: Sequence[GeneColumn]) -> bool:
    """Whether a column has Ensembl ids of two species, one in twenty at least of each."""
    for column in columns:
        prefixes = Counter(match[1] or "" for match in map(_ENSEMBL.fullmatch, column.ids) if match)
        if sum(count > 0.05 * prefixes.total() for count in prefixes.values()) > 1:
            return True
    return False


def _match(column: GeneColumn, space: GeneSpace, wanted: FeatureTable) -> Found:
    ids = bare_ids(column.ids, versioned=space.versioned)
    positions = map_genes(ids, features_of(wanted, space.kind))
    return Found(space, frozenset(position for position in positions if position >= 0))


def _ensembl_species(prefixes: list[str]) -> Species:
    prefix, count = Counter(prefixes).most_common(1)[0]
    return _PREFIXES.get(prefix, Species.UNKNOWN) if count > 0.9 * len(prefixes) else Species.UNKNOWN


def _symbol_species(ids: list[str]) -> Species:
    """Human symbols are upper case (MS4A1), mouse ones capitalised (Ms4a1); well-known ones speak first."""
    present = set(ids)
    human = sum(symbol in present for symbol in _COMMON)
    mouse = sum(symbol.capitalize() in present for symbol in _COMMON)
    if max(human, mouse) >= 3:
        return _clear(human, mouse)
    if not _like_symbols(ids):
        return Species.UNKNOWN
    letters = [identifier for identifier in ids if sum(map(str.isalpha, identifier)) >= 2]
    upper = sum(identifier.isupper() for identifier in letters)
    title = sum(identifier[0].isupper() and identifier[1:].islower() for identifier in letters)
    return _clear(upper, title) if len(letters) >= 20 else Species.UNKNOWN


def _clear(human: int, mouse: int) -> Species:
    if human > 3 * mouse:
        return Species.HUMAN
    return Species.MOUSE if mouse > 3 * human else Species.UNKNOWN


def _like_symbols(ids: list[str]) -> bool:
    """Whether these could be symbols: words of letters and digits, and not all of them one word with a number."""
    fitting = [identifier for identifier in ids if _SYMBOL.fullmatch(identifier) and len(identifier) <= 30]
    if not ids or len(fitting) < 0.8 * len(ids):
        return False
    stems = {_STEM.sub("", identifier) for identifier in fitting}
    return len(stems) > 0.1 * len(fitting) and len(stems) > 1
