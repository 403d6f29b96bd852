"""Which Ensembl id has which symbol, by GENCODE; read from gene_table.txt.gz when first asked."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from pathlib import Path

FILE = Path(__file__).with_name("gene_table.txt.gz")
_ID = re.compile(r"(ENS(?:[A-Z]{3,4})?G)(\d{11})")
_PREFIXES = {"ENSG", "ENSMUSG"}
_BLOCK = 3
"""Lines of one: how the ids begin, the steps between their numbers, the symbols."""


@dataclass(frozen=True, slots=True)
class SpeciesTable:
    """The genes of one species.

    Attributes:
        number: The number of the Ensembl id that each symbol means.
        symbol: The symbol of the Ensembl id with that number; several may have one.
    """

    prefix: str
    number: dict[str, int]
    symbol: dict[int, str]

    def id_of(self, symbol: str) -> str | None:
        """The Ensembl id that a symbol means."""
        number = self.number.get(symbol)
        return None if number is None else f"{self.prefix}{number:011d}"


def release() -> str:
    """What the table was made from: GENCODE, with a release for each species."""
    return _lines()[0].partition(":")[0]


def symbol_of(ensembl: str) -> str | None:
    """The symbol of an Ensembl id without version; None for one that the table does not have, or that has no name."""
    found = _ID.fullmatch(ensembl)
    names = names_of(found[1]) if found else None
    return names.symbol.get(int(found[2])) if found and names else None


def is_symbol(name: str) -> bool:
    """Whether GENCODE has a gene of that name, human or mouse."""
    return name in symbols()


def n_symbols(names: Sequence[str]) -> int:
    """How many of the names are symbols in GENCODE, human or mouse."""
    return sum(map(symbols().__contains__, names))


def is_known(name: str) -> bool:
    """Whether a name, as it stands, is a symbol in GENCODE or has the form of a gene's Ensembl id, human or mouse."""
    return name in symbols() or (name.startswith("ENS") and name.rstrip("0123456789") in _PREFIXES)


def unknown(names: Sequence[str]) -> list[int]:
    """Places of the names that are not known (``is_known``)."""
    known = symbols()
    return [place for place, name in enumerate(names) if name not in known and not is_known(name)]


@cache
def symbols() -> frozenset[str]:
    """Every name of a gene, human or mouse."""
    return frozenset(symbol for line in _lines()[_BLOCK::_BLOCK] for symbol in line.split("\t"))


@cache
def names_of(prefix: str) -> SpeciesTable | None:
    """The genes whose ids begin with ``prefix``, ``ENSG`` or ``ENSMUSG``; None for any other."""
    number: dict[str, int] = {}
    symbol: dict[int, str] = {}
    for numbers, symbols in _blocks(prefix):
        symbol |= zip(numbers, symbols, strict=True)
        number = dict(zip(symbols, numbers, strict=True)) | number  # The first block has the gene that a name means.
    return SpeciesTable(prefix, number, symbol) if number else None


def numbers_of(prefix: str, wanted: frozenset[str]) -> dict[str, int]:
    """Of a few symbols, in capitals, the numbers of their Ensembl ids; without a table of all the others."""
    found: dict[str, int] = {}
    for numbers, symbols in _blocks(prefix):
        for symbol, number in zip(map(str.upper, symbols), numbers, strict=True):
            if symbol in wanted:
                found.setdefault(symbol, number)
    return found


def _blocks(prefix: str) -> Iterator[tuple[list[int], list[str]]]:
    """The numbers of ids and the symbols of each block of a species."""
    lines = _lines()[1:]
    for start in range(0, len(lines) - _BLOCK + 1, _BLOCK):
        if lines[start] == prefix:
            yield list(accumulate(map(int, lines[start + 1].split(" ")))), lines[start + 2].split("\t")


@cache
def _lines() -> list[str]:
    return gzip.decompress(FILE.read_bytes()).decode().splitlines()
