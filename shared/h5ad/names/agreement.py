"""Whether a column of symbols and one of Ensembl ids name the same genes, row by row."""

from __future__ import annotations

from dataclasses import dataclass

from shared.h5ad.facts import GeneColumn
from shared.h5ad.names.gene_table import is_symbol, symbol_of
from shared.h5ad.names.tidying import bare_id, plain

_FEWEST, _MOST = 50, 1_000
"""Rows that are compared, where GENCODE has both names; spread over the whole list."""
_LEAST_AGREEING = 0.5
"""Annotations of any two years agree in nine genes of ten; lists that were shuffled or shifted in hardly one."""


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Two columns of one table that name different genes in the same rows.

    Attributes:
        columns: That of symbols, and that of ids.
        example: A symbol, the id beside it, and the symbol that GENCODE has for that id.
    """

    columns: tuple[str, str]
    example: tuple[str, str, str]
    n_compared: int
    n_agreeing: int


def compare(symbols: GeneColumn, ids: GeneColumn) -> Disagreement | None:
    """What the rows say, capitals apart; None where most agree, or too few can be compared."""
    step = max(1, len(ids.ids) // _MOST)
    rows = zip(symbols.ids[::step], ids.ids[::step], strict=True)
    known = [(name, identifier, symbol_of(bare_id(plain(identifier)))) for name, identifier in rows if name]
    pairs = [(name, identifier, meant) for name, identifier, meant in known if meant and is_symbol(name)]
    wrong = [pair for pair in pairs if pair[0].casefold() != pair[2].casefold()]
    if len(pairs) < _FEWEST or len(pairs) - len(wrong) >= _LEAST_AGREEING * len(pairs):
        return None
    return Disagreement((symbols.name, ids.name), wrong[0], len(pairs), len(pairs) - len(wrong))
