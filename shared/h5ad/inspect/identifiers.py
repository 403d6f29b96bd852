"""Which columns of var may name the genes: the index, and any whose values look like names, whatever it is called."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import compress

import numpy as np
import numpy.typing as npt

from shared.domain.errors import InputError
from shared.h5ad.facts import GeneColumn
from shared.h5ad.names.genes import n_telling
from shared.h5ad.names.wrapped import unwrapped
from shared.h5ad.read.columns import Frame, label_of_index

MOST_COLUMNS = 6
"""Beside the index; of more, those in which most names are Ensembl ids or well-known symbols."""
MOST_READ = 60
LONGEST_NAME = 200
"""A longer name of a column or layer is nobody's, and would have to be kept in records."""
_GENE_NAME = re.compile(r"gene|symbol|ensembl|ensg|feature|hgnc|mgi|(^|_)ids?($|_)|name|accession", re.IGNORECASE)
_WINDOW = 200
_FEW = 50
"""A categorical of fewer values than this, and than a third of the genes, tells no genes apart."""


def identifier_columns(frame: Frame, genes: npt.NDArray[np.bool_] | None) -> tuple[GeneColumn, ...]:
    """The index, then columns that look like identifiers: in the order of likely names, the likeliest values kept.

    Args:
        genes: Which features are genes; None where all are.
    """
    short = (name for name in frame.names if len(name) <= LONGEST_NAME)
    named = sorted(short, key=lambda name: _GENE_NAME.search(name) is None)
    found = [column for name in named[:MOST_READ] if (column := _column(frame, name, genes)) is not None]
    if len(found) > MOST_COLUMNS:
        telling = sorted(found, key=lambda column: -n_telling(column.ids))[:MOST_COLUMNS]
        found = [column for column in found if column in telling]
    return _of(label_of_index(frame), frame.strings(frame.index, 0, len(frame)), genes), *found


def _column(frame: Frame, name: str, genes: npt.NDArray[np.bool_] | None) -> GeneColumn | None:
    try:
        if not frame.is_text(name) or not _looks_like_ids(frame, name):
            return None
        ids = frame.strings(name, 0, len(frame))
    except (InputError, KeyError, ValueError, TypeError):
        return None
    return _of(name, ids, genes) if len(ids) == len(frame) else None


def _looks_like_ids(frame: Frame, name: str) -> bool:
    """Judged by windows from the start to the end: the first values may all be missing."""
    n_genes = len(frame)
    n_categories = frame.n_categories(name)
    if n_categories is not None:
        return n_categories >= min(_FEW, 0.3 * n_genes)
    size = n_genes if n_genes <= 5 * _WINDOW else _WINDOW
    starts = sorted({(n_genes - size) * quarter // 4 for quarter in range(5)})
    read = frame.slices(name)
    seen = [value for start in starts for value in read(start, start + size)]
    present = [value for value in seen if value and value != "nan"]
    return bool(present) and len(set(present)) > 0.5 * len(present)


def _of(name: str, ids: Sequence[str], genes: npt.NDArray[np.bool_] | None) -> GeneColumn:
    found = unwrapped(ids if genes is None else list(compress(ids, genes)))
    return GeneColumn(name, found.ids, found.example)
