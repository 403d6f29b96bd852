"""What genes were called before, and what else they are called; read from previous_names.txt.xz when first asked."""

from __future__ import annotations

import lzma
from collections import Counter
from functools import cache
from itertools import accumulate
from pathlib import Path

FILE = Path(__file__).with_name("previous_names.txt.xz")
Names = dict[str, tuple[int, ...]]
"""The numbers of the Ensembl ids that a name may mean."""


@cache
def previous_symbols(prefix: str) -> Names:
    """Official symbols of earlier years, of the genes whose ids begin with ``prefix``; empty for an unknown one."""
    return _names(f"{prefix} previous")


@cache
def aliases(prefix: str) -> Names:
    """Names that were never official."""
    return _names(f"{prefix} alias")


def _names(title: str) -> Names:
    lines = _lines()
    start = lines.index(title) if title in lines else None
    if start is None:
        return {}
    numbers = list(accumulate(map(int, lines[start + 1].split(" "))))
    names = lines[start + 2].split("\t")
    found: Names = dict(zip(names, zip(numbers), strict=True))
    if len(found) < len(names):
        repeated = {name for name, times in Counter(names).items() if times > 1}
        found |= dict.fromkeys(repeated, ())
        for name, number in zip(names, numbers, strict=True):
            if name in repeated:
                found[name] = (*found[name], number)
    return found


@cache
def _lines() -> list[str]:
    """Of each species and kind of name a title, the steps between the numbers of ids, and the names."""
    return lzma.decompress(FILE.read_bytes()).decode().splitlines()[1:]
