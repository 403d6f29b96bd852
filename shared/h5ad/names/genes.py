"""Which identifiers the genes of a file carry, and where the model's features are among them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from shared.domain.verdict import GeneIds, GeneSpace, Species
from shared.h5ad.facts import GeneColumn
from shared.h5ad.names.agreement import Disagreement, compare
from shared.h5ad.names.matching import (
    HELPS,
    FeatureTable,
    GeneNames,
    Matching,
    helps,
    map_genes,
    match_untranslated,
    with_renamed,
)
from shared.h5ad.names.orthologues import match_orthologues
from shared.h5ad.names.tidying import ENSEMBL, bare_ids, plain, tidied, untidy

__all__ = ["Found", "bare_ids", "describe_column", "find_gene_space", "map_genes"]

_VERSION = re.compile(r"ENS([A-Z]{3,4})?G\d{11}(\.\d+(_PAR_Y)?|_PAR_Y)")
_SYMBOL = re.compile(r"[A-Za-z][A-Za-z0-9]*([-._/][A-Za-z0-9]+)*")
_BARCODE = re.compile(r"[ACGTN]{8,}([-._]|$)")
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

_COMMON_SET = frozenset(_COMMON)
_MOUSE_ONLY = re.compile(r"GM\d+|\d+([A-Z]\d+)?RIK\d?")
_PREFIXES = {"": Species.HUMAN, "MUS": Species.MOUSE}


@dataclass(frozen=True, slots=True)
class Found:
    """A gene space, with the features of the model found in it.

    Attributes:
        matched: Positions of the model's features that the file has.
        matching: How they were found; empty without a model.
        foreign: A column that clearly names genes of another species than the one that is used.
        disagreement: Of the column that is used and one of the other kind, where they name different genes.
    """

    space: GeneSpace
    matched: frozenset[int]
    matching: Matching = field(default_factory=lambda: Matching([]))
    foreign: GeneSpace | None = None
    disagreement: Disagreement | None = None


def find_gene_space(
    columns: Sequence[GeneColumn],
    wanted: FeatureTable | None,
    species: Species = Species.UNKNOWN,
    *,
    orthologues: bool = False,
    imported: bool = False,
) -> Found | None:
    """The column that says best which gene is which; None when there is no column at all.

    With a model, the column in which most of its features are found by their own names, or translated where that finds
    many more; without, or where none has any, the first that looks like Ensembl ids or symbols, and else the index.

    Args:
        species: The model's.
        orthologues: Whether the genes of another species may be matched as one-to-one orthologues.
        imported: Whether another program trained the model; see ``with_renamed``.
    """
    spaces = [describe_column(column) for column in columns]
    if not spaces:
        return None
    apart = next((c for c, space in zip(columns, spaces, strict=True) if space.kind is GeneIds.ENSEMBL), None)
    spaces = [_told_apart(space, apart) for space in spaces]
    found = Found(next((space for space in spaces if _speaks(space)), spaces[0]), frozenset())
    if wanted is not None:
        names = [GeneNames(column.ids, _apart(space, apart)) for column, space in zip(columns, spaces, strict=True)]
        best = _best(spaces, names, wanted, species)
        found = best if best.matched else replace(found, matching=Matching([-1] * len(names[0].ids)))
        used = names[spaces.index(found.space)]
        if not _foreign_to(species, found.space):
            matching = with_renamed(found.matching, used, wanted, species, imported=imported)
            found = replace(found, matched=matching.matched, matching=matching)
        elif orthologues:
            found = _by_orthologues(spaces, names, wanted, species) or found
    return replace(
        found, foreign=_foreign(spaces, found.space), disagreement=_disagreement(columns, spaces, found.space)
    )


def _foreign_to(species: Species, space: GeneSpace) -> bool:
    return Species.UNKNOWN not in {species, space.species} and space.species is not species


def _by_orthologues(
    spaces: Sequence[GeneSpace], names: Sequence[GeneNames], wanted: FeatureTable, species: Species
) -> Found | None:
    """The column of another species in which most features are found as orthologues; None where there are none."""
    found = []
    for space, ids in zip(spaces, names, strict=True):
        if _foreign_to(species, space):
            matching = match_orthologues(ids, wanted, species, space.species)
            found.append(Found(replace(space, orthologues=True), matching.matched, matching))
    best = max(found, key=lambda match: len(match.matched), default=None)
    return best if best and best.matched else None


def _disagreement(columns: Sequence[GeneColumn], spaces: Sequence[GeneSpace], used: GeneSpace) -> Disagreement | None:
    """Between the column that is used and the first of the other kind."""
    wanted = GeneIds.SYMBOL if used.kind is GeneIds.ENSEMBL else GeneIds.ENSEMBL
    mine = next(column for column in columns if column.name == used.column)
    other = next((column for column, space in zip(columns, spaces, strict=True) if space.kind is wanted), None)
    if other is None or used.kind is GeneIds.UNKNOWN:
        return None
    species = {space.species for space in spaces if space.column in {mine.name, other.name}}
    if len(species - {Species.UNKNOWN}) > 1:  # Orthologues have names of their own.
        return None
    return compare(mine, other) if wanted is GeneIds.ENSEMBL else compare(other, mine)


def _apart(space: GeneSpace, apart: GeneColumn | None) -> Sequence[str]:
    return apart.ids if apart is not None and space.apart is not None else ()


def _foreign(spaces: Sequence[GeneSpace], used: GeneSpace) -> GeneSpace | None:
    known = {Species.UNKNOWN, used.species}
    return next((space for space in spaces if _speaks(space) and space.species not in known), None)


def _told_apart(space: GeneSpace, apart: GeneColumn | None) -> GeneSpace:
    return replace(space, apart=apart.name) if apart is not None and space.kind is not GeneIds.ENSEMBL else space


def _best(spaces: Sequence[GeneSpace], names: Sequence[GeneNames], wanted: FeatureTable, species: Species) -> Found:
    found = [match_untranslated(ids, wanted, species) for ids in names]
    plain = _most(spaces, [one.matching(translate=False) for one in found])
    if len(plain.matched) >= HELPS * (len(wanted.symbol) or len(wanted.ensembl)):
        return plain
    translated = _most(spaces, [one.matching(translate=True) for one in found])
    return translated if helps(len(plain.matched), len(translated.matched)) else plain


def _most(spaces: Sequence[GeneSpace], matchings: Sequence[Matching]) -> Found:
    found = [Found(space, matching.matched, matching) for space, matching in zip(spaces, matchings, strict=True)]
    return max(found, key=lambda match: len(match.matched))


def _speaks(space: GeneSpace) -> bool:
    return space.kind is GeneIds.ENSEMBL or (space.kind is GeneIds.SYMBOL and space.species is not Species.UNKNOWN)


def describe_column(column: GeneColumn) -> GeneSpace:
    """What a column holds, judged by its identifiers."""
    present = [identifier for identifier in islice(column.ids, _MOST_LOOKED_AT) if identifier]
    ids = [name for name in map(plain, present) if name]
    ensembl = [match for match in map(ENSEMBL.fullmatch, ids) if match]
    if ids and len(ensembl) >= 0.5 * len(ids):
        species = _ensembl_species([match[1] or "" for match in ensembl])
        kind = GeneIds.ENSEMBL
    else:
        species = _genome_species(present) or _symbol_species(ids)
        kind = GeneIds.SYMBOL if species is not Species.UNKNOWN or _like_symbols(ids) else GeneIds.UNKNOWN
    versioned = any(map(_VERSION.fullmatch, present))
    duplicates = n_duplicates(bare_ids(column.ids, versioned=versioned))
    return GeneSpace(column.name, kind, species, versioned, duplicates)


def n_duplicates(ids: Sequence[str]) -> int:
    """How many identifiers occur before them in the list; missing ones do not count."""
    present = [identifier for identifier in ids if identifier]
    return len(present) - len(set(present))


def species_counts(columns: Sequence[GeneColumn]) -> Mapping[Species, int]:
    """How many names of a column are of each species, for the first column that has two; else nothing.

    By Ensembl ids or the genomes before names, one in twenty at least of each; or by symbols, where well-known ones
    stand in both spellings (``CD3D`` and ``Cd3d``).
    """
    for column in columns:
        count = Counter(_species_by_form(column))
        count.pop(Species.UNKNOWN, None)
        if len(count) > 1 and min(count.values()) > 0.05 * count.total():
            return count
        present = set(column.ids)
        if sum(symbol in present and symbol.capitalize() in present for symbol in _COMMON) >= 5:
            return Counter(
                Species.HUMAN if name.isupper() else Species.MOUSE
                for name in present
                if name[1:].isupper() or name[1:].islower()
            )
    return {}


def _species_by_form(column: GeneColumn) -> Iterator[Species]:
    for name in islice(column.ids, _MOST_LOOKED_AT):
        if untidy(name) or name.startswith("ENS"):
            said = tidied(name)
            ensembl = ENSEMBL.fullmatch(said.names[0])
            yield _PREFIXES.get(ensembl[1] or "", Species.UNKNOWN) if ensembl else said.species


def _genome_species(names: Sequence[str]) -> Species | None:
    """The species of the genomes before names; None where most names have none."""
    count = Counter(tidied(name).species for name in names if untidy(name))
    count.pop(Species.UNKNOWN, 0)
    if count.total() < max(1, 0.5 * len(names)):
        return None
    species, n_most = count.most_common(1)[0]
    return species if n_most > 0.9 * count.total() else Species.UNKNOWN


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
    """Whether these could be symbols: words of letters and digits; neither barcodes nor all one word with a number."""
    words = [identifier for identifier in ids if len(identifier) <= 30 and _SYMBOL.fullmatch(identifier)]
    fitting = [word for word in words if not _BARCODE.match(word)]
    if not ids or len(fitting) < 0.8 * len(ids):
        return False
    stems = {_STEM.sub("", identifier) for identifier in fitting}
    return len(stems) > 0.1 * len(fitting) and len(stems) > 1


def n_telling(ids: Sequence[str]) -> int:
    """How many names are of genes at first sight: Ensembl ids and well-known symbols, however they are written."""
    said = [plain(name) for name in islice(ids, _MOST_LOOKED_AT)]
    return sum(name.startswith("ENS") and ENSEMBL.fullmatch(name) is not None for name in said) + len(
        {name.upper() for name in said} & _COMMON_SET
    )


def mouse_in_capitals(ids: Sequence[str]) -> list[str]:
    """Names that only mouse genes have, but for their capitals (GM1234, 0610007P14RIK); empty for a few by chance."""
    found = [name for name in ids if _MOUSE_ONLY.fullmatch(name)]
    return found if len(found) > max(10, 0.002 * len(ids)) else []
