"""Writes annotated.h5ad: the input's bytes with the new columns appended to obs, streamed from store to store."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TypeVar

import h5py
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jobs.inference.annotated.columns import (
    Encoding,
    add_columns,
    columns_beside,
    create_matrix,
    drop,
    drop_columns,
    mapping,
    mark,
    text,
    write_string,
)
from jobs.inference.annotated.legacy import complete_frame, modernise_frames
from jobs.inference.annotated.overlay import Overlay
from jobs.inference.annotated.terms import add_terms, drop_terms
from jobs.inference.merge.clusters import Clusters
from jobs.inference.merge.columns import InObs
from jobs.inference.merge.consensus import CONSENSUS_COLUMNS, columns_for
from jobs.inference.merge.disagreements import Disagreements
from jobs.inference.merge.groups import Merge
from jobs.inference.merge.tally import Tally
from jobs.inference.merge.term_scores import TermMerge
from shared.domain.added import EMBEDDING
from shared.domain.errors import CelldropError
from shared.domain.outputs import ANNOTATED_H5AD
from shared.domain.words import cut
from shared.h5ad.inspect.superblock import check_superblock
from shared.h5ad.read import filters
from shared.h5ad.source import RangeSource
from shared.ports.blobs import BlobInfo, BlobStore

UNS_KEY = "celldrop"
_LETTERS = 300
"""Limit on the text of an error, which may quote a file."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class NewColumns:
    """The columns to add.

    Attributes:
        tables: The annotation table in row order, read once.
        categories: The values that occur in each categorical column, in the order for readers.
        absent: The columns to leave out, as no cell has a value.
        about: Written to ``uns['celldrop']``: model, digest, version.
        beat: Called for every block, as a sign of life during a long copy.
        coordinates: The cells' embedding in row order, read once; written to ``obsm``. None if there is none.
        terms: The scores of Cell Ontology terms, written as by the client of Cellarium CAS. None if not requested.
    """

    n_cells: int
    tables: Iterable[pa.Table]
    categories: Mapping[str, Sequence[str]]
    absent: Collection[str]
    about: Mapping[str, str]
    beat: Callable[[], None]
    coordinates: Iterable[npt.NDArray[np.float32]] | None = None
    terms: TermMerge | None = None

    @classmethod
    def of(
        cls,
        merge: Merge,
        tally: Tally,
        about: Mapping[str, str],
        beat: Callable[[], None],
        terms: TermMerge | None = None,
        disagreements: Disagreements | None = None,
    ) -> NewColumns:
        """The columns of a merge whose cells were counted."""
        categories, absent = categories_of(tally, merge.rules.clusters), absent_of(tally, merge.rules.clusters)
        tables, n_others = merge.tables(), None
        if disagreements is not None:
            consensus = disagreements.consensus
            tables, n_others = consensus.obs_tables(), len(consensus.others)
            categories |= disagreements.categories()
            absent |= disagreements.absent
        absent |= absent_of_consensus(n_others)
        coordinates = merge.coordinates() if merge.layout.dimensions else None
        return cls(merge.layout.n_cells, tables, categories, absent, about, beat, coordinates, terms)


@dataclass(frozen=True, slots=True)
class NotAnnotated:
    """The reason why there is no annotated.h5ad. Other results are not affected."""

    reason: str


class CannotTakeColumnsError(ValueError):
    """No columns can be added to the file's obs; the message says why."""


def write_annotated_h5ad(
    store: BlobStore, bucket: str, name: str, source: RangeSource, columns: NewColumns
) -> BlobInfo | NotAnnotated:
    """Write the annotated copy of a file that passed the safety scan.

    All bytes of the input are kept, except those that HDF5 changes to link the columns: the end of file in the
    superblock, and the links and attributes of obs. HDF5 never reads X. The same input and tables give the same bytes,
    unless groups store modification times, which anndata and h5py never do. Memory is bounded by that of the overlay.

    Raises:
        InputChangedError: The pinned generation is gone.
        TruncatedFileError: The input is truncated, or its writer never closed it.
        UnavailableError: The store did not answer.
    """
    check_superblock(source)
    with Overlay(source) as overlay:
        try:
            _append(overlay, columns)
        except CannotTakeColumnsError as error:
            return NotAnnotated(str(error))
        except CelldropError:
            raise
        except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
            if overlay.failure is not None:
                raise overlay.failure from error
            return NotAnnotated(f"HDF5 could not add columns to this file: {cut(str(error), _LETTERS)}")
        with closing(overlay.chunks()) as chunks:  # Stops reading ahead once the write has ended.
            return store.write(
                bucket, name, _beating(chunks, columns.beat), if_generation=0, content_type=ANNOTATED_H5AD.content_type
            )


