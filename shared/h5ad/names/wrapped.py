"""Names that have a gene's name in them, at the same place in every name: ``CD3D|NM_000732``, ``HGNC:CD3D``.

The common forms are known to ``tidying``. Any other is learned here from the column alone: the names are divided at
the signs that all of them have, and the part is read in which most names are genes of GENCODE. It is a pure function of
the names, so ingest and every task come to the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from shared.h5ad.names.known import is_gene

_SIGNS = "|;,:=/_ \t()[]{}#~^$@-."
_WITHIN = "-."
"""Signs that genes' names have, too: only the first or the last one in a name divides it."""
_STRIPPED = " \t()[]{}\"'"
_MOST_LOOKED_AT, _MOST_FIELDS, _LONGEST = 500, 12, 300
_NEARLY_ALL = 0.9
"""Share of the names that must have a sign."""
_KNOWN, _ALREADY = 0.3, 0.1
"""Shares that must be genes: of the parts at least so many, where two thirds of any whole annotation are; of the names
as they stand no more."""
_TAG = re.compile(r"[ACGTN]{12,}", re.IGNORECASE)
"""A sequence, in what is left over: such names are guides or barcodes."""

Part = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Unwrapped:
    """Names of genes, one for each name of a column.

    Attributes:
        example: One of the names as it stood, and the part that is read; None if they are read as they stand.
    """

    ids: tuple[str, ...]
    example: tuple[str, str] | None = None


def unwrapped(ids: Sequence[str]) -> Unwrapped:
    """Read the names of genes out of longer ones; a column of anything else stays as it is."""
    spread = ids[:: max(1, len(ids) // _MOST_LOOKED_AT)]
    some = [name for name in spread if name and len(name) <= _LONGEST]
    part = _telling_part(some)
    if part is None:
        return Unwrapped(tuple(ids))
    example = next(name for name in some if is_gene(part(name)))
    return Unwrapped(tuple(part(name) if len(name) <= _LONGEST else name for name in ids), (example, part(example)))


def _telling_part(names: Sequence[str]) -> Part | None:
    """The part of each name that is a gene; None where the names are genes as they stand, or no part is."""
    parts = list(_parts(names)) if names else []
    if not parts or sum(map(is_gene, names)) > _ALREADY * len(names):
        return None
    found = [{part(name) for name in names} for part in parts]
    n_known = [sum(map(is_gene, texts)) for texts in found]
    best = max(range(len(parts)), key=n_known.__getitem__)
    if n_known[best] < max(3.0, _KNOWN * len(found[best])):
        return None
    part = parts[best]
    n_tags = sum(_TAG.search(name.replace(part(name), " ", 1)) is not None for name in names)
    return None if n_tags > 0.5 * len(names) else part


def _parts(names: Sequence[str]) -> Iterator[Part]:
    """Every way to divide the names; those that keep most of a name first."""
    for sign in _SIGNS:
        if sum(sign in name for name in names) < _NEARLY_ALL * len(names):
            continue
        yield partial(_behind_first, sign)
        yield partial(_before_last, sign)
        if sign not in _WITHIN:
            n_fields = max(name.count(sign) for name in names) + 1
            yield from (partial(_field, sign, place) for place in range(min(_MOST_FIELDS, n_fields)))


def _behind_first(sign: str, name: str) -> str:
    return name.partition(sign)[2].strip(_STRIPPED)


def _before_last(sign: str, name: str) -> str:
    return name.rpartition(sign)[0].strip(_STRIPPED)


def _field(sign: str, place: int, name: str) -> str:
    fields = name.split(sign)
    return fields[place].strip(_STRIPPED) if place < len(fields) else ""
