"""The task's door to a file: blocks of rows, genes, cell ids and coordinates, all by ranged reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import compress
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from shared.domain.errors import InternalError, TruncatedFileError
from shared.domain.geometry import Rows
from shared.domain.verdict import GeneSpace, MatrixChoice, MatrixEncoding, Species, Verdict
from shared.h5ad.names.matching import FeatureTable, GeneNames, match_genes
from shared.h5ad.names.orthologues import match_orthologues
from shared.h5ad.names.tidying import bare_ids
from shared.h5ad.names.wrapped import unwrapped
from shared.h5ad.read.arrays import open_array
from shared.h5ad.read.blocks import Columns, Genes, RowBlock, genes_from
from shared.h5ad.read.cells import CellIds, open_cell_ids
from shared.h5ad.read.columns import Frame, name_of, open_frame
from shared.h5ad.read.csc import CscReader
from shared.h5ad.read.csr import CsrReader
from shared.h5ad.read.dense import DenseReader, with_cache
from shared.h5ad.read.embedding import Coordinates, read_embedding
from shared.h5ad.read.features import find_genes
from shared.h5ad.read.held import Held
from shared.h5ad.read.layouts import describe, find_layout
from shared.h5ad.read.opening import OpenFile, decoding, open_file
from shared.h5ad.read.projected import ProjectedBlock
from shared.h5ad.read.safety import check_stored
from shared.h5ad.read.settling import Stored
from shared.h5ad.source import RangeSource

__all__ = [
    "CellIds",
    "Coordinates",
    "GeneTable",
    "MatrixReader",
    "ProjectedBlock",
    "RowBlock",
    "features_among",
    "features_of_genes",
    "open_cell_ids",
    "open_matrix",
    "read_embedding",
    "read_gene_names",
    "read_gene_table",
    "read_genes",
    "with_watched",
]


Result = TypeVar("Result")


class MatrixReader(Protocol):
    """A matrix whose rows come in blocks; one iteration at a time."""

    @property
    def n_cells(self) -> int:
        """Rows."""
        ...

    @property
    def n_genes(self) -> int:
        """Columns, as ``read_genes`` names them."""
        ...

    def blocks(self, rows: Rows) -> Iterator[RowBlock]:
        """The blocks of ``rows`` cut at the boundaries of ``Rows.blocks``, the same whatever ``rows`` they come from.

        Memory is bounded whatever the file's size: about 100 MB beyond the blocks themselves for CSR and dense
        matrices (twice the largest chunk, where chunks are larger than that), 250 MB for CSC.

        Raises:
            BadValuesError: NaN, infinite or negative values.
            TruncatedFileError: The bytes do not decode, or make no matrix.
            InputChangedError: The pinned generation is gone.
        """
        ...

    def projected(
        self, rows: Rows, feature_of_gene: Columns, then: Callable[[ProjectedBlock], Result]
    ) -> Iterator[Result]:
        """What becomes of the same blocks as a model sees them, in order; they may be had much faster.

        Each row is looked at: what was done to the counts before they were stored is undone, and a row of another
        kind than the matrix is converted where its own values prove what they are, and noted.

        Args:
            feature_of_gene: For each gene the position of its feature in the model, or -1; int32.
            then: What is done with each block, where the reader has threads in one of those: what a thread has just
                made lies in its core's cache, and the rest of it need not be kept.

        Raises:
            As ``blocks``.
        """
        ...


@contextmanager
def open_matrix(source: RangeSource, choice: MatrixChoice) -> Iterator[MatrixReader]:
    """Open the chosen matrix of a file that was inspected before.

    Raises:
        InputError: The file is not the one that was inspected, or damaged.
    """
    with open_file(source) as opened:
        with decoding(choice.path):
            reader = _reader(opened, source, choice)
        yield reader


def _reader(opened: OpenFile, source: RangeSource, choice: MatrixChoice) -> MatrixReader:
    file = opened.file
    layout = find_layout(file)
    shape = describe(file, choice.path, tenx=layout.tenx)
    genes = genes_from(shape.n_columns, find_genes(open_frame(file, choice.genes_path)).genes)
    if (shape.n_cells, genes.n_genes, shape.encoding) != (choice.n_cells, choice.n_genes, choice.encoding):
        raise TruncatedFileError(
            f"a {shape.encoding} matrix of {shape.n_cells} x {genes.n_genes}",
            expected=f"{choice.encoding} of {choice.n_cells} x {choice.n_genes}, as it was when the file was accepted",
            where=choice.path,
        )
    return _open(opened, source, choice, genes)


def _open(opened: OpenFile, source: RangeSource, choice: MatrixChoice, genes: Genes) -> MatrixReader:
    node = opened.file[choice.path]
    if choice.encoding is MatrixEncoding.DENSE:
        check_stored(node, source.size_bytes)
        return DenseReader(choice.path, choice.n_cells, genes, with_cache(node), Stored.of(choice))
    check_stored(node["indptr"], source.size_bytes)
    kind = CsrReader if choice.encoding is MatrixEncoding.CSR else CscReader
    return kind(
        source=source,
        where=choice.path,
        n_cells=choice.n_cells,
        genes=genes,
        pointers=Held.of(node["indptr"]),
        indices=open_array(node["indices"], source.size_bytes, opened.foresight),
        data=open_array(node["data"], source.size_bytes, opened.foresight),
        nnz=int(node["data"].shape[0]),
        stored=Stored.of(choice),
    )


def read_genes(source: RangeSource, verdict: Verdict) -> list[str]:
    """The identifiers of the verdict's gene space, one for each column that ``blocks`` speaks of; versions cut off.

    Raises:
        InternalError: The verdict has no matrix or no genes.
        TruncatedFileError: They do not decode.
    """
    return bare_ids(read_gene_names(source, verdict).ids)


def read_gene_names(source: RangeSource, verdict: Verdict) -> GeneNames:
    """The names of the verdict's gene space, with what tells genes of one name apart.

    Raises:
        As ``read_genes``.
    """
    with _genes_of(source, verdict) as (space, frame, genes):
        apart = () if space.apart is None else _names_of(frame, space.apart, genes)
        return GeneNames(_names_of(frame, space.column, genes), apart)


@dataclass(frozen=True, slots=True)
class GeneTable:
    """The genes of a matrix as the file names them.

    Attributes:
        index: The index of var, unchanged.
        columns: The other columns that name genes, by name.
    """

    index: list[str]
    columns: dict[str, list[str]]


def read_gene_table(source: RangeSource, verdict: Verdict) -> GeneTable:
    """The genes of the verdict's matrix, one row for each column that ``blocks`` speaks of.

    Raises:
        As ``read_genes``.
    """
    with _genes_of(source, verdict) as (space, frame, genes):

        def column(name: str) -> list[str]:
            values = frame.strings(name, 0, len(frame))
            return values if genes is None else list(compress(values, genes))

        named = [name_of(frame, label) for label in (space.column, space.apart) if label is not None]
        return GeneTable(column(frame.index), {name: column(name) for name in named if name != frame.index})


@contextmanager
def _genes_of(source: RangeSource, verdict: Verdict) -> Iterator[tuple[GeneSpace, Frame, npt.NDArray[np.bool_] | None]]:
    """The verdict's gene space, the frame of its matrix's columns, and which columns are genes (None: all).

    Raises:
        As ``read_genes``.
    """
    choice, space = verdict.matrix, verdict.genes
    if choice is None or space is None:
        raise InternalError("genes were asked of a verdict that has none", expected="an accepted verdict")
    with open_file(source) as opened, decoding(choice.genes_path):
        frame = open_frame(opened.file, choice.genes_path)
        yield space, frame, find_genes(frame).genes


class ModelGenes(Protocol):
    """The genes that a model looks for; ``ModelCard`` is one."""

    @property
    def features(self) -> FeatureTable:
        """Its features, in order."""
        ...

    @property
    def species(self) -> Species:
        """Their species."""
        ...

    @property
    def watched(self) -> FeatureTable | None:
        """Further genes, at the positions from the number of features on; see ``with_watched``."""
        ...

    @property
    def is_imported(self) -> bool:
        """Whether another program trained it; see ``shared.h5ad.names.matching.with_renamed``."""
        ...


def features_of_genes(source: RangeSource, verdict: Verdict, model: ModelGenes) -> Columns:
    """For each gene of the verdict's matrix the position of its feature in a model, or -1; int32.

    Raises:
        As ``read_genes``.
    """
    return features_among(read_gene_names(source, verdict), model, verdict.genes.foreign if verdict.genes else None)


def features_among(names: GeneNames, model: ModelGenes, foreign: Species | None = None) -> Columns:
    """The same for genes of these names.

    Args:
        foreign: The species of the file, if its genes are matched as orthologues.
    """

    def found_in(features: FeatureTable) -> Columns:
        if foreign is not None:
            found = match_orthologues(names, features, model.species, foreign)
        else:
            found = match_genes(names, features, model.species, imported=model.is_imported)
        return np.array(found.feature_of_gene, dtype=np.int32)

    found, watched = found_in(model.features), model.watched
    if watched is None:
        return found
    return with_watched(found, found_in(watched), len(model.features.symbol or model.features.ensembl))


def with_watched(gene_to_feature: Columns, gene_to_watched: Columns, n_features: int) -> Columns:
    """One map from the genes of a file to a model's features, and from there on to its watched genes.

    The features are matched without regard to the watched genes, as ingest matches them. Of genes with the same watched
    gene, the first is used, so that no values need be summed.

    Args:
        gene_to_feature: The feature of each gene, or -1; int32.
        gene_to_watched: Its watched gene, or -1; int32.
    """
    place_g = np.flatnonzero((gene_to_watched >= 0) & (gene_to_feature < 0))
    watched, first = np.unique(gene_to_watched[place_g], return_index=True)
    found_g = gene_to_feature.copy()
    found_g[place_g[first]] = watched + n_features
    return found_g


def _names_of(frame: Frame, column: str, genes: npt.NDArray[np.bool_] | None) -> Sequence[str]:
    names = frame.strings(name_of(frame, column), 0, len(frame))
    return unwrapped(names if genes is None else list(compress(names, genes))).ids
