"""Writes annotations.parquet, annotations.csv.gz and scores.parquet as streams of bytes."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator, Mapping

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from jobs.inference.merge.columns import CSV_COLUMNS, SCHEMA
from jobs.inference.merge.groups import Merge
from jobs.inference.parts.arrays import column_of
from jobs.inference.parts.sink import ChunkSink
from shared.domain.geometry import BLOCK_ROWS, GROUP_ROWS

_FORMULA = "^[=+@\\-\\t\\r\\n\uff1d\uff0b\uff0d\uff20]"
"""The start of a text that a spreadsheet runs as a formula (OWASP: CSV injection), including full-width signs."""
_RUNS = re.compile(_FORMULA)
_GZIP = 16 + zlib.MAX_WBITS
_GZIP_LEVEL = 6
_ZSTD_LEVEL = 3
_GROUP_VALUES = 4_194_304
_LOW_CARDINALITY = ["label", "label_id", "second_label", "top_labels.list.element"]


def annotations_parquet(tables: Iterable[pa.Table], about: Mapping[str, str]) -> Iterator[bytes]:
    """Stream ``annotations.parquet``, with a row group for each table. The same tables give the same bytes.

    Args:
        about: Written to the file's metadata, to identify the model and version without the manifest. No times and no
            ids of runs.
    """
    sink = ChunkSink()
    with _parquet_writer(sink, SCHEMA, about, _LOW_CARDINALITY) as writer:
        for table in tables:
            writer.write_table(table.combine_chunks(), row_group_size=GROUP_ROWS)
            yield sink.drain()
    yield sink.drain()


def annotations_csv(tables: Iterable[pa.Table]) -> Iterator[bytes]:
    """Stream ``annotations.csv.gz`` with the columns of ``CSV_COLUMNS``; unknown values are empty.

    Spreadsheets run a text that starts like a formula. Such ids and labels get a leading apostrophe, which spreadsheets
    do not show; ``annotations.parquet`` has them unchanged.

    Scores are printed with the fewest digits that give the same float32 when read. The gzip header has no time and no
    name, so the same tables give the same bytes.
    """
    return csv_gz(tables, pa.schema([SCHEMA.field(name) for name in CSV_COLUMNS]))


def csv_gz(tables: Iterable[pa.Table], schema: pa.Schema) -> Iterator[bytes]:
    """Stream the columns of ``schema`` of some tables, categories as texts, as ``annotations_csv`` says."""
    packer = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP)
    sink, plain = ChunkSink(), _plain_schema(schema)
    with pa.csv.CSVWriter(sink, plain) as writer:
        for table in tables:
            writer.write_table(_plain(table, plain))
            yield packer.compress(sink.drain())
    yield packer.compress(sink.drain()) + packer.flush()


def scores_parquet(merge: Merge, about: Mapping[str, str]) -> Iterator[bytes]:
    """Stream ``scores.parquet`` (option ``scores=full``): ``cell_id`` and a float32 column per label, in model order.

    Columns need distinct names, so a label with the same name as an earlier one gets its position appended.
    """
    names = _distinct([label.name for label in merge.vocabulary.labels])
    schema = pa.schema([pa.field("cell_id", pa.string(), nullable=False), *(_score_field(name) for name in names)])
    sink = ChunkSink()
    with _parquet_writer(sink, schema, about, []) as writer:
        for group in merge.groups(score_group_rows(len(names))):
            score_nl = group.calls.probability_nl
            assert score_nl is not None
            columns = [group.calls.cell_ids, *map(column_of, score_nl.T)]
            writer.write_table(pa.table(columns, schema=schema), row_group_size=GROUP_ROWS)
            yield sink.drain()
    yield sink.drain()


def score_group_rows(n_labels: int) -> int:
    """Rows of a row group of scores: whole blocks with about four million values, or 16 MiB."""
    blocks = _GROUP_VALUES // (n_labels * BLOCK_ROWS)
    return BLOCK_ROWS * max(1, min(blocks, GROUP_ROWS // BLOCK_ROWS))


def _parquet_writer(
    sink: ChunkSink, schema: pa.Schema, about: Mapping[str, str], dictionaries: list[str]
) -> pq.ParquetWriter:
    metadata = {f"celldrop.{key}": value for key, value in sorted(about.items())}
    return pq.ParquetWriter(
        sink,
        schema.with_metadata(metadata),
        compression="zstd",
        compression_level=_ZSTD_LEVEL,
        use_dictionary=dictionaries,
        version="2.6",
    )


def _plain(table: pa.Table, schema: pa.Schema) -> pa.Table:
    plain = table.select(schema.names).cast(schema)
    columns = [harmless(column) if pa.types.is_string(column.type) else column for column in plain.columns]
    return pa.table(columns, schema=plain.schema)


def harmless_text(text: str) -> str:
    """A text, with an apostrophe before it if a spreadsheet would run it as a formula."""
    return f"'{text}" if _RUNS.match(text) else text


def harmless(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Texts with an apostrophe before each that a spreadsheet would run as a formula."""
    runs = pc.match_substring_regex(texts, _FORMULA)
    if not pc.any(runs).as_py():
        return texts
    return pc.if_else(runs, pc.binary_join_element_wise("'", texts, ""), texts)


def _plain_schema(schema: pa.Schema) -> pa.Schema:
    return pa.schema(
        [field.with_type(pa.string()) if pa.types.is_dictionary(field.type) else field for field in schema]
    )


def _score_field(name: str) -> pa.Field:
    return pa.field(name, pa.float32(), nullable=False)


def _distinct(names: list[str]) -> list[str]:
    taken = {"cell_id"}
    distinct: list[str] = []
    for place, name in enumerate(names):
        free = name if name not in taken else f"{name} ({place})"
        taken.add(free)
        distinct.append(free)
    return distinct
