"""What a gene's name says once blanks, quotes, genome prefixes and versions are taken off it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from shared.domain.verdict import Species

ENSEMBL = re.compile(r"ENS([A-Z]{3,4})?G\d{11}")
VERSIONED = re.compile(r"(ENS(?:[A-Z]{3,4})?G\d{11})(\.\d+)?(_PAR_Y)?")
COPY = re.compile(r"(.+)[-.]\d{1,2}")
"""A second copy of a name, as ``var_names_make_unique`` writes it: ``X-1``."""
BETWEEN = re.compile(r"[-_./:@ \u2010-\u2015]")
"""Signs that stand between the letters of a gene's name, or in their place."""
LONGEST = 100
"""Nobody's name of a gene is longer; of one that is, nothing is taken off, and no pattern is tried on it."""
_WRAPPING = " \t\r\n\v\f\ufeff\u200b\xa0\"'`"
_GENOME = re.compile(
    r"(?P<human>grch3[78]|hg19|hg38|human|homo[_ ]?sapiens|t2t[_-]?chm13)?"
    r"(?P<mouse>grcm3[89]|mm9|mm10|mm39|mouse|mus[_ ]?musculus)?"
    r"([._-]{0,8}(pre[_-]?mrna|20\d\d[._-]?[a-z]?|p\d{1,2}|ensembl\d{0,3}|gencode\d{0,3})){0,4}[._:| -]+(?=.)",
    re.IGNORECASE,
)
_SECOND = re.compile(r"(?<=.) \(\d{1,2}\)$")
_GENE = re.compile(r"(gene(_id|_name)?[:=-]|(rna|sct|gex)[_:-]{1,2})(?=.)", re.IGNORECASE)
_GENOME_BEHIND = re.compile(
    r"(?<=.)[_.-]{1,2}((?P<human>grch3[78]|hg19|hg38|human)|(?P<mouse>grcm3[89]|mm9|mm10|mm39|mouse))", re.IGNORECASE
)
_PAIR = re.compile(r"(?P<first>.+?)[_|:;,/ -]+(?P<id>ENS(?:[A-Z]{3,4})?G\d{11})(\.\d+)?")
_PAIR_TURNED = re.compile(r"(?P<id>ENS(?:[A-Z]{3,4})?G\d{11})(\.\d+)?[_|:;,/ -]+(?P<first>.+)")
_DOTTED = re.compile(r"\.(?=[A-Za-z])")
_PERHAPS = re.compile(
    r"[\s\ufeff\u200b\xa0\"'`|:;,=]|_|^b'|^(grc|hg|mm|hum|mou|mus|hom|t2t|gene|rna|sct|gex)|[_.-](grc[hm]\d\d|hg19|hg38|human|mm\d+|mouse)$|ENS\w*G\d{11}.|\.[A-Za-z]",
    re.IGNORECASE,
)
"""Every name that there is something to take off has one of these in it."""


@dataclass(frozen=True, slots=True)
class Tidied:
    """A name taken apart.

    Attributes:
        names: What it may mean, likeliest first: the id of a pair of id and symbol before the symbol.
        species: What a genome before it says; UNKNOWN where there is none.
    """

    names: tuple[str, ...]
    species: Species = Species.UNKNOWN


def bare_id(name: str) -> str:
    """An Ensembl id without its version and ``_PAR_Y``; any other name as it is."""
    found = VERSIONED.fullmatch(name) if name.startswith("ENS") else None
    return found[1] if found else name


def bare_ids(ids: Sequence[str], *, versioned: bool = True) -> list[str]:
    """Identifiers as they are compared: Ensembl ids without their version, wherever one has it."""
    return [bare_id(identifier) for identifier in ids] if versioned else list(ids)


@lru_cache(maxsize=2**17)
def untidy(name: str) -> bool:
    """Whether there may be something to take off a name; for most there is not. Each reading of a file's names asks."""
    return len(name) <= LONGEST and _PERHAPS.search(name) is not None


def spelling(name: str) -> str:
    """A name with a hyphen, as GENCODE writes most, for whatever sign stands between its letters."""
    return BETWEEN.sub("-", name)


def plain(name: str) -> str:
    """The likeliest meaning of a name."""
    return tidied(name).names[0] if untidy(name) else name


@lru_cache(maxsize=2**17)
def tidied(name: str) -> Tidied:
    """A name as it may have been meant."""
    if not untidy(name):
        return Tidied((name,))
    bare = _unquoted(name)
    species = Species.UNKNOWN
    genome = _GENOME.match(bare)
    if genome and (genome["human"] or genome["mouse"]):
        species = Species.HUMAN if genome["human"] else Species.MOUSE
        bare = bare[genome.end() :]
    behind = next((found for found in _GENOME_BEHIND.finditer(bare) if found.end() == len(bare)), None)
    if behind and species is Species.UNKNOWN:
        species = Species.HUMAN if behind["human"] else Species.MOUSE
        bare = bare[: behind.start()]
    marked = _GENE.match(bare)
    bare = bare[marked.end() :] if marked else bare
    pair = None if VERSIONED.fullmatch(bare) else _PAIR.fullmatch(bare) or _PAIR_TURNED.fullmatch(bare)
    names = (
        (pair["id"], pair["first"])
        if pair
        else (bare_id(bare), bare_id(bare) if bare.startswith("ENS") else _DOTTED.sub("-", bare))
    )
    return Tidied(tuple(dict.fromkeys(names)), species)


def _unquoted(name: str) -> str:
    bare = _SECOND.sub("", name.strip(_WRAPPING))
    return bare[2:] if bare.startswith(("b'", 'b"')) else bare
