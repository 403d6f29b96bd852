"""Names that have a gene's name in them, at the same place in every name: ``CD3D|NM_000732``, ``HGNC:CD3D``.

``tidying`` knows the common forms. Any other is learned here from the column alone: the names are divided at a sign
that nearly all of them have, and the part is read in which most names are genes of GENCODE. It is a pure function of
the names, so ingest and every task come to the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter

from shared.h5ad.names.gene_table import is_symbol
from shared.h5ad.names.known import is_gene

_SIGNS = "|;,:=/_ \t()[]{}<>#~^$@&+-."
_STRIPPED = " \t()[]{}<>\"'"
_SAID = re.compile(
    r"\b(?:gene_name|gene_symbol|hgnc_symbol|symbol|gene|name|gn)[=: ]+\"?(?P<part>[^\s\";,|]+)", re.IGNORECASE
)
"""A gene's name that is said to be it, as in the attributes of GFF and GTF and in the headers of FASTA."""
_BRACKETS = re.compile(r"[(\[](?P<part>[^()\[\]]+)[)\]]")
_SPECIES = re.compile(
    r"(?<![a-z])(?:(?P<human>human|homo[ _]?sapiens)|(?P<mouse>mouse|mus[ _]?musculus|murine|mmu|mm10))(?![a-z])",
    re.IGNORECASE,
)
_FEW, _MANY = 40, 500
"""Names to find the likeliest parts by, and to judge those by."""
_LIKELIEST = 5
_MOST_FIELDS, _LONGEST = 12, 300
_NEARLY_ALL = 0.9
"""Share of the names that must have a sign."""
_ENOUGH_GENES, _FEW_GENES = 0.3, 0.1
"""Share of the parts that must be genes (in any whole annotation two thirds are); of the names that may be already."""
_TAG = re.compile(r"[ACGTN]{12,}|[-_][-+][-_]\d", re.IGNORECASE)
"""In what is left over, a sequence or a strand and a position: guides, or barcodes of genes."""
_NUMBER = re.compile(r"[-_.](sg|g|guide|sgrna|grna)?[-_.]?\d{1,2}", re.IGNORECASE)
"""All that is left over: guides, or the second copy of a name, of which nobody knows how much of the gene it has.
Ensembl's isoforms begin with 201."""

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
    """Read the names of genes out of longer ones.

    A column of anything else stays as it is, and so does a name that is a gene already or has no such part.
    """
    some = _scattered(ids, _MANY)
    part = _telling_part(some)
    if part is None:
        return Unwrapped(tuple(ids))
    example = next(name for name in some if not is_gene(name) and is_gene(part(name)))
    return Unwrapped(tuple(_read(part, name) for name in ids), (example, part(example)))


def _read(part: Part, name: str) -> str:
    if not name or len(name) > _LONGEST or is_gene(name):
        return name
    found = part(name)
    said = _SPECIES.search(name.replace(found, " ", 1)) if found else None
    if said is None:
        return found or name
    return f"{said.lastgroup}_{found}"  # In the form that ``tidying`` knows.


def _scattered(ids: Sequence[str], n_most: int) -> list[str]:
    """Some of the names that are there and not too long, from all over a list; the same ones each time."""
    places = {place * 2_654_435_761 % len(ids) for place in range(n_most)} if len(ids) > n_most else range(len(ids))
    return [name for place in sorted(places) if (name := ids[place]) and len(name) <= _LONGEST]


def _telling_part(names: Sequence[str]) -> Part | None:
    """The part of each name that is a gene; None if the names are genes as they stand, or no part is."""
    parts = list(_parts(names)) if names else []
    if not parts or sum(map(is_gene, names)) > _FEW_GENES * len(names):
        return None
    few = _scattered(names, _FEW)
    likeliest = sorted(parts, key=lambda part: _fitness(part, few), reverse=True)[:_LIKELIEST]
    (n_genes, *_), best = max(((_fitness(part, names), part) for part in likeliest), key=itemgetter(0))
    if n_genes < max(3.0, _ENOUGH_GENES * len(names)) or _are_tags(best, names):
        return None
    return None if any(_n_different(best, other, names) > 0.5 * n_genes for other in likeliest) else best


def _fitness(part: Part, names: Sequence[str]) -> tuple[int, int, int]:
    """How many of the parts are genes, how many of them without anything to take off, and how short they are."""
    texts = [part(name) for name in names]
    known: Mapping[str, bool] = {text: is_gene(text) for text in set(texts)}
    return sum(known[text] for text in texts), sum(map(is_symbol, texts)), -sum(map(len, texts))


def _n_different(one: Part, other: Part, names: Sequence[str]) -> int:
    """How many names are of two genes (ligand and receptor, say), one by each part."""
    pairs = [(one(name), other(name)) for name in names]
    return sum(first != second and is_symbol(first) and is_symbol(second) for first, second in pairs)


def _are_tags(part: Part, names: Sequence[str]) -> bool:
    """Whether these are guides, barcodes or second copies of genes, by what most of the names have beside the part."""
    rests = [name.replace(part(name), "", 1) for name in names]
    return sum(bool(_TAG.search(rest) or _NUMBER.fullmatch(rest)) for rest in rests) > 0.5 * len(names)


def _parts(names: Sequence[str]) -> Iterator[Part]:
    """Every way to divide the names."""
    yield from (partial(_found, pattern) for pattern in (_SAID, _BRACKETS) if _in_nearly_all(pattern.search, names))
    for sign in _SIGNS:
        if _in_nearly_all(lambda name, sign=sign: sign in name, names):  # type: ignore[misc]
            yield partial(_behind_first, sign)
            yield partial(_before_last, sign)
            n_fields = max(name.count(sign) for name in names) + 1
            yield from (partial(_field, sign, place) for place in range(min(_MOST_FIELDS, n_fields)))
            yield partial(_field, sign, -1)


def _in_nearly_all(has: Callable[[str], object], names: Sequence[str]) -> bool:
    return sum(bool(has(name)) for name in names) >= _NEARLY_ALL * len(names)


def _found(pattern: re.Pattern[str], name: str) -> str:
    found = pattern.search(name)
    return found["part"].strip(_STRIPPED) if found else ""


def _behind_first(sign: str, name: str) -> str:
    return name.partition(sign)[2].strip(_STRIPPED)


def _before_last(sign: str, name: str) -> str:
    return name.rpartition(sign)[0].strip(_STRIPPED)


def _field(sign: str, place: int, name: str) -> str:
    fields = name.split(sign)
    return fields[place].strip(_STRIPPED) if place < len(fields) else ""
