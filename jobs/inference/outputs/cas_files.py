"""Writes the files that the client of Cellarium CAS reads, as streams of bytes.

Names and fields are those of ``cellarium-cas`` 1.8 and of its command line (Broad Institute).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from jobs.inference.merge.term_scores import BEST, ScoredPiece, TermMerge, most_granular
from jobs.inference.outputs.annotation_files import harmless
from jobs.inference.parts.arrays import column_of, text_column
from jobs.inference.parts.sink import ChunkSink

PREFIX = "cas_cell_type"


def ontology_response(found: TermMerge) -> Iterator[bytes]:
    """Stream ``ontology_response.json``: for each cell, the terms with a score, and what it is a share of."""
    tails = _tails(found.scorer.graph.names)
    before = b'{"data":['
    for piece in found.pieces():
        yield before + _joined(_cells(piece, tails)).encode()
        before = b","
    yield f'],"model_name":{_text(found.name)}}}\n'.encode()


def ontology_resource(found: TermMerge) -> Iterator[bytes]:
    """Give ``ontology_resource.json``: the terms that scores are about, and what is a kind of what."""
    graph = found.scorer.graph
    resource = {
        "cl_names": graph.ids,
        "cell_ontology_term_id_to_cell_type": graph.names,
        "children_dictionary": graph.children,
        "ancestors_dictionary": graph.ancestors,
        "shortest_path_lengths_from_cell_root": graph.shortest,
        "longest_path_lengths_from_cell_root": graph.longest,
    }
    yield (json.dumps(resource, ensure_ascii=False, indent=1) + "\n").encode()


def inferred_labels(found: TermMerge) -> Iterator[bytes]:
    """Stream ``inferred_labels.csv``: the most specific terms of each cell that have at least a score of 0.2.

    A cell with fewer of them than there are columns gets the root, with 1, in the others.
    """
    graph = found.scorer.graph
    depth_t = np.array(list(graph.shortest.values()), np.int64)
    sink = ChunkSink()
    schema = _label_schema()
    with pa.csv.CSVWriter(sink, schema) as writer:
        for piece in found.pieces():
            place_nk = most_granular(piece.terms.score_nt, depth_t)
            score_nk = np.take_along_axis(piece.terms.score_nt, np.maximum(place_nk, 0), axis=1)
            score_nk[place_nk < 0] = 1
            ids, names = text_column(graph.ids), text_column(list(graph.names.values()))
            term_kn = [column_of(place_n) for place_n in np.maximum(place_nk, 0).T]
            columns = [
                piece.cell_ids,
                *(names.take(term_n) for term_n in term_kn),
                *(ids.take(term_n) for term_n in term_kn),
                *map(column_of, score_nk.T),
            ]
            table = pa.table([_plain(column) for column in columns], schema=schema)
            writer.write_table(table)
            yield sink.drain()
    yield sink.drain()


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a run was about.

    Attributes:
        input_path: The path of the local file, or its address in a bucket.
    """

    input_path: str
    n_cells: int


def metadata(found: TermMerge, about: Provenance) -> Iterator[bytes]:
    """Give ``metadata.json``: what was annotated with which model."""
    document = {
        "input_path": about.input_path,
        "model_name": found.name,
        "n_cells": about.n_cells,
        "ontology_resource_name": found.name,
    }
    yield (json.dumps(document, ensure_ascii=False, indent=2) + "\n").encode()


def _cells(piece: ScoredPiece, tails: pa.StringArray) -> pa.Array:
    """The JSON of each cell. Joined by columns: it is text by the gigabyte for a million cells."""
    terms = piece.terms
    cell_z, term_z = np.nonzero(terms.score_nt)
    score_z = column_of(terms.score_nt[cell_z, term_z]).cast(pa.string())
    match_z = pc.binary_join_element_wise('{"score":', score_z, tails.take(column_of(term_z)), "")
    ends = np.searchsorted(cell_z, np.arange(len(terms.score_nt) + 1)).astype(np.int32)
    matches_n = pc.binary_join(pa.ListArray.from_arrays(column_of(ends), match_z), ",")
    return pc.binary_join_element_wise(
        '{"query_cell_id":',
        text_column([_text(name) for name in piece.cell_ids.to_pylist()]),
        ',"matches":[',
        matches_n,
        '],"total_weight":',
        _numbers(terms.total_weight_n),
        ',"total_neighbors":',
        _numbers(terms.n_voters_n),
        ',"total_neighbors_unrecognized":',
        _numbers(terms.n_unrecognized_n),
        "}",
        "",
    )


def _tails(names: Mapping[str, str]) -> pa.StringArray:
    """What follows a score of each term."""
    return text_column(
        [f',"cell_type_ontology_term_id":{_text(term)},"cell_type":{_text(name)}}}' for term, name in names.items()]
    )


def _joined(texts: pa.Array) -> str:
    whole = pa.ListArray.from_arrays(column_of(np.array([0, len(texts)], np.int32)), texts)
    return str(pc.binary_join(whole, ",")[0].as_py())


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _numbers(values_n: npt.NDArray[np.generic]) -> pa.StringArray:
    return column_of(values_n).cast(pa.string())


def _plain(column: pa.Array) -> pa.ChunkedArray:
    chunked = pa.chunked_array([column])
    return harmless(chunked) if pa.types.is_string(chunked.type) else chunked


def _label_schema() -> pa.Schema:
    """The columns in the order of CAS; that of the cells has no name."""
    kinds = {"label": pa.string(), "name": pa.string(), "score": pa.float32()}
    numbered = [(f"{PREFIX}_{what}_{place + 1}", kind) for what, kind in kinds.items() for place in range(BEST)]
    return pa.schema([("", pa.string()), *numbered])
