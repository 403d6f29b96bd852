"""Writes scores of Cell Ontology terms to obsm and uns, as the client of Cellarium CAS does."""

from __future__ import annotations

from collections.abc import Callable

import h5py
import numpy as np
import numpy.typing as npt

from jobs.inference.annotated.columns import CHUNK_ROWS, drop, mapping, mark, write_string, write_text
from jobs.inference.merge.term_scores import TermMerge

SCORES, METADATA = "cas_cl_scores", "cas_metadata"
"""The client's own names."""


def drop_terms(file: h5py.File) -> None:
    """Remove the scores of an earlier run, or of CAS itself."""
    drop(file, "obsm", SCORES)
    drop(file, "uns", METADATA)


def add_terms(file: h5py.File, n_cells: int, terms: TermMerge, beat: Callable[[], None]) -> None:
    """Write the scores as a sparse matrix, cells x terms, and the names of the terms.

    Nothing is written where the file has no group for them: ``obsm`` and ``uns`` of a version of anndata before 0.7.
    """
    obsm, uns = mapping(file, "obsm"), mapping(file, "uns")
    if obsm is None or uns is None:
        return
    _write_scores(obsm, n_cells, terms, beat)
    names = terms.scorer.graph.names
    about = uns.create_group(METADATA)
    mark(about, "dict", "0.1.0")
    write_text(about, "cl_names", list(names))
    write_text(about, "cl_labels", list(names.values()))
    write_string(about, "ontology_resource_name", terms.name)


def _write_scores(obsm: h5py.Group, n_cells: int, terms: TermMerge, beat: Callable[[], None]) -> None:
    matrix = obsm.create_group(SCORES)
    mark(matrix, "csr_matrix", "0.1.0")
    matrix.attrs["shape"] = np.array([n_cells, len(terms.scorer.graph.names)], np.int64)
    data, indices = _growing(matrix, "data", np.float32), _growing(matrix, "indices", np.int32)
    indptr_n = np.zeros(n_cells + 1, np.int64)
    start = 0
    for piece in terms.pieces():
        beat()
        score_nt = piece.terms.score_nt
        cell_z, term_z = np.nonzero(score_nt)
        indptr_n[start + 1 : start + 1 + len(score_nt)] = np.count_nonzero(score_nt, axis=1)
        start += len(score_nt)
        _append(data, score_nt[cell_z, term_z])
        _append(indices, term_z.astype(np.int32))
    ends = np.cumsum(indptr_n)
    kind = np.int32 if ends[-1] <= np.iinfo(np.int32).max else np.int64
    matrix.create_dataset(
        "indptr", data=ends.astype(kind), chunks=(min(len(ends), CHUNK_ROWS),), compression="gzip", compression_opts=1
    )


def _growing(group: h5py.Group, name: str, dtype: npt.DTypeLike) -> h5py.Dataset:
    return group.create_dataset(
        name, (0,), dtype, maxshape=(None,), chunks=(CHUNK_ROWS,), compression="gzip", compression_opts=1, shuffle=True
    )


def _append(dataset: h5py.Dataset, values: npt.NDArray[np.generic]) -> None:
    before = len(dataset)
    dataset.resize((before + len(values),))
    dataset[before:] = values
