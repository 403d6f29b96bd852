"""Which columns of a matrix are genes, and what the others are: by columns that tell types, and by the names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.domain.errors import InputError
from shared.h5ad.columns import Frame
from shared.h5ad.tidying import LONGEST

GENE = "Gene Expression"
_KINDS = {
    GENE: "gene expression|gex|rna|mrna|gene|genes|expression|transcript|transcripts|transcriptome|transcriptomics|"
    "scrna|snrna|scrna seq|snrna seq|rna seq|rnaseq|cdna",
    "antibodies": "antibody capture|antibody|antibodies|adt|adts|ab|abs|protein|proteins|prot|protein expression|"
    "surface protein|surface proteins|cite|cite seq|citeseq|abseq|pabo|epitope|epitopes|antibody derived tag|"
    "antibody derived tags",
    "hashtags": "multiplexing capture|multiplexing|hto|htos|hashtag|hashtags|hashtag oligo|hash|hashing|cell hashing|"
    "cell hash|cmo|cmos|multiseq|multi seq|sample tag|sample tags",
    "peaks": "peaks|peak|atac|atac seq|scatac|snatac|chromatin|chromatin accessibility|accessibility|open chromatin|"
    "regions|tiles|bins|fragments",
    "guides": "crispr guide capture|crispr|guide|guides|guide capture|grna|grnas|sgrna|sgrnas|guide rna|perturbation",
    "other features": "custom|antigen capture|antigen|vdj|vdj t|vdj b|spike in|spike ins|control|controls|"
    "negative control|negative control probe|negative control codeword|genomic control|blank codeword|blank|"
    "unassigned codeword|deprecated codeword|system control|intron|introns",
}
_SURE = {GENE, "antibodies", "hashtags", "peaks", "guides"}
"""Words of the other kinds mean something only beside one that says gene expression."""
_KIND_OF_WORD = {word: kind for kind, words in _KINDS.items() for word in words.split("|")}

_NAMES = {
    "antibodies": re.compile(
        r".*[_.|:-]?total[_-]?seq[_-]?[a-d]?(\d{4})?|.*[_-]total[a-d]|.*\((antibody|protein|adt|ab)\)|.*\|pabo|.*[_.:-](prot|protein|adt|abseq|antibody|pabo)|"
        r".*[_:](ab|anti)|(adt|ab|prot|protein|antibody|abseq|cite)[_:.].+|"
        r"(adt|prot|protein|antibody|abseq)-.+|anti[-_. ].+",
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
_PERHAPS = re.compile(
    r"seq|total|prot|adt|ab[-_.:]|[_:]ab|cite|anti|pabo|hash|hto|cmo|tag|\d[-_:]+\d+$|rna|^__|^n_|unmapped|^length$|^unnamed|^ncount|^nfeature|total_counts|^pct_|^percent|blank|neg|control|code|intergenic",
    re.IGNORECASE,
)
"""Every name that one of those fits has one of these in it; nearly all genes have none."""

_INTRON = re.compile(r"(.+?)([-_.]{1,2})(i|introns?|intronic|unspliced|nascent|u|a)", re.IGNORECASE)
_GENE_ID = re.compile(r"ENS([A-Z]{3,4})?G\d{11}.*")
_MOST_ANTIBODIES = 2_000
"""No panel is larger: a column that calls more features proteins tells a gene's biotype."""
_MOST_WORDS = 50


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


@dataclass(frozen=True, slots=True)
class _Types:
    """A column that tells the types.

    Attributes:
        other: Features that are no genes by it.
    """

    words: npt.NDArray[np.object_]
    other: npt.NDArray[np.bool_]

    @property
    def has_genes(self) -> bool:
        """Whether it calls some features genes."""
        return any(_kind(word) == GENE for word in set(self.words.tolist()))


def find_genes(frame: Frame) -> Features:
    """Tell genes from antibodies, hashtags, peaks, guides, controls and introns that are counted beside exons.

    Every column of text is looked at for words that tell types, whatever it is called; names are looked at after it.
    One that speaks of gene expression has precedence over one that does not.
    """
    names = frame.strings(frame.index, 0, len(frame))
    types = [found for name in frame.names if (found := _types(frame, name, names)) is not None]
    types = [found for found in types if found.has_genes] or types
    kinds = np.full(len(names), "", dtype=object)
    for found in types:
        kinds[found.other] = found.words[found.other]
    rest = np.flatnonzero(kinds == "")
    kinds[rest] = kinds_by_name([names[place] for place in rest])
    other = kinds != ""
    if not other.any():
        return Features()
    examples = tuple(names[place][:60] for place in np.flatnonzero(other)[:3])
    return Features(~other, tuple(sorted(set(kinds[other].tolist()))), examples)


def kinds_by_name(names: Sequence[str]) -> list[str]:
    """What each name says that its feature is; empty for what may be a gene."""
    kinds = [_kind_by_name(name) if len(name) <= LONGEST and _PERHAPS.search(name) else "" for name in names]
    present = set(names)
    introns = [place for place, name in enumerate(names) if _is_intron(name, present)]
    if len(introns) > max(20, 0.01 * len(names)):
        for place in introns:
            kinds[place] = "introns"
    return kinds


def _kind_by_name(name: str) -> str:
    return next((kind for kind, pattern in _NAMES.items() if pattern.fullmatch(name)), "")


def _is_intron(name: str, present: set[str]) -> bool:
    found = _INTRON.fullmatch(name) if len(name) <= LONGEST and name[-1:] in "IiSsCcDdNnTtUuAa" else None
    return found is not None and any(
        found[1] + ending in present for ending in ("", "__E", "-E", "_E", f"{found[2]}exon")
    )


def _types(frame: Frame, name: str, names: Sequence[str]) -> _Types | None:
    try:
        if not frame.is_text(name) or (frame.n_categories(name) or 0) > _MOST_WORDS:
            return None
        if (
            not _speaks(frame.strings(name, 0, 200))
            and frame.n_categories(name) is None
            and not _speaks(_end(frame, name))
        ):
            return None
        words = np.array(frame.strings(name, 0, len(frame)), dtype=object)
    except (InputError, KeyError, ValueError, TypeError):
        return None
    counts = Counter(words.tolist())
    counts.pop("", None)
    known = sum(count for word, count in counts.items() if _kind(word))
    if len(words) != len(names) or not known or known < 0.9 * counts.total():
        return None
    found = _Types(words, np.isin(words, [word for word in counts if _kind(word) != GENE]))
    sure = found.has_genes or {_kind(word) for word in counts} <= _SURE
    return found if sure and not _biotypes(found, names) else None


def _end(frame: Frame, name: str) -> list[str]:
    return frame.strings(name, max(0, len(frame) - 200), len(frame))


def _speaks(words: list[str]) -> bool:
    """Whether these words, as far as there are any, are known ones."""
    present = [word for word in words if word]
    return sum(bool(_kind(word)) for word in present) >= 0.9 * len(present)


def _kind(word: str) -> str | None:
    return _KIND_OF_WORD.get(re.sub(r"[-_\s]+", " ", word).strip().casefold())


def _biotypes(found: _Types, names: Sequence[str]) -> bool:
    """Whether the column tells biotypes: what it calls no gene has a gene's id, or is more than any panel has."""
    places = np.flatnonzero(found.other)
    if places.size and sum(_GENE_ID.fullmatch(names[place]) is not None for place in places.tolist()) > 0.5 * len(
        places
    ):
        return True
    return sum(_kind(word) == "antibodies" for word in found.words[places]) > _MOST_ANTIBODIES
