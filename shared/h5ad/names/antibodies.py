"""Antibodies that were joined to the genes without a mark: a stretch of the list in which names of proteins stand."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from shared.h5ad.names.gene_table import is_symbol, n_symbols
from shared.h5ad.names.tidying import COPY

_PROTEIN = re.compile(
    r"CD\d{1,3}([a-zA-Z]|R[ABO])?|HLA[-_.](DR|ABC|A-B-C|A\.B\.C)|Ig[AGMDE]\d?[a-z]?|PD-?L?[12]|"
    r"TCR[-_. ]?(ab|gd|V\S{1,9}|alpha\S{0,9}|gamma\S{0,9})"
)
"""What panels call proteins, of which no gene has the name: CD45RA, CD11b, CD16."""
LEAST = 3
TRANSCRIPTOME = 1_000
"""Genes of a list to which a panel was joined; in a shorter one, made by hand, CD14 beside CD16 may be the gene."""
_DENSE = 0.2
_GAP = 30
"""Names between two of them that may be of proteins which are called like their genes."""
_MOST_BEHIND = 300


def bare_antibodies(names: Sequence[str], strange: Sequence[int]) -> list[int]:
    """Places of features that are antibodies by the company that they keep; empty where too few names say so.

    In a stretch where one name in five is a protein's, all are: ``CD4`` there is the antibody, whatever stands among
    the genes. Of a list in alphabetical order, which mixes both, and of one of few genes, only the names
    that no gene has.

    Args:
        strange: The places of names that are not known as a gene's (``gene_table.unknown``).
    """
    proteins = [place for place in strange if _PROTEIN.fullmatch(names[place])]
    if not proteins or n_symbols(names) < TRANSCRIPTOME:
        return proteins if len(proteins) >= LEAST else []
    found: list[int] = []
    for stretch in _stretches(proteins):
        inside = names[stretch[0] : stretch[-1] + 1]
        if len(stretch) < max(LEAST, _DENSE * len(inside)):
            continue
        mixed = list(inside) == sorted(inside) and len(inside) > len(stretch)
        found += stretch if mixed else _widened(names, stretch)
    return found


def is_protein(name: str) -> bool:
    """Whether panels of antibodies call a protein so, whatever genes are called."""
    return _PROTEIN.fullmatch(name) is not None


def _stretches(places: Sequence[int]) -> list[list[int]]:
    found: list[list[int]] = []
    for place in places:
        if found and place - found[-1][-1] <= _GAP:
            found[-1].append(place)
        else:
            found.append([place])
    return found


def _widened(names: Sequence[str], stretch: Sequence[int]) -> range:
    """With the panel's names before and behind those that speak for themselves."""
    first, last = stretch[0], stretch[-1]
    earlier = Counter(names[:first])
    while first and _repeats(names[first - 1], earlier):
        first -= 1
    behind = names[last + 1 :]
    genes = sum(is_symbol(name) and not _repeats(name, earlier) for name in behind)
    if len(behind) <= _MOST_BEHIND and 2 * genes <= len(behind):
        last = len(names) - 1
    return range(first, last + 1)


def _repeats(name: str, earlier: Counter[str]) -> bool:
    """Whether a name is another's second copy, as it stands or as ``var_names_make_unique`` wrote it."""
    copied = COPY.fullmatch(name)
    return earlier[name] > 1 or (copied is not None and copied[1] in earlier)
