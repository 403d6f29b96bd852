"""Gathers the facts of an open, scanned file; runs in the confined child."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

import h5py

from shared.domain.errors import NotAnnDataError, UnsafeFileError
from shared.domain.words import cut, listed, shortened
from shared.h5ad.facts import TRANSPOSED, Candidate, CellFacts, Embedding, FileFacts, GeneTable
from shared.h5ad.inspect import household
from shared.h5ad.inspect.identifiers import LONGEST_NAME, identifier_columns
from shared.h5ad.inspect.rehearsal import check_ids, check_lengths
from shared.h5ad.inspect.sampling import Mask, sample_rows, take_sample
from shared.h5ad.inspect.strangers import strangers_in
from shared.h5ad.matrix_names import wanted_path
from shared.h5ad.names.known import is_gene
from shared.h5ad.names.wrapped import unwrapped
from shared.h5ad.read.chunk_index import Foresight
from shared.h5ad.read.columns import Frame, is_list, names_in, open_frame
from shared.h5ad.read.features import find_genes
from shared.h5ad.read.layouts import Layout, describe, find_layout
from shared.h5ad.read.limits import DEFAULT_LIMITS, InspectionLimits
from shared.h5ad.values.weighing import Totals, weigh

TOTALS_COLUMNS = ("n_counts", "total_counts", "nCount_RNA", "n_umi", "nUMI", "num_UMIs", "n_umis")
ALL_IDS = 50_000
"""Up to this many cells, all ids are compared; beyond, the first thousand."""
_MOST_EMBEDDINGS = 100
_BARCODE = re.compile(r"[ACGTN]{8,}")
MOST_MATRICES = 64
"""Matrices that are looked at where none is asked for; those named for counts come first."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """Of which matrices values are sampled.

    Attributes:
        only: The one that is, where it exists; None for all.
        none: None is: the facts have no candidates.
    """

    only: str | None = None
    none: bool = False


def gather(
    file: h5py.File,
    size_bytes: int,
    foresight: Foresight,
    sampled: Sampled,
    limits: InspectionLimits = DEFAULT_LIMITS,
    gets_on: Callable[[], None] = lambda: None,
) -> FileFacts:
    """Collect the facts by ranged reads; no large matrix is read whole.

    Args:
        gets_on: Called between steps.

    Raises:
        InputError: The file cannot be used at all; which leaf says why.
    """
    layout = find_layout(file)
    cells = open_frame(file, layout.obs)
    tables = _gene_tables(file, layout, limits, gets_on)
    only = wanted_path(sampled.only, [path for path, _ in layout.matrices]) if sampled.only else None
    matrices = _Matrices(file, layout, foresight, tables, len(cells), gets_on)
    candidates, unusable = ([], []) if sampled.none else matrices.candidates(only)
    return FileFacts(
        layout=layout.name,
        size_bytes=size_bytes,
        cells=_cell_facts(cells, layout, limits),
        candidates=tuple(candidates),
        genes=tuple(table for table, _, _ in tables.values()),
        embeddings=tuple(islice(_embeddings(file), _MOST_EMBEDDINGS)),
        old_layout=layout.old,
        tenx=layout.tenx,
        unusable=tuple(unusable),
    )


# --- Matrices -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Matrices:
    """The matrices of a file.

    Attributes:
        tables: Each gene table, with how many features it lists, and which of them are genes.
    """

    file: h5py.File
    layout: Layout
    foresight: Foresight
    tables: Mapping[str, tuple[GeneTable, int, Mask | None]]
    n_cells: int
    gets_on: Callable[[], None]

    def candidates(self, only: str | None) -> tuple[list[Candidate], list[tuple[str, str]]]:
        """Those that can be read, and the others with the reason."""
        found: list[Candidate] = []
        unusable: list[tuple[str, str]] = []
        totals: Totals | None = None
        if self.layout.matrices and not self.layout.tenx:
            totals = _totals(open_frame(self.file, self.layout.obs), self.n_cells)
        wanted = [pair for pair in self.layout.matrices if only in {None, pair[0]}]
        wanted.sort(key=lambda pair: pair[0].startswith("layers/") and "count" not in pair[0].lower())
        for path, genes_path in wanted[:MOST_MATRICES]:
            self.gets_on()
            try:
                found.append(self._candidate(path, genes_path, totals))
            except ValueError as reason:
                unusable.append((cut(path, 100), cut(str(reason), 300)))
        if more := wanted[MOST_MATRICES:]:
            names = listed([path for path, _ in more])
            unusable.append((f"{len(more):,} more matrices ({names})", f"at most {MOST_MATRICES} are looked at"))
        return found, unusable

    def _candidate(self, path: str, genes_path: str, totals: Totals | None) -> Candidate:
        if len(path) > LONGEST_NAME:
            raise ValueError(f"its name has {len(path):,} characters")
        shape = describe(self.file, path, tenx=self.layout.tenx)
        table, n_features, mask = self.tables[genes_path]
        if (shape.n_cells, shape.n_columns) != (self.n_cells, n_features):
            raise ValueError(_misfit((shape.n_cells, shape.n_columns), (self.n_cells, n_features)))
        sample = take_sample(self.file, path, shape, self.foresight, mask)
        return Candidate(
            path=path,
            encoding=shape.encoding,
            dtype=shape.dtype,
            n_cells=self.n_cells,
            n_genes=n_features - table.n_other,
            nnz=shape.nnz,
            genes_path=genes_path,
            evidence=weigh(sample, totals, sample_rows(self.n_cells)),
            chunk_bytes=shape.chunk_bytes,
            n_other=table.n_other,
            strangers=strangers_in(sample, table.columns),
            household=household.look(sample, table.columns),
        )


def _misfit(stored: tuple[int, int], wanted: tuple[int, int]) -> str:
    n_rows, n_columns = stored
    n_cells, n_genes = wanted
    turned = f"; it lies {TRANSPOSED}" if stored == wanted[::-1] else ""
    return f"{n_rows:,} x {n_columns:,} values for {n_cells:,} cells in obs and {n_genes:,} genes in var{turned}"


def _totals(frame: Frame, n_cells: int) -> Totals | None:
    """Total counts of the rows that are sampled, from the first column that has them."""
    for column in (name for name in TOTALS_COLUMNS if name in frame.names and n_cells):
        with suppress(ValueError):
            if n_cells <= ALL_IDS:
                return Totals(column, dict(enumerate(frame.numbers(column, 0, n_cells).tolist())))
            return Totals(column, {row: float(frame.numbers(column, row, row + 1)[0]) for row in sample_rows(n_cells)})
    return None


# --- Genes --------------------------------------------------------------------------------------------------------


def n_genes_in(file: h5py.File) -> int:
    """Rows of all gene tables together.

    Raises:
        InputError: There are none, or no cells.
    """
    paths = {genes for _, genes in find_layout(file).matrices} or {"var"}
    return sum(len(open_frame(file, path)) for path in paths)


def _gene_tables(
    file: h5py.File, layout: Layout, limits: InspectionLimits, gets_on: Callable[[], None]
) -> dict[str, tuple[GeneTable, int, Mask | None]]:
    """Each gene table once, with how many features it lists, and which of them are genes."""
    paths = dict.fromkeys(genes for _, genes in layout.matrices)
    paths = paths or dict.fromkeys(["var"])
    return {path: _gene_table(open_frame(file, path), path, limits, gets_on) for path in paths}


def _gene_table(
    frame: Frame, path: str, limits: InspectionLimits, gets_on: Callable[[], None]
) -> tuple[GeneTable, int, Mask | None]:
    if len(frame) > limits.genes:
        raise UnsafeFileError(
            f"{len(frame):,} genes",
            expected=f"at most {limits.genes:,}",
            where=path,
            hint="If these are cells, turn the file: adata = adata.T.",
        )
    features = find_genes(frame)
    gets_on()
    columns = identifier_columns(frame, features.genes)
    gets_on()
    n_other = 0 if features.genes is None else int((~features.genes).sum())
    return GeneTable(path, columns, n_other, features.other_types, features.examples), len(frame), features.genes


# --- Cells --------------------------------------------------------------------------------------------------------


def _cell_facts(frame: Frame, layout: Layout, limits: InspectionLimits) -> CellFacts:
    check_ids(frame, limits)
    n_cells = len(frame)
    checked = n_cells if n_cells <= ALL_IDS else 1000
    ids = frame.strings(frame.index, 0, checked)
    check_lengths(ids, limits)
    if len(ids) != checked:
        raise NotAnnDataError("the index of obs is shorter than obs", hint="Write the file again with AnnData.")
    repeated = [name for name, count in Counter(ids).items() if count > 1]
    return CellFacts(
        n_cells=n_cells,
        index=shortened(frame.index, LONGEST_NAME),
        ids_checked=checked,
        n_duplicates=len(ids) - len(set(ids)),
        duplicates=tuple(name[:100] for name in repeated[:5]),
        columns=tuple(shortened(name, LONGEST_NAME) for name in frame.names[:1000]),
        genes=_genes_among(ids),
        takes_columns=not (layout.old or layout.tenx),
    )


def _genes_among(ids: Sequence[str]) -> tuple[str, ...]:
    """Some ids of cells, if many different ones are names of genes: then the file may be transposed."""
    some = ids[:: max(1, len(ids) // 200)]
    if sum(name[:1].isdigit() or _BARCODE.search(name) is not None for name in some) > 0.5 * len(some):
        return ()  # As nearly always, and without a look at the table of genes.
    genes = dict.fromkeys(name for name in unwrapped(some).ids if is_gene(name))
    return tuple(genes)[:3] if len(genes) > 0.3 * len(some) else ()


def _embeddings(file: h5py.File) -> Iterator[Embedding]:
    node = file.get("obsm")
    if isinstance(node, h5py.Group):
        for name in names_in(node):
            child = node[name]
            if isinstance(child, h5py.Dataset) and len(child.shape or ()) == 2:
                yield Embedding(shortened(name, LONGEST_NAME), tuple(map(int, child.shape)))
    elif isinstance(node, h5py.Dataset) and is_list(node) and node.dtype.names:
        for name in node.dtype.names:
            yield Embedding(shortened(name, LONGEST_NAME), (int(node.shape[0]), *map(int, node.dtype[name].shape)))