def categories_of(tally: Tally, clusters: Clusters | None = None) -> dict[str, list[str]]:
    """The values that occur in each categorical column, sorted by name as in pandas; clusters by size."""
    counted = {"label": tally.label_counts, "second_label": tally.second_counts, "label_id": tally.id_counts}
    levels = {"lineage": tally.lineage_counts, "reliable_label": tally.reliable_counts}
    plain = {"value_note": tally.notes}
    if clusters is not None:
        won = {tally.vocabulary.names[code] for code in clusters.label_c}
        plain |= {"cluster": list(clusters.names), "cluster_label": sorted(won)}
    return {column: sorted(counts) for column, counts in (counted | levels).items()} | plain


def absent_of(tally: Tally, clusters: Clusters | None = None) -> frozenset[str]:
    """The columns in which no cell has a value, of those that are then left out of obs."""
    known = {
        ("mito_share",): bool(tally.mito_b.any()),
        ("value_note",): bool(tally.notes),
        ("unfamiliar", "unfamiliarity"): bool(tally.n_looked),
        ("lineage", "lineage_score"): bool(tally.lineage_counts),
        ("reliable_label",): bool(tally.reliable_counts),
        ("cluster", "cluster_label", "cluster_share"): clusters is not None,
    }
    return frozenset(column for columns, there in known.items() if not there for column in columns)


def absent_of_consensus(n_others: int | None) -> frozenset[str]:
    """The columns of a consensus that there are not, with so many further models, or without a consensus."""
    there = {column.name for column in columns_for(n_others)} if n_others is not None else set()
    own = {column.name for column in CONSENSUS_COLUMNS if column.in_obs is not InObs.NO}
    return frozenset(own - there)


def _append(overlay: Overlay, columns: NewColumns) -> None:
    # Opened twice: the handle that deletes columns would reuse the freed space, scattered through the input's pages. A
    # new handle appends at the end.
    with _opened(overlay) as file:
        obs = _obs(file, columns.n_cells)
        added = columns_beside(text(obs.attrs["_index"]))
        drop_columns(obs, added)
        drop(file, "obsm", EMBEDDING)
        if columns.terms is not None:
            drop_terms(file)
    with _opened(overlay) as file:
        tables = _beating(columns.tables, columns.beat)
        add_columns(file["obs"], added, tables, columns.n_cells, columns.categories, columns.absent)
        if columns.coordinates is not None:
            _embed(file, columns.n_cells, _beating(columns.coordinates, columns.beat))
        if columns.terms is not None:
            add_terms(file, columns.n_cells, columns.terms, columns.beat)
        _describe(file, columns.about)


def _embed(file: h5py.File, n_cells: int, coordinates: Iterable[npt.NDArray[np.float32]]) -> None:
    """Write the embedding, unless ``obsm`` is of a version of anndata that had no group for it."""
    obsm = mapping(file, "obsm")
    if obsm is None:
        return
    start, target = 0, None
    for place_nd in coordinates:
        if target is None:
            target = create_matrix(obsm, EMBEDDING, n_cells, place_nd.shape[1])
        target[start : start + len(place_nd)] = place_nd
        start += len(place_nd)


def _beating(items: Iterable[T], beat: Callable[[], None]) -> Iterator[T]:
    for item in items:
        beat()
        yield item


@contextmanager
def _opened(overlay: Overlay) -> Iterator[h5py.File]:
    filters.register()
    overlay.seek(0)
    with h5py.File(overlay, "r+") as file:
        yield file


def _obs(file: h5py.File, n_cells: int) -> h5py.Group:
    """The obs group that columns can be added to. A compound obs is rewritten first."""
    if not isinstance(file.get("obs", getlink=True), h5py.HardLink):
        raise CannotTakeColumnsError("The file has no obs to add columns to (10x Genomics .h5 files have none).")
    modernise_frames(file)
    obs = file["obs"]
    if isinstance(obs, h5py.Group):
        complete_frame(obs)
    known = {"_index", "column-order", "encoding-version"} <= set(obs.attrs)
    if not known or text(obs.attrs["encoding-version"]) not in set(Encoding):
        raise CannotTakeColumnsError("obs is not encoded as a data frame of anndata 0.7 or later.")
    if _length(obs[obs.attrs["_index"]]) != n_cells:
        raise CannotTakeColumnsError(f"obs does not have one row for each of the {n_cells:,} cells of the matrix.")
    return obs


def _length(index: h5py.Group | h5py.Dataset) -> int:
    """The length of an index, which may be plain, categorical or nullable."""
    if isinstance(index, h5py.Group):
        index = index["codes"] if "codes" in index else index["values"]
    return int(index.shape[0])


def _describe(file: h5py.File, about: Mapping[str, str]) -> None:
    uns = mapping(file, "uns")
    if uns is None:  # Not written by anndata. The columns do not need it.
        return
    if UNS_KEY in uns:
        del uns[UNS_KEY]
    group = uns.create_group(UNS_KEY)
    mark(group, "dict", "0.1.0")
    for key, value in about.items():
        write_string(group, key, value)
