"""Which genes a name may mean: by today's symbols first, then previous ones, then aliases, then dates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

from shared.domain.verdict import Species
from shared.h5ad.names.dates import symbols_of
from shared.h5ad.names.gene_table import is_symbol, names_of, symbol_of, symbols
from shared.h5ad.names.previous_names import aliases, previous_symbols
from shared.h5ad.names.tidying import ENSEMBL, tidied, untidy

PREFIXES = {Species.HUMAN: ("ENSG",), Species.MOUSE: ("ENSMUSG",), Species.UNKNOWN: ("ENSG", "ENSMUSG")}
"""How the Ensembl ids of a species begin."""


class Rank(IntEnum):
    """How surely a name means a gene; the smaller, the surer."""

    CURRENT = 0
    """An Ensembl id, or the symbol of today."""
    PREVIOUS = 1
    """An official symbol of an earlier year."""
    ALIAS = 2
    """A name that was never official."""
    DATE = 3
    """What a spreadsheet made of a symbol."""


@dataclass(frozen=True, slots=True)
class Meant:
    """The genes that a name may mean, by Ensembl id."""

    rank: Rank
    ids: frozenset[str]


def load_tables() -> None:
    """Read the tables of human genes, which a process that is forked from this one has then."""
    for prefix in PREFIXES[Species.HUMAN]:
        for table in (names_of, previous_symbols, aliases):
            table(prefix)
    symbols()


def meant_by(name: str, species: Species) -> Meant | None:
    """The genes of a species that a name may mean; None for a name that no gene has or had."""
    forms = forms_of(name, species)
    ids = [form for form in forms if ENSEMBL.fullmatch(form)]
    if ids:
        return Meant(Rank.CURRENT, frozenset(ids[:1]))
    return _best(forms, species) or date_of(name, species)


def date_of(name: str, species: Species) -> Meant | None:
    """The genes whose symbol a spreadsheet may have turned into this date; None for what is no date."""
    symbols = symbols_of(name)
    found = _best([_spelled(symbol, species) for symbol in symbols], species) if symbols else None
    return Meant(Rank.DATE, found.ids) if found else None


def forms_of(name: str, species: Species) -> Sequence[str]:
    """A name as it may have been meant; nothing for that of another species."""
    if not untidy(name):
        return (name,)
    said = tidied(name)
    return () if Species.UNKNOWN not in {said.species, species} and said.species is not species else said.names


def names_for(genes: AbstractSet[str], species: Species) -> Mapping[str, Meant]:
    """Every name that may mean one of these genes, with all the genes that it may mean."""
    return _names_for(frozenset(genes), species)


@lru_cache(maxsize=4)
def _names_for(genes: frozenset[str], species: Species) -> Mapping[str, Meant]:
    """The same, kept for the next files with the same genes: all names that there are have to be looked through."""
    found = {gene: Meant(Rank.CURRENT, frozenset({gene})) for gene in genes}
    for prefix in PREFIXES[species]:
        numbers = {int(gene[-11:]) for gene in genes if gene[:-11] == prefix}
        table = names_of(prefix)
        for number in numbers if table else ():
            symbol = table.symbol.get(number) if table else None
            if symbol and table and table.number[symbol] == number:
                found[symbol] = Meant(Rank.CURRENT, frozenset({table.id_of(symbol) or ""}))
        for names in (aliases(prefix), previous_symbols(prefix)):
            said = (name for name, meant in names.items() if not numbers.isdisjoint(meant))
            found |= {name: meant for name in said if name not in found and (meant := _best([name], species))}
    return found


def is_current(name: str) -> bool:
    """Whether a name is an Ensembl id or a symbol of today; without the table of previous names."""
    return name.startswith("ENS") or is_symbol(name)


def shown_as(ensembl: str) -> str:
    """A gene's symbol of today, or its id."""
    return symbol_of(ensembl) or ensembl


def _spelled(symbol: str, species: Species) -> str:
    return symbol.capitalize() if species is Species.MOUSE else symbol


def _best(names: Sequence[str], species: Species) -> Meant | None:
    """What any of the names means most surely."""
    for rank, numbers in ((Rank.CURRENT, _today), (Rank.PREVIOUS, _before), (Rank.ALIAS, _beside)):
        ids = {
            f"{prefix}{number:011d}"
            for prefix in PREFIXES[species]
            for name in names
            for number in numbers(prefix, name)
        }
        if ids:
            return Meant(rank, frozenset(ids))
    return None


def _today(prefix: str, name: str) -> tuple[int, ...]:
    table = names_of(prefix)
    number = table.number.get(name) if table else None
    return () if number is None else (number,)


def _before(prefix: str, name: str) -> tuple[int, ...]:
    return previous_symbols(prefix).get(name, ())


def _beside(prefix: str, name: str) -> tuple[int, ...]:
    return aliases(prefix).get(name, ())
