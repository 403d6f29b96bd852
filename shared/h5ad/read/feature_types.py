"""Columns of var that tell what a feature is: known by their words, whatever they are called, or flags named so."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.domain.errors import InputError
from shared.h5ad.names.gene_table import is_symbol
from shared.h5ad.read.columns import Frame

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
_GENE_ID = re.compile(r"ENS([A-Z]{3,4})?G\d{11}.*")
_MOST_ANTIBODIES = 2_000
"""No panel is larger: a column that calls more features proteins tells a gene's biotype."""
_MOST_WORDS = 50
_MISSING = ("nan", "NaN", "NA", "None", "<NA>")
_FLAG = re.compile(r"is[-_. ]*(?P<kind>\w.*)", re.IGNORECASE)
UNTYPED = "without a type"
_FEW_KNOWN = 0.2
"""The share of untyped features with a gene's name from which they count as genes, where others are typed."""


@dataclass(frozen=True, slots=True)
class _Types:
    """A column that tells the types.

    Attributes:
        words: The file's own, empty where missing.
        other: Features that are no genes by it.
        has_genes: Whether it calls some features genes.
    """

    words: npt.NDArray[np.object_]
    other: npt.NDArray[np.bool_]
    has_genes: bool


def other_types(frame: Frame, names: Sequence[str]) -> npt.NDArray[np.object_]:
    """For each feature what a column says that it is, in the file's own words; empty for what may be a gene.

    A column that speaks of gene expression has precedence over one that does not. Beside genes that it calls so, a
    feature without a type is none either, unless it has a gene's name.
    """
    types = [found for name in frame.names if (found := _types(frame, name, names)) is not None]
    types = [found for found in types if found.has_genes] or types
    kinds = np.full(len(names), "", dtype=object)
    for found in types:
        kinds[found.other] = found.words[found.other]
    for found in types:
        kinds[_untyped(found, kinds, names)] = UNTYPED
    return kinds


def _types(frame: Frame, name: str, names: Sequence[str]) -> _Types | None:
    try:
        found = _of_words(frame, name) if frame.is_text(name) else _of_flags(frame, name, names)
    except (InputError, KeyError, ValueError, TypeError):
        return None
    return found if found and len(found.words) == len(names) and not _biotypes(found, names) else None


def _of_words(frame: Frame, name: str) -> _Types | None:
    n_categories = frame.n_categories(name)
    if (n_categories or 0) > _MOST_WORDS:
        return None
    ends = (range(200), range(max(0, len(frame) - 200), len(frame)))
    if n_categories is None and not any(_speaks(frame.strings(name, end.start, end.stop)) for end in ends):
        return None
    words = np.array(frame.strings(name, 0, len(frame)), dtype=object)
    words[np.isin(words, _MISSING)] = ""
    counts = Counter(words.tolist())
    counts.pop("", None)
    said = {_kind(word) for word in counts}
    known = sum(count for word, count in counts.items() if _kind(word))
    if not known or known < 0.9 * counts.total() or not (GENE in said or said <= _SURE):
        return None
    other = np.isin(words, [word for word in counts if _kind(word) != GENE])
    return _Types(words, other, GENE in said)


def _of_flags(frame: Frame, name: str, names: Sequence[str]) -> _Types | None:
    """A column of yes and no that is called after a kind: ``is_gene``, ``is_adt``, ``hashtag``."""
    flag = _FLAG.fullmatch(name)
    kind = _kind(flag["kind"] if flag else name)
    if kind not in _SURE or (kind == GENE and not flag):
        return None
    values = frame.numbers(name, 0, len(frame))
    if not np.isin(values, (0.0, 1.0)).all() or not 0 < values.sum() < len(values):
        return None
    other = values == float(kind != GENE)
    # A flag called protein may be on the genes of surface proteins: then it tells no types.
    if _are_genes([names[place] for place in np.flatnonzero(other).tolist()]):
        return None
    return _Types(np.where(other, f"{name}: {values[other][0] > 0}", GENE).astype(object), other, has_genes=True)


def _untyped(found: _Types, kinds: npt.NDArray[np.object_], names: Sequence[str]) -> npt.NDArray[np.int64]:
    places = np.flatnonzero((found.words == "") & (kinds == ""))
    if not found.has_genes or not 0 < 2 * len(places) < len(names):
        return places[:0]
    return places[:0] if _are_genes([names[place] for place in places.tolist()], _FEW_KNOWN) else places


def _are_genes(names: Sequence[str], share: float = 0.5) -> bool:
    """Whether as many of the names, or more, are those of genes."""
    known = sum(is_symbol(name) or _GENE_ID.fullmatch(name) is not None for name in names)
    return known >= share * len(names)


def _speaks(words: list[str]) -> bool:
    """Whether these words, as far as there are any, are known ones."""
    present = [word for word in words if word and word not in _MISSING]
    return sum(bool(_kind(word)) for word in present) >= 0.9 * len(present)


def _kind(word: str) -> str | None:
    return _KIND_OF_WORD.get(re.sub(r"[-_\s]+", " ", word).strip().casefold())


def _biotypes(found: _Types, names: Sequence[str]) -> bool:
    """Whether the column tells biotypes: what it calls no gene has a gene's id, or is more than any panel has."""
    places = np.flatnonzero(found.other)
    if sum(_GENE_ID.fullmatch(names[place]) is not None for place in places.tolist()) > 0.5 * len(places):
        return True
    return sum(_kind(word) == "antibodies" for word in found.words[places]) > _MOST_ANTIBODIES
