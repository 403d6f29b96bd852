"""Which columns of a matrix are genes, and what the others are: by columns that tell types, and by the names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.h5ad.names.antibodies import bare_antibodies
from shared.h5ad.names.gene_table import unknown
from shared.h5ad.names.pieces import with_pieces
from shared.h5ad.names.tidying import LONGEST
from shared.h5ad.read.columns import Frame
from shared.h5ad.read.feature_types import other_types

_NAMES = {
    "antibodies": re.compile(
        r".*[_.|:-]?total[_-]?seq[_-]?[a-d]?(\d{4})?|.*[_-]total[a-d]|.*\((antibody|protein|adt|ab)\)|.*\|pabo|.*[_.:-](prot|protein|adt|abseq|antibody|pabo)|"
        r".*[_:](ab|anti)|(adt|ab|prot|protein|antibody|abseq|cite)[_:.].+|"
        r"(adt|prot|protein|antibody|abseq)-.+|anti[-_. ].+|(hu|ms|humsr?)\..+|isotype[-_. ].+|ig[gm]\d?[a-z]?[-_. ]+"
        r"(isotype|control|ctrl).*",
        re.IGNORECASE,
    ),
    "hashtags": re.compile(
        r"(.*[_.-])?hash[-_ .]?tag[-_ .]?(oligo[-_ .]?)?\d*([-_ .:].*)?|hto[-_ .:]?\d+([-_ .:].*)?|hto[-_ .:].*|"
        r".*[_-]hto|cmo[-_]?\d{3}|multiseq[-_ .]?\w*|sample[-_ ]?tag[-_ ]?\d+.*",
        re.IGNORECASE,
    ),
    "peaks": re.compile(
        r"((grch|grcm|hg|mm)\d+[_-]+)?(chr[\w.]+|\d{1,2}|x|y|mt|(gl|ki|jh)\d{6}(\.\d+)?)[:_-]+\d+[-_:]+\d+",
        re.IGNORECASE,
    ),
    "guides": re.compile(r"(sgrna|grna)[-_.:].+|.*[-_.](sgrna|grna)\d*", re.IGNORECASE),
    "spike-ins": re.compile(r"ercc[-_.]\d{5}|sirv\d{3,4}", re.IGNORECASE),
    "counters": re.compile(
        r"__(no_feature|ambiguous|too_low_aqual|not_aligned|alignment_not_unique)|unmapped|length|unnamed: ?\d+|"
        r"n_(unmapped|multimapping|nofeature|ambiguous|counts|genes|genes_by_counts)|n(count|feature)_\w+|"
        r"total_counts(_\w+)?|pct_counts_\w+|percent[._]\w+",
        re.IGNORECASE,
    ),
    "controls": re.compile(
        r"(negcontrol|negprb|negative[-_]?control|systemcontrol|falsecode|unassignedcodeword|deprecatedcodeword|"
        r"blank|intergenic_region|antisense)[-_]?\w*\d+",
        re.IGNORECASE,
    ),
}
"""Names that nobody gave a gene: tests hold them against every name in GENCODE."""
_PIECES = (
    *("seq", "total", "prot", "adt", "ab-", "ab_", "ab.", "ab:", "_ab", ":ab", "cite", "anti", "pabo", "hash", "hto"),
    *("cmo", "tag", "rna", "unmapped", "blank", "neg", "control", "code", "intergenic", "ercc", "sirv"),
    *("\nlength\n", "\n__", "\nn_", "\nunnamed", "\nncount", "\nnfeature", "\npct_", "\npercent"),
    *("\nhu", "\nms", "\nig", "\nis"),
)
_NUMBERS = (re.compile(r"\d[-_:]+\d+$", re.MULTILINE),)
"""Every name that one of those fits has one of these in it; nearly all genes have none."""

_SPECIES_BEFORE = re.compile(r"(hu|ms)\.", re.IGNORECASE)
_INTRON = re.compile(r"(.+?)([-_.]{1,2})(i|introns?|intronic|unspliced|nascent|u|a)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Features:
    """What the columns of a matrix are.

    Attributes:
        genes: Which are genes; None where all are.
        other_types: What the others are, in the file's own words where it has any.
        examples: Some of their names.
    """

    genes: npt.NDArray[np.bool_] | None = None
    other_types: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()


def find_genes(frame: Frame) -> Features:
    """Tell genes from antibodies, hashtags, peaks, guides, controls and introns that are counted beside exons.

    Columns that tell types come first, whatever they are called; then the names.
    """
    names = frame.strings(frame.index, 0, len(frame))
    kinds = other_types(frame, names)
    rest = np.flatnonzero(kinds == "")
    kinds[rest] = kinds_by_name([names[place] for place in rest])
    other = kinds != ""
    if not other.any():
        return Features()
    examples = tuple(names[place][:60] for place in np.flatnonzero(other)[:3])
    return Features(~other, tuple(sorted(set(kinds[other].tolist()))), examples)


def kinds_by_name(names: Sequence[str]) -> list[str]:
    """What each name says that its feature is; empty for what may be a gene."""
    kinds = [""] * len(names)
    if len(kinds) > 0 and all(map(_SPECIES_BEFORE.match, names)):
        return kinds  # Genes of a barnyard, not antibodies of a panel.
    strange = unknown(names)
    for perhaps in with_pieces([names[place] for place in strange], _PIECES, _NUMBERS):
        place = strange[perhaps]
        if len(names[place]) <= LONGEST:
            kinds[place] = _kind_by_name(names[place])
    present = set(names)
    introns = [place for place in strange if _is_intron(names[place], present)]
    if len(introns) > max(20, 0.01 * len(names)):
        for place in introns:
            kinds[place] = "introns"
    for place in bare_antibodies(names, strange):
        kinds[place] = kinds[place] or "antibodies"
    return kinds


def _kind_by_name(name: str) -> str:
    return next((kind for kind, pattern in _NAMES.items() if pattern.fullmatch(name)), "")


def _is_intron(name: str, present: set[str]) -> bool:
    found = _INTRON.fullmatch(name) if len(name) <= LONGEST and name[-1:] in "IiSsCcDdNnTtUuAa" else None
    return found is not None and any(
        found[1] + ending in present for ending in ("", "__E", "-E", "_E", f"{found[2]}exon")
    )
