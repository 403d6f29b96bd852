"""The annotation files: annotations.parquet, annotations.csv.gz and scores.parquet, as streams of bytes."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from jobs.inference.merge.calls import CSV_COLUMNS, SCHEMA
from jobs.inference.merge.groups import GROUP_ROWS, Merge
from jobs.inference.parts.sink import ChunkSink
from shared.domain.geometry import BLOCK_ROWS

_FORMULA = "^[=+@\\-\\t\\r\\n\uff1d\uff0b\uff0d\uff20]"
"""How a text begins that a spreadsheet takes for a formula (OWASP: CSV injection), full-width signs included."""
_GZIP = 16 + zlib.MAX_WBITS
_GZIP_LEVEL = 6
_ZSTD_LEVEL = 3
_GROUP_VALUES = 4_194_304
_LOW_CARDINALITY = ["label", "label_id", "second_label", "top_labels.list.element"]


def annotations_parquet(tables: Iterable[pa.Table], about: Mapping[str, str]) -> Iterator[bytes]:
    """``annotations.parquet``: one row group a table; the same tables give the same bytes.

    Args:
        about: Kept in the file's metadata, so that a lone file still says what made it: no times, no ids of runs.
    """
    sink = ChunkSink()
    with _parquet_writer(sink, SCHEMA, about, _LOW_CARDINALITY) as writer:
        for table in tables:
            writer.write_table(table.combine_chunks(), row_group_size=GROUP_ROWS)
            yield sink.drain()
    yield sink.drain()


def annotations_csv(tables: Iterable[pa.Table]) -> Iterator[bytes]:
    """``annotations.csv.gz``: the columns of ``CSV_COLUMNS``, empty where unknown.

    Spreadsheets take a text that begins as a formula does for one, and run it. Such ids and labels get an apostrophe in
    front, which a spreadsheet does not show; ``annotations.parquet`` has them as they are.

    Scores are float32 and printed in the fewest digits that read back to the same float32. The gzip header has no
    time and no name, so that the same tables give the same bytes.
    """
    packer = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP)
    sink = ChunkSink()
    with pa.csv.CSVWriter(sink, _csv_schema()) as writer:
        for table in tables:
            writer.write_table(_plain(table))
            yield packer.compress(sink.drain())
    yield packer.compress(sink.drain()) + packer.flush()


def scores_parquet(merge: Merge, about: Mapping[str, str]) -> Iterator[bytes]:
    """``scores.parquet`` of ``scores=full``: ``cell_id`` and one float32 column a label, in the model's order.

    Labels that share a name get the number of their place appended, as columns may not.
    """
    names = _distinct([label.name for label in merge.vocabulary.labels])
    schema = pa.schema([pa.field("cell_id", pa.string(), nullable=False), *(_score_field(name) for name in names)])
    sink = ChunkSink()
    with _parquet_writer(sink, schema, about, []) as writer:
        for group in merge.groups(score_group_rows(len(names))):
            score_nl = _probabilities(group.batches)
            columns = [group.calls.cell_ids, *(pa.array(np.ascontiguousarray(one)) for one in score_nl.T)]
            writer.write_table(pa.table(columns, schema=schema), row_group_size=GROUP_ROWS)
            yield sink.drain()
    yield sink.drain()


def score_group_rows(n_labels: int) -> int:
    """Rows of a row group of scores: whole blocks of about four million values, 16 MiB."""
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


def _plain(table: pa.Table) -> pa.Table:
    plain = table.select(CSV_COLUMNS).cast(_csv_schema())
    columns = [_harmless(column) if pa.types.is_string(column.type) else column for column in plain.columns]
    return pa.table(columns, schema=plain.schema)


def _harmless(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    runs = pc.match_substring_regex(texts, _FORMULA)
    if not pc.any(runs).as_py():
        return texts
    return pc.if_else(runs, pc.binary_join_element_wise("'", texts, ""), texts)


def _csv_schema() -> pa.Schema:
    fields = [SCHEMA.field(name) for name in CSV_COLUMNS]
    return pa.schema(
        [field.with_type(pa.string()) if pa.types.is_dictionary(field.type) else field for field in fields]
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


def _probabilities(batches: list[pa.RecordBatch]) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    column = pa.chunked_array([batch["probability"] for batch in batches]).combine_chunks()
    values: np.ndarray[tuple[int, int], np.dtype[np.float32]] = pc.list_flatten(column).to_numpy()
    return values.reshape(len(column), -1)
