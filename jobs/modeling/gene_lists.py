"""Genes named in a file: an .h5ad, Cell Ranger's .h5, or a list or table in whatever text people keep it."""

from __future__ import annotations

import csv
import io
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from jobs.modeling.celltypist_genes import feature_table
from jobs.modeling.file_genes import read_file_genes
from shared.bundle import Features
from shared.domain.errors import InputNotFoundError, InvalidOptionError
from shared.domain.verdict import GeneIds
from shared.h5ad.facts import GeneColumn
from shared.h5ad.genes import describe_column

MAX_BYTES = 64 * 2**20
"""Of text; a table of all genes of a species has 2 MB."""
_HDF5 = b"\x89HDF\r\n\x1a\n"
_HDF5_ENDINGS = frozenset({".h5ad", ".h5", ".hdf5"})
_GZIP = b"\x1f\x8b"
_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_DELIMITERS = "\t,;"
_LOOKED_AT = 200


def read_gene_list(path: Path) -> Features:
    """The genes of a file of data, by the door that every submission goes through, or of a text.

    A text is a list of one a line, or a table (.csv, .tsv, with or without a header): of a table the first column of
    symbols and the first of Ensembl ids, and its first column where none looks like either. It may be compressed with
    gzip, and in UTF-8, UTF-16 or Latin-1.

    Raises:
        InputError: A file of data that cannot be used, or nothing at all.
        InvalidOptionError: A text without genes, or no text.
    """
    head = _head(path)
    if path.suffix.lower() in _HDF5_ENDINGS or head.startswith(_HDF5):
        return read_file_genes(path)
    rows = _rows(_text(_content(path), path))
    columns = _columns(rows)
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


# --- Text ---------------------------------------------------------------------------------------------------------


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if data.startswith(_GZIP):
        data = _inflated(data, path)
    if len(data) > MAX_BYTES:
        raise _no_list(path, f"it has more than {MAX_BYTES:,} bytes")
    return data


def _inflated(data: bytes, path: Path) -> bytes:
    """All members of a gzip file, up to one byte more than the limit."""
    parts: list[bytes] = []
    left = MAX_BYTES + 1
    while data.startswith(_GZIP) and left > 0:
        inflater = zlib.decompressobj(wbits=31)
        try:
            parts.append(inflater.decompress(data, left))
        except zlib.error as error:
            raise _no_list(path, f"it does not decompress: {error}") from error
        left -= len(parts[-1])
        if left > 0 and not inflater.eof:
            raise _no_list(path, "it ends before its last compressed byte")
        data = inflater.unused_data
    return b"".join(parts)


def _text(data: bytes, path: Path) -> str:
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), None) or _utf_16(data)
    if encoding is None and b"\0" in data:
        raise _no_list(path, "it is no text")
    for name in [encoding] if encoding else ["utf-8", "cp1252", "latin-1"]:
        try:
            return data.decode(name)
        except UnicodeDecodeError:
            continue
    raise _no_list(path, f"it is not whole {encoding}")


def _utf_16(data: bytes) -> str | None:
    """UTF-16 without its mark: of ASCII characters every second byte is 0."""
    head = data[:_LOOKED_AT]
    half = len(head) // 2
    if half and head[1::2].count(0) > 0.8 * half and not head[::2].count(0):
        return "utf-16-le"
    return "utf-16-be" if half and head[::2].count(0) > 0.8 * half and not head[1::2].count(0) else None


# --- Columns ------------------------------------------------------------------------------------------------------


def _rows(text: str) -> list[list[str]]:
    lines = [line for line in _lines(text) if line.strip() and not line.startswith("#")]
    delimiter = _delimiter(lines[:_LOOKED_AT])
    if delimiter is None:
        return [[_bare(line)] for line in lines]
    return [[_bare(cell) for cell in row] for row in csv.reader(lines, delimiter=delimiter)]


def _lines(text: str) -> Iterator[str]:
    with io.StringIO(text, newline=None) as file:  # \n, \r\n and \r end a line, and nothing else does
        for line in file:
            yield line.rstrip("\n")


def _delimiter(lines: Sequence[str]) -> str | None:
    """What parts the cells of most lines."""
    counts = {mark: sum(mark in line for line in lines) for mark in _DELIMITERS}
    best = max(counts, key=lambda mark: counts[mark])
    return best if counts[best] > 0.5 * len(lines) else None


def _bare(cell: str) -> str:
    return cell.strip().strip("\"'").strip()


def _columns(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Cells by column, those that a short row lacks empty; without columns that are empty throughout."""
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
        expected="an .h5ad, or a list of symbols or Ensembl ids, one a line or in a column of a .csv or .tsv",
        where=str(path),
        hint="Give another file with --features-from, or leave the option out.",
    )
