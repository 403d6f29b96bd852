"""Reads genes from a file: an .h5ad, Cell Ranger's .h5, or a text with a list or table."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from jobs.modeling.celltypist_genes import feature_table
from jobs.modeling.file_genes import read_file_genes
from jobs.modeling.plain_text import lines_of, read_text
from shared.bundles.card import Features
from shared.domain.errors import InputNotFoundError, InvalidOptionError
from shared.domain.verdict import GeneIds
from shared.h5ad.facts import GeneColumn
from shared.h5ad.names.genes import describe_column

_HDF5 = b"\x89HDF\r\n\x1a\n"
_HDF5_ENDINGS = frozenset({".h5ad", ".h5", ".hdf5"})
_DELIMITERS = "\t,;"
_LOOKED_AT = 200


def read_gene_list(path: Path) -> Features:
    """Read the genes of an .h5ad or .h5, inspected like any submission, or of a text.

    A text has one gene per line, or is a table (.csv or .tsv, with or without a header). Of a table, the first column
    of symbols and the first of Ensembl ids are read, or else its first column. A text may be compressed with gzip, and
    encoded in UTF-8, UTF-16 or Latin-1.

    Raises:
        InputError: The file does not exist, or is an .h5ad or .h5 that cannot be used.
        InvalidOptionError: It is a text without genes, or not a text.
    """
    head = _head(path)
    if path.suffix.lower() in _HDF5_ENDINGS or head.startswith(_HDF5):
        return read_file_genes(path)
    try:
        columns = _columns(_rows(read_text(path)))
    except (OSError, ValueError, csv.Error) as error:
        raise _no_list(path, str(error)) from error
    if not columns:
        raise _no_list(path, "it is empty")
    return _features(columns)


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(len(_HDF5))
    except OSError as error:
        raise InputNotFoundError(
            f"cannot open the file: {error.strerror or error}",
            expected="an .h5ad, or a list of genes",
            where=str(path),
            hint="Check the path given with --features-from.",
        ) from error


# --- Columns ------------------------------------------------------------------------------------------------------


def _rows(text: str) -> list[list[str]]:
    lines = [line for line in lines_of(text) if line.strip() and not line.startswith("#")]
    delimiter = _delimiter(lines[:_LOOKED_AT])
    if delimiter is None:
        return [[_bare(line)] for line in lines]
    return [[_bare(cell) for cell in row] for row in csv.reader(lines, delimiter=delimiter)]


def _delimiter(lines: Sequence[str]) -> str | None:
    """The delimiter that occurs in most lines; None for a plain list."""
    counts = {mark: sum(mark in line for line in lines) for mark in _DELIMITERS}
    best = max(counts, key=lambda mark: counts[mark])
    return best if counts[best] > 0.5 * len(lines) else None


def _bare(cell: str) -> str:
    return cell.strip().strip("\"'").strip()


def _columns(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """The cells by column. Short rows are filled up; empty columns are left out."""
    width = max(map(len, rows), default=0)
    columns = [[row[place] if place < len(row) else "" for row in rows] for place in range(width)]
    return [column for column in columns if any(column)]


def _features(columns: Sequence[Sequence[str]]) -> Features:
    kinds = [describe_column(GeneColumn(str(place), tuple(column))).kind for place, column in enumerate(columns)]
    chosen = [columns[kinds.index(kind)] for kind in (GeneIds.SYMBOL, GeneIds.ENSEMBL) if kind in kinds] or columns[:1]
    return feature_table([name for column in chosen for name in column if name])


def _no_list(path: Path, reason: str) -> InvalidOptionError:
    return InvalidOptionError(
        f"no genes can be read: {reason}",
        expected="an .h5ad, or a list of symbols or Ensembl ids, one per line or in a column of a .csv or .tsv",
        where=str(path),
        hint="Give another file with --features-from, or leave the option out.",
    )
